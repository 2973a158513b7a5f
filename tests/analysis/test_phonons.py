"""Phonons against exact Hessians of supercells and the limits of statistical mechanics."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from scipy import constants

from simkit.analysis.phonons import (
    bands,
    density_of_states,
    finite_displacements,
    supercell_of_size,
    thermal_properties,
)
from simkit.errors import InvalidSystemError
from simkit.evaluation import hessian_vector_product
from simkit.neighbours import build_neighbours
from simkit.potentials.stillinger_weber import StillingerWeber
from simkit.system import System
from simkit.units import DALTON

pytest.importorskip("phonopy")


@pytest.fixture(scope="module")
def silicon():
    return bulk("Si", "diamond", a=5.431)


@pytest.fixture(scope="module")
def potential():
    return StillingerWeber.silicon().requires_grad_(False)


@pytest.fixture(scope="module")
def phonon(potential, silicon):
    return finite_displacements(potential, silicon, (2, 2, 2))


def exact_frequencies(potential, atoms):
    """Frequencies in THz from the Hessian by automatic differentiation."""
    system = System.from_ase(atoms)
    neighbours = build_neighbours(system, potential.cutoff)
    columns = []
    for index in range(3 * len(atoms)):
        vector = torch.zeros(3 * len(atoms))
        vector[index] = 1
        columns.append(hessian_vector_product(potential, system, neighbours, vector.reshape(-1, 3)).reshape(-1))
    masses = np.repeat(atoms.get_masses(), 3) * DALTON
    dynamical = torch.stack(columns).numpy() / np.sqrt(np.outer(masses, masses))
    squares = np.linalg.eigvalsh(dynamical)
    return np.sort(np.sign(squares) * np.sqrt(np.abs(squares))) * 1e3 / (2 * np.pi)


def test_frequencies_of_all_commensurate_waves_are_those_of_the_supercell(phonon, potential, silicon):
    waves = np.stack(np.meshgrid(*([0, 0.5],) * 3, indexing="ij"), -1).reshape(-1, 3)
    phonon.run_band_structure([waves])
    found = np.sort(phonon.band_structure.frequencies[0].ravel())
    expected = exact_frequencies(potential, silicon.repeat(2))
    np.testing.assert_allclose(found[3:], expected[3:], atol=2e-3)
    np.testing.assert_allclose(found[:3], 0, atol=1e-4)
    assert found[-1] == pytest.approx(17.83, abs=0.01)


def test_bands_of_diamond(phonon):
    found = bands(phonon, 60)
    assert found.labels == ("Γ", "X", "W", "K", "Γ", "L", "U", "W", "L", "K|U", "X")
    assert found.frequencies.shape == (len(found.distance), 6)
    # at X all bands are degenerate in pairs
    at_x = found.frequencies[np.argmin(np.abs(found.distance - found.ticks[1]))]
    np.testing.assert_allclose(at_x[::2], at_x[1::2], atol=1e-6)
    assert found.ticks[1] == pytest.approx(1 / 5.431)  # |X| = 1/a, without 2π


def test_density_of_states_counts_the_modes(phonon):
    found = density_of_states(phonon, spacing=0.06)
    assert np.trapezoid(found.density, found.frequency) == pytest.approx(6, abs=0.02)
    assert found.lowest > -1e-3


def test_heat_capacity_and_energy_of_oscillators(phonon):
    temperatures = np.array([10.0, 300.0, 5000.0])
    found = thermal_properties(phonon, temperatures, spacing=0.1)
    phonon.run_mesh(10.0, is_mesh_symmetry=False)
    frequencies = np.sort(phonon.mesh.frequencies.ravel())[3:] * 1e12
    waves = len(phonon.mesh.frequencies)
    quantum = constants.h * frequencies[None] / (constants.k * temperatures[:, None])
    heat = constants.R * (quantum**2 * np.exp(-quantum) / (1 - np.exp(-quantum)) ** 2).sum(1) / waves
    np.testing.assert_allclose(found.heat_capacity, heat, rtol=5e-5)
    zero = 0.5 * constants.h * frequencies.sum() / waves * constants.N_A * 1e-3
    assert found.zero_point == pytest.approx(zero, rel=1e-6)
    free = zero + constants.R * 1e-3 * temperatures * np.log(1 - np.exp(-quantum)).sum(1) / waves
    np.testing.assert_allclose(found.free_energy, free, rtol=1e-5)
    dulong_petit = 3 * 2 * constants.R * (1 - 1 / 3 / 2 * 3 / waves)
    assert found.heat_capacity[2] == pytest.approx(dulong_petit, rel=5e-3)


def test_supercells_are_as_large_as_asked():
    atoms = bulk("Si", "diamond", a=5.431)
    repeats = supercell_of_size(atoms, 10.0)
    assert repeats == (4, 4, 4)  # heights of 5.431/√3 Å
    assert supercell_of_size(bulk("Si", cubic=True, a=5.0), 10.0) == (2, 2, 2)


def test_slabs_are_refused(potential):
    with pytest.raises(InvalidSystemError, match="periodic along all three axes"):
        finite_displacements(potential, Atoms("Si", cell=[5, 5, 5], pbc=[True, True, False]), (1, 1, 1))
