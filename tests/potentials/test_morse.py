"""Morse against its analytic dimer."""

import math

import pytest
import torch
from ase import Atoms

from simkit.evaluation import evaluate, hessian_vector_product
from simkit.neighbours import build_neighbours
from simkit.potentials.morse import Morse
from simkit.system import System

DEPTH, STIFFNESS, DISTANCE = 0.3429, 1.3588, 2.866


@pytest.fixture
def morse() -> Morse:
    """Copper of Girifalco and Weizer, Phys. Rev. 114, 687 (1959)."""
    return Morse(DEPTH, STIFFNESS, DISTANCE, cutoff=12.0)


def dimer(distance: float) -> System:
    return System.from_ase(Atoms("Cu2", [[0, 0, 0], [distance, 0, 0]]))


def test_dimer_is_bound_by_the_depth_at_the_equilibrium_distance(morse: Morse) -> None:
    found = evaluate(morse, dimer(DISTANCE))
    assert found.energy.item() == pytest.approx(-DEPTH, abs=1e-14)
    assert found.forces.abs().max().item() < 1e-14


def test_force_constant_of_the_dimer(morse: Morse) -> None:
    system = dimer(DISTANCE)
    along = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    product = hessian_vector_product(morse, system, build_neighbours(system, morse.cutoff), along)
    assert product[1, 0].item() == pytest.approx(2 * DEPTH * STIFFNESS**2, rel=1e-12)


@pytest.mark.parametrize("distance", [1.5, 2.4, 5.0])
def test_energy_and_force_of_a_stretched_dimer(morse: Morse, distance: float) -> None:
    decay = math.exp(-STIFFNESS * (distance - DISTANCE))
    found = evaluate(morse, dimer(distance))
    assert found.energy.item() == pytest.approx(DEPTH * ((1 - decay) ** 2 - 1), rel=1e-12)
    assert found.forces[1, 0].item() == pytest.approx(-2 * DEPTH * STIFFNESS * decay * (1 - decay), rel=1e-12)


def test_zero_from_the_cutoff_on(morse: Morse) -> None:
    assert evaluate(morse, dimer(10.8)).energy.item() < 0
    assert evaluate(morse, dimer(12.0)).energy.item() == 0
