"""Pressure against derivatives of the energy, the ideal gas and ASE's stress."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from ase.build import bulk

from simkit import Calculator
from simkit.dynamics import ForceField, MDState, start
from simkit.dynamics.pressure import pressure, pressure_tensor
from simkit.errors import SimkitError
from simkit.potentials.lennard_jones import LennardJones
from simkit.system import System
from simkit.units import BOLTZMANN

ARGON = LennardJones(epsilon=0.0104, sigma=3.4, cutoff=5.0)


def argon(temperature: float = 0.0, *, drift: bool = False) -> MDState:
    atoms = bulk("Ar", "fcc", a=5.0)
    atoms.set_cell(atoms.cell.array @ [[1.0, 0.0, 0.0], [0.05, 1.02, 0.0], [0.0, -0.03, 0.97]], scale_atoms=True)
    system = System.from_ase([atoms * (2, 2, 1), atoms * (2, 1, 1)])
    return start(system, temperature, generator=torch.Generator().manual_seed(2), drift=drift)


def test_static_pressure_is_minus_the_stress_of_ase_and_the_derivative_of_the_energy() -> None:
    state = ForceField(ARGON, virial=True)(argon())
    tensor = pressure_tensor(state)
    atoms = state.system.to_ase()[0]
    atoms.calc = Calculator(ARGON)
    torch.testing.assert_close(tensor[0], -torch.as_tensor(atoms.get_stress(voigt=False)), atol=1e-12, rtol=1e-9)
    energies = []
    for step in (1e-4, -1e-4):
        scaled = atoms.copy()
        scaled.calc = Calculator(ARGON)
        scaled.set_cell(atoms.cell.array * (1 + step), scale_atoms=True)
        energies.append((scaled.get_potential_energy(), scaled.get_volume()))
    slope = (energies[0][0] - energies[1][0]) / (energies[0][1] - energies[1][1])
    assert float(pressure(state)[0]) == pytest.approx(-slope, rel=1e-4)


def test_moving_atoms_add_two_thirds_of_their_energy_per_volume() -> None:
    still, moving = (ForceField(ARGON, virial=True)(argon(t, drift=True)) for t in (0.0, 300.0))
    gained = pressure(moving) - pressure(still)
    torch.testing.assert_close(gained, 2 * moving.kinetic_energy() / (3 * moving.system.volume()))
    torch.testing.assert_close(gained, moving.system.counts * BOLTZMANN * moving.temperature() / moving.system.volume())
    relative = moving.without_drift(torch.tensor([True, True]))
    torch.testing.assert_close(pressure(moving, drift=False), pressure(relative))
    assert bool((pressure(relative) < pressure(moving)).all())


def test_pressure_needs_a_virial_and_a_volume() -> None:
    with pytest.raises(SimkitError, match="virial=True"):
        pressure(ForceField(ARGON)(argon()))
    state = argon()
    slab = replace(state, system=replace(state.system, pbc=torch.tensor([[True, True, False], [True, True, True]])))
    assert torch.isnan(pressure(ForceField(ARGON, virial=True)(slab))).tolist() == [True, False]
