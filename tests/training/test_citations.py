"""What a training asks to be cited."""

import re

import pytest

from simkit.potentials.mace import MACE
from simkit.potentials.painn import PaiNN
from simkit.training import citations
from simkit.workflow.step import Step
from simkit.workflow.steps.label import Label
from simkit.workflow.steps.train import Train


def test_the_methods_of_a_training_are_cited() -> None:
    default = Train(data="a.xyz").citations()
    assert {citations.ADAM, citations.AMSGRAD, citations.AVERAGE} <= set(default)
    assert not {citations.ADAMW, citations.STOCHASTIC_AVERAGE, citations.UNIVERSAL, citations.HUBER} & set(default)
    other = {
        "optimiser": {"kind": "adamw", "amsgrad": False},
        "ema": None,
        "loss": {"kind": "universal"},
        "stage_two": {"start_epoch": 3, "average": "uniform"},
    }
    found = set(Train(data="a.xyz", training=other).citations())
    assert {citations.ADAMW, citations.STOCHASTIC_AVERAGE, citations.UNIVERSAL, citations.HUBER} <= found
    assert not {citations.AMSGRAD, citations.AVERAGE} & found


def test_architectures_are_cited_as_the_potentials_that_they_make() -> None:
    painn = Train(data="a.xyz", architecture={"kind": "painn"}).citations()
    assert set(PaiNN([1], channels=2, layers=1).capabilities.citations) <= set(painn)
    for zbl in (None, "inside"):
        mace = MACE(elements=[1], hidden_irreps="2x0e", max_ell=0, correlation=1, zbl=zbl)
        found = Train(data="a.xyz", architecture={"kind": "mace", "zbl": zbl}).citations()
        assert found[: len(mace.capabilities.citations)] == mace.capabilities.citations


@pytest.mark.parametrize(
    "step",
    [
        Train(data="a.xyz", architecture={"kind": "pretrained", "model": "m.simkit"}),
        Train(data="a.xyz", architecture={"kind": "custom", "potential": "morse"}),
        Label(molecule="H2O"),
        Label(frames="a.xyz"),
    ],
)
def test_every_reference_can_be_found(step: Step) -> None:
    assert step.citations()
    assert all(re.search(r"doi:10\.\d{4,}/|arXiv:\d{4}\.\d{4,5}", text) for text in step.citations())
