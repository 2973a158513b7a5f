"""Biases: bounds, derivatives, dynamics, files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch

from simkit.dynamics import ForceField, MDState, start
from simkit.dynamics.log import conserved_energy
from simkit.dynamics.verlet import velocity_verlet
from simkit.errors import SimkitError
from simkit.evaluation import evaluate
from simkit.flows import Every, integrate
from simkit.potential import Potential
from simkit.potentials.lennard_jones import LennardJones
from simkit.potentials.model_file import load_model, save_model
from simkit.potentials.sum import Sum
from simkit.system import System, concatenate
from simkit.uncertainty.bias import Bias, Hyperactive, UncertaintyDriven, relative_strength
from simkit.uncertainty.ensemble import Ensemble
from tests.conformance.battery import Battery
from tests.uncertainty.committees import argon, system


def biases() -> list[Bias]:
    return [UncertaintyDriven(argon(), height=0.5, width=0.005), Hyperactive(argon(), strength=0.7)]


class TestUncertaintyDriven(Battery):
    spacing = 3.4
    tolerance = 1e-8
    exceptions: ClassVar[dict[str, str]] = {"supercell": "the bias of a whole system depends on its size"}

    def potential(self) -> Potential:
        return UncertaintyDriven(argon(3), height=1.0, width=0.02)


class TestHyperactive(Battery):
    spacing = 3.4
    tolerance = 1e-8
    exceptions: ClassVar[dict[str, str]] = {"supercell": "the floor of a whole system"}

    def potential(self) -> Potential:
        return Sum(argon(3), Hyperactive(argon(3), strength=0.5))


def test_energy_is_the_formula() -> None:
    model = argon(4)
    one, two = system(1), system(2, 0.2)
    both = concatenate([one, two])
    energies = torch.stack([evaluate(member, both).energy for member in model.members])
    squares = 0.5 * (energies - energies.mean(0)).square().sum(0)
    height, width = 0.5, 0.005
    expected = height * (torch.exp(-squares / (4 * 4 * width**2)) - 1)
    found = evaluate(UncertaintyDriven(model, height, width), both).energy
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)
    deviation = (energies.var(0) + 1e-8).sqrt() - 1e-4
    torch.testing.assert_close(evaluate(Hyperactive(model, 0.7), both).energy, -0.7 * deviation, rtol=1e-12, atol=0)


def test_bounds() -> None:
    """No bias where members agree, ``-A`` where they do not agree at all."""
    same = LennardJones(0.01, 3.4, 5.0)
    agreeing, wild = Ensemble(same, same), Ensemble(same, LennardJones(50.0, 3.4, 5.0))
    found = [float(evaluate(UncertaintyDriven(model, 0.5, 0.01), system()).energy) for model in (agreeing, wild)]
    assert found[0] == 0
    assert found[1] == pytest.approx(-0.5, rel=1e-12)
    flat = evaluate(Hyperactive(agreeing, 1.0), system())
    assert float(flat.energy) == 0
    assert flat.forces is not None
    assert not flat.forces.any()


@pytest.mark.parametrize("which", [0, 1])
def test_forces_and_stress_are_finite_differences(which: int) -> None:
    bias, at = biases()[which], system()
    found = evaluate(bias, at, outputs=("energy", "forces", "stress"))
    assert found.forces is not None
    assert found.stress is not None
    step = 1e-4
    slope = torch.zeros_like(at.positions)
    for atom in range(at.n_atoms):
        for axis in range(3):
            shift = torch.zeros_like(at.positions)
            shift[atom, axis] = step
            plus, minus = (
                float(evaluate(bias, replace(at, positions=at.positions + sign * shift)).energy) for sign in (1, -1)
            )
            slope[atom, axis] = -(plus - minus) / (2 * step)
    scale = float(found.forces.abs().max())
    assert scale > 1e-3
    assert float((slope - found.forces).abs().max()) < 1e-6 * scale
    strain = torch.zeros(3, 3)
    strain[0, 1] = strain[1, 0] = step
    grown = [
        replace(at, positions=at.positions @ (torch.eye(3) + e), cell=at.cell @ (torch.eye(3) + e))
        for e in (strain, -strain)
    ]
    energies = [float(evaluate(bias, one).energy) for one in grown]
    expected = (energies[0] - energies[1]) / (4 * step) / float(at.volume())
    assert float(found.stress[0, 0, 1]) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("which", [0, 1])
def test_biased_dynamics_conserve_energy_as_well_as_the_model_alone(which: int) -> None:
    """Forces beside the wrong energy would make the total energy drift."""
    bias = biases()[which]
    model = bias.model
    assert isinstance(model, Potential)

    def deviation(potential: Potential) -> float:
        forces = ForceField(potential)
        state = forces(start(system(), 30.0, generator=torch.Generator().manual_seed(0)))
        kept: list[float] = []

        def keep(step: int, state: MDState) -> None:
            kept.append(float(conserved_energy(state)))

        integrate(velocity_verlet(forces), state, 4.0, 60, observers=[Every(5, keep)])
        return float(np.std(kept))

    potential = Sum(model, bias)
    biased = evaluate(bias, system()).forces
    assert biased is not None
    assert float(biased.abs().max()) > 1e-3
    assert deviation(potential) < 2 * deviation(model) + 1e-7


def test_model_with_a_known_variance_counts_as_many_members() -> None:
    """Of M members, ``σ²/M = (1 - 1/M) var/2``; without members it is ``var/2``."""
    bias = UncertaintyDriven(argon(2), 1.0, 0.01)
    variance, atoms = torch.tensor([1e-4]), torch.tensor([4.0])
    assert float(bias.energy_of(variance, atoms)) == pytest.approx(np.expm1(-0.25e-4 / (4 * 1e-4)))


def test_relative_strength_makes_bias_forces_a_fraction() -> None:
    model, at = argon(), system()
    tau = relative_strength(model, at, 0.2)
    forces = [evaluate(one, at).forces for one in (model, Hyperactive(model, tau))]
    sums = [float(one.norm(dim=1).sum()) for one in forces if one is not None]
    assert sums[1] / sums[0] == pytest.approx(0.2, rel=1e-9)
    same = LennardJones(0.01, 3.4, 5.0)
    with pytest.raises(SimkitError, match="whose uncertainty has a slope"):
        relative_strength(Ensemble(same, same), at)


def test_file_round_trip(tmp_path: Path) -> None:
    for bias in biases():
        save_model(tmp_path / "bias.simkit", bias)
        found, expected = (
            evaluate(one, system(), outputs=("energy", "forces", "stress"))
            for one in (load_model(tmp_path / "bias.simkit"), bias)
        )
        assert torch.equal(found.energy, expected.energy)
        assert found.forces is not None
        assert expected.forces is not None
        assert torch.equal(found.forces, expected.forces)
        assert bias.capabilities.citations[-1] in found_citations(tmp_path / "bias.simkit")


def found_citations(path: Path) -> tuple[str, ...]:
    return load_model(path).capabilities.citations


def test_bad_settings() -> None:
    with pytest.raises(SimkitError, match="positive height A in eV"):
        UncertaintyDriven(argon(), 0.0, 1.0)
    with pytest.raises(SimkitError, match="positive strength"):
        Hyperactive(argon(), float("nan"))
    single: System = system()
    with pytest.raises(SimkitError, match="at least two members"):
        evaluate(UncertaintyDriven(Ensemble(LennardJones(0.01, 3.4, 5.0)), 1.0, 1.0), single)
