"""One training, from frames that are shared out to a model file."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ase.data import atomic_numbers

from simkit.datasets.base import Dataset, Frame
from simkit.datasets.combine import Concatenation
from simkit.datasets.extxyz import write_extxyz
from simkit.datasets.splits import hashes
from simkit.datasets.statistics import Statistics, compute_statistics
from simkit.errors import DataError
from simkit.files import file_hash, write_json
from simkit.potential import Potential, symbols
from simkit.potentials.model_file import save_model
from simkit.progress import Progress
from simkit.tasks.data import Parts, open_data, without_other_labels
from simkit.training.architectures import Architecture, MaceArchitecture, Normalisation, Pretrained
from simkit.training.fine_tuning import pretrained_potential, with_replay
from simkit.training.inspection import require_labels, say_what_is_ignored, say_what_is_wrong
from simkit.training.objective import Objective
from simkit.training.outcome import TrainingOutcome
from simkit.training.preparation import new_potential
from simkit.training.settings import TrainingSettings
from simkit.training.sources import ReadingSettings, ReplaySettings, SplitSettings
from simkit.training.trainer import Trainer
from simkit.training.uncertainty import UncertaintyTraining


@dataclass(frozen=True)
class Plan:
    """What is trained, and how.

    Attributes:
        architecture: what to train.
        training: loss, optimiser, schedules, budgets.
        reading: keys, units and signs of the files, for the record.
        split: how the frames were shared out, for the record.
        normalisation: scale and shift of a new potential.
        reference_energies: energy of isolated atoms in eV, by chemical symbol.
        replay: other frames to be mixed with the training frames.
        uncertainty: what also predicts errors, and how it is trained.
    """

    architecture: Architecture = field(default_factory=MaceArchitecture)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    reading: ReadingSettings = field(default_factory=ReadingSettings)
    split: SplitSettings = field(default_factory=SplitSettings)
    normalisation: Normalisation = field(default_factory=Normalisation)
    reference_energies: Mapping[str, float] = field(default_factory=dict)
    replay: ReplaySettings | None = None
    uncertainty: UncertaintyTraining | None = None

    def require_sense(self) -> None:
        """Check that the settings go together.

        Raises:
            DataError: they do not.
        """
        architecture, replay = self.architecture, self.replay
        if not isinstance(architecture, Pretrained):
            return
        if architecture.head and replay is not None and replay.head is not None:
            raise DataError(
                "architecture.head fixes every frame to one level of theory, so replay.head has no effect: remove one "
                "(without architecture.head the data train the model's default head)"
            )
        if self.reference_energies or self.normalisation != Normalisation():
            raise DataError(
                "reference_energies and normalisation belong to new potentials, a pretrained one has its own: remove "
                "them (architecture.reference_energies: refit adapts it to another level of theory)"
            )

    @property
    def given(self) -> dict[int, float]:
        """Reference energies by atomic number."""
        return {_number(symbol): energy for symbol, energy in self.reference_energies.items()}

    @property
    def loss(self) -> TrainingSettings:
        """Settings of the trainer: with the stage that trains an uncertainty, if there is one."""
        return self.training if self.uncertainty is None else self.uncertainty.training(self.training)


def train_parts(
    parts: Parts,
    folder: Path,
    plan: Plan,
    *,
    progress: Progress,
    facts: Statistics,
    seed: int = 0,
    device: str = "cpu",
) -> tuple[Potential, dict[str, Any]]:
    """Train a potential on frames that are shared out, as :func:`simkit.tasks.train.train_files`; it and the results.

    Args:
        parts: the frames.
        folder: for results and checkpoints.
        plan: what is trained, and how.
        progress: where progress is shown.
        facts: statistics of the training frames, which a new potential is normalised by.
        seed: of the initial weights and the order of the frames.
        device: ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
    """
    potential = initial_potential(plan, parts, facts, seed, device, progress)
    first = int(os.environ.get("RANK", "0")) == 0
    if first:
        say_what_is_ignored(potential, parts.training, progress)
    frames, origin = parts.training, origin_of(plan, parts)
    if plan.replay is not None:
        replayed = open_data(plan.replay.data, plan.replay.reading)
        frames = with_replay(frames, replayed, plan.replay.head, plan.replay.weight, potential)
        origin["replay"] = plan.replay.model_dump(mode="json") | {"data": hashes(replayed)}
    trainer = Trainer(
        potential, frames, parts.validation, plan.loss, folder, seed=seed, origin=origin, device=device,
        progress=progress, objective=Objective if plan.uncertainty is None else plan.uncertainty.objective,
    )  # fmt: skip
    outcome = trainer.fit()
    summary = summary_of(outcome, trainer, facts, parts)
    if first:
        write_results(folder, potential, parts, summary, facts_of_run(plan, facts, seed, origin))
    return potential, summary | {"citations": list(potential.capabilities.citations)}


def origin_of(plan: Plan, parts: Parts) -> dict[str, Any]:
    """What the training starts from, which must be the same when it continues; files by their content."""
    described = plan.architecture.model_dump(mode="json")
    data, validation = hashes(parts.training), hashes(parts.validation)
    if isinstance(plan.architecture, Pretrained):
        described["model"] = file_hash(plan.architecture.model)
    origin = {
        "data": data,
        "architecture": described,
        "normalisation": plan.normalisation.model_dump(mode="json"),
        "reference_energies": {str(number): energy for number, energy in plan.given.items()},
        "split": plan.split.model_dump(mode="json"),
        "reading": plan.reading.model_dump(mode="json"),
        "validation": {} if validation == data else validation,
    }
    if plan.uncertainty is not None:
        origin["uncertainty"] = plan.uncertainty.model_dump(mode="json")
    return origin


def _number(symbol: str) -> int:
    if symbol not in atomic_numbers or symbol == "X":
        raise DataError(f"reference_energies: expected chemical symbols such as H, found '{symbol}'")
    return atomic_numbers[symbol]


def inspect(parts: Parts, plan: Plan, progress: Progress) -> Statistics:
    """Statistics of the training frames; says what is wrong with the frames.

    Raises:
        DataError: labels that the training needs are missing.
    """
    architecture = plan.architecture
    cutoff = None if isinstance(architecture, Pretrained) else architecture.cutoff
    frames = Concatenation([parts.training, parts.isolated])
    facts = compute_statistics(frames, cutoff, reference_energies=plan.given, progress=progress)
    require_labels(facts, cutoff)
    if facts.undetermined and not isinstance(architecture, Pretrained):
        progress.say(
            f"note: the compositions do not determine the E0 of {symbols(facts.undetermined)}. Energies "
            "of other compositions will mean little: add frames of isolated atoms, or give reference_energies"
        )
    if int(os.environ.get("RANK", "0")) == 0:
        say_what_is_wrong(parts.training, {"validation": parts.validation, "test": parts.test}, progress)
    return facts


def initial_potential(
    plan: Plan, parts: Parts, facts: Statistics, seed: int, device: str, progress: Progress
) -> Potential:
    """The potential that a training starts from."""
    architecture = plan.architecture
    if isinstance(architecture, Pretrained):
        elements = [number for number in facts.elements if facts.element_counts[number]]
        potential = pretrained_potential(
            architecture, Path(architecture.model), elements, parts.training, seed=seed, device=device,
            progress=progress,
        )  # fmt: skip
    else:
        potential = new_potential(architecture, facts, plan.normalisation, seed)
    return potential if plan.uncertainty is None else plan.uncertainty.wrap(potential, seed)


def summary_of(outcome: TrainingOutcome, trainer: Trainer, facts: Statistics, parts: Parts) -> dict[str, Any]:
    """How a training ended, and the errors on validation and test frames."""
    potential = trainer.potential
    errors = {f"validation_{name}": value for name, value in trainer.assess(parts.validation).items()}
    if parts.test is not None:
        errors |= {f"test_{name}": value for name, value in trainer.assess(parts.test).items()}
    return {
        "ended_by": outcome.reason,
        "epochs": outcome.epochs,
        "best_epoch": outcome.best_epoch,
        "hours": round(outcome.hours, 4),
        "training_frames": len(parts.training),
        "validation_frames": len(parts.validation),
        "test_frames": 0 if parts.test is None else len(parts.test),
        "elements": symbols(potential.capabilities.elements),
        "parameters": sum(parameter.numel() for parameter in potential.parameters()),
        "reference_source": facts.to_dict()["reference_source"],
        **errors,
    }


def facts_of_run(plan: Plan, facts: Statistics, seed: int, origin: Mapping[str, Any]) -> dict[str, Any]:
    """What a model file tells of its training."""
    settings = {
        "architecture": plan.architecture.model_dump(mode="json"),
        "training": plan.training.model_dump(mode="json"),
        "reading": plan.reading.model_dump(mode="json", exclude_defaults=True),
    }
    if plan.uncertainty is not None:
        settings["uncertainty"] = plan.uncertainty.model_dump(mode="json")
    return {**settings, "seed": seed, "statistics": facts.to_dict(), "training_data_sha256": origin["data"]}


def write_results(
    folder: Path, potential: Potential, parts: Parts, summary: dict[str, Any], settings: dict[str, Any]
) -> None:
    """Write the model, and the frames that it was not trained on."""
    write_json(folder / "split.json", parts.record)
    write_extxyz(folder / "validation.xyz", _frames(parts.validation))
    if parts.test is not None:
        write_extxyz(folder / "test.xyz", _frames(parts.test))
    versions = {name: version(name) for name in ("torch", "lightning-fabric", "e3nn", "numpy")}
    metadata = {
        "metrics": {name: value for name, value in summary.items() if "_mev_" in name},
        **settings,
        "training_summary": summary,
        "versions": {"python": platform.python_version(), **versions},
    }
    save_model(folder / "model.simkit", potential, metadata=metadata)


def _frames(dataset: Dataset) -> Iterator[Frame]:
    return (without_other_labels(dataset[index]) for index in range(len(dataset)))
