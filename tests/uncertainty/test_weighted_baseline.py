"""A baseline that takes over where a correction is uncertain."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import pytest
import torch

from simkit.errors import SimkitError
from simkit.evaluation import evaluate
from simkit.potential import Potential
from simkit.potentials.lennard_jones import LennardJones
from simkit.potentials.model_file import load_model, save_model
from simkit.potentials.morse import Morse
from simkit.potentials.sum import Sum
from simkit.uncertainty.ensemble import Ensemble
from simkit.uncertainty.weighted_baseline import WeightedBaseline
from tests.conformance.battery import Battery
from tests.uncertainty.committees import argon, system

OUTPUTS = ("energy", "forces", "stress")
BASELINE = Morse(depth=0.01, stiffness=1.2, distance=3.8, cutoff=6.0)


class TestWeightedBaseline(Battery):
    spacing = 3.4
    exceptions: ClassVar[dict[str, str]] = {"supercell": "the weight of a whole system depends on its size"}

    def potential(self) -> Potential:
        return WeightedBaseline(BASELINE, argon(3), baseline_std=0.02)

    def crossings(self, model: Potential, pair: tuple[int, int]) -> list[float]:
        return [5.0, 6.0]


def test_forces_are_the_formula() -> None:
    """``F = F_b + w F_c + V_c w² ∂s²/∂x / s_b²``."""
    correction, at = argon(), system()
    error = 0.01
    found = evaluate(WeightedBaseline(BASELINE, correction, error), at)
    base, own = evaluate(BASELINE, at), evaluate(correction, at)
    members = [evaluate(member, at) for member in correction.members]
    energies = torch.stack([one.energy for one in members])
    forces = torch.stack([one.forces for one in members if one.forces is not None])
    deviations = energies - energies.mean(0)
    slope = -2 / 3 * (deviations[:, :, None] * (forces - forces.mean(0))).sum(0)
    weight = error**2 / (error**2 + energies.var(0))
    assert 0.1 < float(weight) < 0.9
    torch.testing.assert_close(found.energy, base.energy + weight * own.energy, rtol=1e-12, atol=0)
    assert base.forces is not None
    assert own.forces is not None
    expected = base.forces + weight * own.forces + own.energy * weight**2 * slope / error**2
    torch.testing.assert_close(found.forces, expected, rtol=0, atol=1e-12)


def test_limits() -> None:
    """The full correction where it is certain; the bare baseline where it is not."""
    at = system()
    whole = evaluate(Sum(BASELINE, argon()), at, outputs=OUTPUTS)
    certain = evaluate(WeightedBaseline(BASELINE, argon(), 1e6), at, outputs=OUTPUTS)
    bare = evaluate(BASELINE, at, outputs=OUTPUTS)
    lost = evaluate(WeightedBaseline(BASELINE, argon(), 1e-9), at, outputs=OUTPUTS)
    for name in OUTPUTS:
        torch.testing.assert_close(getattr(certain, name), getattr(whole, name), rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(getattr(lost, name), getattr(bare, name), rtol=1e-9, atol=1e-12)


def test_file_round_trip(tmp_path: Path) -> None:
    model = WeightedBaseline(BASELINE, argon(), 0.01)
    save_model(tmp_path / "model.simkit", model)
    found = evaluate(load_model(tmp_path / "model.simkit"), system(), outputs=OUTPUTS)
    expected = evaluate(model, system(), outputs=OUTPUTS)
    assert all(torch.equal(getattr(found, name), getattr(expected, name)) for name in OUTPUTS)


def test_bad_settings() -> None:
    with pytest.raises(SimkitError, match="a correction with an uncertainty"):
        WeightedBaseline(BASELINE, LennardJones(0.01, 3.4, 5.0), 0.1)
    with pytest.raises(SimkitError, match="positive standard error of the baseline"):
        WeightedBaseline(BASELINE, argon(), 0.0)
    with pytest.raises(SimkitError, match="at least two members"):
        evaluate(WeightedBaseline(BASELINE, Ensemble(LennardJones(0.01, 3.4, 5.0)), 0.1), system())
