"""Stillinger-Weber silicon against the published crystal, and against a plain sum over triplets."""

import itertools

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.neighborlist import neighbor_list

from simkit.evaluation import evaluate
from simkit.neighbours import build_neighbours
from simkit.potentials.stillinger_weber import StillingerWeber
from simkit.system import System
from simkit.units import GPA

EPSILON, SIGMA = 2.1683, 2.0951
LATTICE_CONSTANT = 5.430949821


@pytest.fixture(scope="module")
def silicon() -> StillingerWeber:
    return StillingerWeber.silicon()


def energy_over_triplets(atoms: Atoms) -> float:
    """Equations 2.3 to 2.6 of the paper, written as loops."""
    i, d = neighbor_list("iD", atoms, 1.8 * SIGMA)
    r = np.linalg.norm(d, axis=1) / SIGMA
    energy = 0.5 * np.sum(7.049556277 * (0.6022245584 / r**4 - 1) * np.exp(1 / (r - 1.8)))
    for centre in range(len(atoms)):
        for j, k in itertools.combinations(np.flatnonzero(i == centre), 2):
            cosine = d[j] @ d[k] / (r[j] * r[k] * SIGMA**2)
            energy += 21 * (cosine + 1 / 3) ** 2 * np.exp(1.2 / (r[j] - 1.8) + 1.2 / (r[k] - 1.8))
    return EPSILON * energy


@pytest.mark.parametrize("pbc", [True, False])
def test_sum_over_triplets(silicon: StillingerWeber, pbc: bool) -> None:
    atoms = bulk("Si", a=5.2, cubic=True)
    atoms.rattle(0.25, seed=1)
    atoms.pbc = pbc
    found = evaluate(silicon, System.from_ase(atoms), outputs=("energy",)).energy.item()
    assert found == pytest.approx(energy_over_triplets(atoms), rel=1e-12)


def test_crystal_has_two_epsilon_per_atom_without_stress(silicon: StillingerWeber) -> None:
    """In diamond all angles are tetrahedral, and the pair energy is -ε at its minimum, r = 2^(1/6) σ."""
    atoms = bulk("Si", a=4 / 3**0.5 * 2 ** (1 / 6) * SIGMA)
    found = evaluate(silicon, System.from_ase(atoms), outputs=("energy", "forces", "stress"))
    assert atoms.cell.lengths()[0] * 2**0.5 == pytest.approx(LATTICE_CONSTANT, rel=1e-6)
    assert found.energy.item() / 2 == pytest.approx(-2 * EPSILON, rel=1e-9)
    assert found.stress.abs().max().item() < 1e-7
    assert found.forces.abs().max().item() < 1e-12


def elastic_constant(potential: StillingerWeber, strain: np.ndarray, row: int, column: int, relaxed: bool) -> float:
    """Central difference of the stress, with the atoms relaxed by Newton steps if asked for."""
    stresses = []
    for sign in (1, -1):
        atoms = bulk("Si", a=LATTICE_CONSTANT)
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + sign * strain), scale_atoms=True)
        system = System.from_ase(atoms)
        if relaxed:
            _relax(potential, system)
        stress = evaluate(potential, system, outputs=("stress",)).stress[0]
        stresses.append(stress[row, column].item())
    return (stresses[0] - stresses[1]) / 2 / GPA


def _relax(potential: StillingerWeber, system: System) -> None:
    """Steps of the force over about twice the optical force constant, where the iteration contracts fastest."""
    for _ in range(40):
        force = evaluate(potential, system, outputs=("forces",)).forces
        system.positions.add_(force / 35.0)
    assert force.abs().max().item() < 1e-9


def test_elastic_constants(silicon: StillingerWeber) -> None:
    """Reference: H. Balamane, T. Halicioglu, W. A. Tiller, Phys. Rev. B 46, 2250 (1992), table for SW, in GPa."""
    size = 1e-5
    stretch = np.zeros((3, 3))
    stretch[0, 0] = size
    shear = np.zeros((3, 3))
    shear[1, 2] = shear[2, 1] = size / 2
    found = {
        "C11": elastic_constant(silicon, stretch, 0, 0, False) / size,
        "C12": elastic_constant(silicon, stretch, 1, 1, False) / size,
        "C44": elastic_constant(silicon, shear, 1, 2, True) / size,
    }
    assert found == pytest.approx({"C11": 151.4, "C12": 76.4, "C44": 56.4}, abs=0.05)


def test_no_angles_in_a_dimer(silicon: StillingerWeber) -> None:
    atoms = Atoms("Si2", [[0, 0, 0], [2 ** (1 / 6) * SIGMA, 0, 0]])
    assert evaluate(silicon, System.from_ase(atoms)).energy.item() == pytest.approx(-EPSILON, rel=1e-9)


@pytest.mark.parametrize("gap", [1e-300, 1e-9, 1e-5, 1e-2])
def test_finite_derivatives_just_inside_the_cutoff(silicon: StillingerWeber, gap: float) -> None:
    atoms = Atoms("Si2", [[0, 0, 0], [silicon.cutoff - gap, 0, 0]])
    system = System.from_ase(atoms)
    found = evaluate(silicon, system, build_neighbours(system, silicon.cutoff + 0.1), ("energy", "forces"))
    assert torch.isfinite(found.energy).all()
    assert torch.isfinite(found.forces).all()
    assert found.forces.abs().max().item() < 1e-10
