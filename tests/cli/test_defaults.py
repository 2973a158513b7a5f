"""Python, workflow files and the command line have the same defaults, because they take them from the same place."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import pytest

from simkit.commands.evaluate import evaluate
from simkit.commands.inform import info
from simkit.commands.predict import predict
from simkit.commands.train import train
from simkit.settings import Settings
from simkit.tasks.assess import assess_file
from simkit.tasks.calibrate import calibrate_files
from simkit.tasks.label import label, split_labelled
from simkit.tasks.predict import predict_file
from simkit.tasks.settings import Counts, Sampling
from simkit.tasks.train import train_files
from simkit.tasks.train_ensemble import train_ensemble
from simkit.training.sources import ReadingSettings, ReplaySettings
from simkit.workflow.machine import BaseProfile
from simkit.workflow.schema import Outline
from simkit.workflow.step import Step
from simkit.workflow.steps.calibrate import Calibrate
from simkit.workflow.steps.ensemble import TrainEnsemble
from simkit.workflow.steps.evaluate import Evaluate
from simkit.workflow.steps.label import Label
from simkit.workflow.steps.predict import Predict
from simkit.workflow.steps.train import ReplayInput, Train

TASKS = {
    Train: train_files,
    TrainEnsemble: train_ensemble,
    Calibrate: calibrate_files,
    Evaluate: assess_file,
    Predict: predict_file,
}
COMMANDS = {Train: train, Evaluate: evaluate, Predict: predict}
NOT_OF_THE_STEP = {"folder", "target", "seed", "device", "progress", "source"}
"""What a step gets from its context, or calls by another name."""


def defaults(function: Callable[..., Any]) -> dict[str, Any]:
    return {name: one.default for name, one in inspect.signature(function).parameters.items()}


def same(given: Any, field: Any) -> bool:
    """Equal; where a function has None, or an option, a step has settings as their class makes them, or nothing."""
    if given is None and isinstance(field, Settings):
        return field == type(field)()
    return given == field or (given is None and field == {})


@pytest.mark.parametrize("step", TASKS)
def test_steps_have_the_settings_and_defaults_of_their_functions(step: type[Step]) -> None:
    of_function = {name: value for name, value in defaults(TASKS[step]).items() if name not in NOT_OF_THE_STEP}
    of_step = {name: field.get_default() for name, field in step.model_fields.items()}
    assert set(of_function) == set(of_step) - {"structures"}
    optional = [name for name, field in step.model_fields.items() if not field.is_required()]
    assert {name: of_step[name] for name in optional if not same(of_function[name], of_step[name])} == {}
    assert set(optional) == {name for name, value in of_function.items() if value is not inspect.Parameter.empty}


@pytest.mark.parametrize("step", COMMANDS)
def test_commands_have_the_defaults_of_their_functions(step: type[Step]) -> None:
    of_command, of_function = defaults(COMMANDS[step]), defaults(TASKS[step])
    shared = set(of_command) & set(of_function) - {"device", "data"}
    assert "reading" in shared or step is Predict
    assert {name for name in shared if of_command[name] != of_function[name]} == set()
    assert of_command["device"] == BaseProfile.model_fields["device"].default == defaults(info).get("device", "auto")


def test_seeds_are_the_same_everywhere() -> None:
    functions = (train, train_files, label, split_labelled)
    assert {defaults(one)["seed"] for one in functions} == {Outline.model_fields["seed"].default}


def test_labels_are_sampled_alike() -> None:
    own = {name: field.default for name, field in Label.model_fields.items()}
    settings = {field.name: field.default for one in (Counts, Sampling) for field in fields(one)}
    assert {name: own[name] for name in settings} == settings
    assert own["labeller"] == defaults(label)["labeller"] == defaults(split_labelled)["labeller"]
    rest = {"molecule", "structure", "frames", "labeller", "labeller_model"}
    assert set(own) == set(settings) | rest


def test_every_file_of_a_training_is_read_by_the_same_settings() -> None:
    for one in (Train, Evaluate, ReplayInput, ReplaySettings):
        assert one.model_fields["reading"].annotation is ReadingSettings
