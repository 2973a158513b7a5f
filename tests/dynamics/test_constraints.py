"""Bonds of fixed length against rigid rotors, conserved energies and reduced temperatures."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule
from scipy import stats

from simkit.dynamics import MDState, start, velocity_verlet
from simkit.dynamics.bond_search import bonds_between, bonds_to_hydrogen
from simkit.dynamics.bonds import Bonds
from simkit.dynamics.cell_rescaling import cell_rescaling
from simkit.dynamics.constraints import constrained
from simkit.dynamics.force_field import Forces
from simkit.dynamics.langevin import langevin
from simkit.dynamics.pressure import pressure
from simkit.errors import SimkitError
from simkit.flows import Flow
from simkit.system import System
from simkit.units import BOLTZMANN

WATER = [[0, 1], [0, 2], [1, 2]]


def field(state: MDState) -> MDState:
    """``E = Σ cos(x + 2y) + (z - x)²/10`` in eV: smooth, and not invariant under anything."""
    positions = state.system.positions
    along, across = positions @ torch.tensor([1.0, 2.0, 0.0]).double(), positions[:, 2] - positions[:, 0]
    energy = state.sum_over_atoms(along.cos() + across.square() / 10)
    forces = torch.stack([along.sin() + across / 5, 2 * along.sin(), -across / 5], dim=1)
    virial = state.sum_over_atoms(positions[:, :, None] * forces[:, None, :])
    return replace(state, energy=energy, forces=forces, virial=virial)


def nothing(state: MDState) -> MDState:
    return replace(state, energy=torch.zeros_like(state.heat), forces=torch.zeros_like(state.momenta))


def waters(count: int, temperature: float = 300.0, drift: bool = True) -> tuple[MDState, Bonds]:
    system = System.from_ase([molecule("H2O")] * count)
    state = start(system, temperature, generator=torch.Generator().manual_seed(1), drift=drift)
    pairs = torch.tensor(WATER).repeat(count, 1) + 3 * torch.arange(count).repeat_interleave(3)[:, None]
    bonds = bonds_between(state, pairs)
    return bonds.held(state), bonds


def run(method: Flow, state: MDState, dt: float, steps: int) -> MDState:
    for _ in range(steps):
        state = method(state, torch.full((state.n_systems,), dt).double())
    return state


def energy(state: MDState) -> torch.Tensor:
    known = field(state)
    assert known.energy is not None
    return known.energy + known.kinetic_energy() - known.heat


def deviation(bonds: Bonds, state: MDState) -> float:
    return float((bonds.vectors(state).norm(dim=1) - bonds.lengths).abs().max())


def test_free_dimer_is_a_rigid_rotor() -> None:
    system = System.from_ase(Atoms("CO", positions=[[0, 0, 0], [1.1, 0, 0]]))
    state = start(system)
    state = replace(state, momenta=torch.tensor([[0.0, -0.3, 0.0], [0.0, 0.3, 0.0]]).double())
    bonds = bonds_between(state, [[0, 1]])
    held = bonds.held(state)
    assert held.degrees_of_freedom.tolist() == [2]
    reduced = float(1 / (1 / held.masses).sum())
    frequency = 0.3 / (reduced * 1.1)
    errors = []
    for dt in (2.0, 1.0):
        final = run(constrained(velocity_verlet(nothing), bonds), held, dt, round(60 / dt))
        vector = bonds.vectors(final)[0]
        turned = float(torch.atan2(vector[1], vector[0]))
        errors.append(abs((turned - frequency * 60 + np.pi) % (2 * np.pi) - np.pi))
        assert float(final.kinetic_energy()) == pytest.approx(float(held.kinetic_energy()), rel=1e-10)
        assert deviation(bonds, final) < 1e-11
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.05)
    tension = bonds.virial(nothing(held))[0, 0, 0]  # the bond pulls with μ ω² d along itself
    assert float(tension) == pytest.approx(-reduced * frequency**2 * 1.1**2, rel=1e-12)


def test_rigid_water_conserves_energy_and_angular_momentum() -> None:
    state, bonds = waters(4)
    assert state.degrees_of_freedom.tolist() == [6] * 4

    def angular(state: MDState) -> torch.Tensor:
        return state.sum_over_atoms(torch.linalg.cross(state.system.positions, state.momenta))

    free = run(constrained(velocity_verlet(nothing), bonds), state, 2.0, 20)
    torch.testing.assert_close(angular(free), angular(state), atol=1e-11, rtol=0)
    assert deviation(bonds, free) < 1e-11
    method = constrained(velocity_verlet(field), bonds)
    errors = [float((energy(run(method, state, dt, round(40 / dt))) - energy(state)).abs().max()) for dt in (1.0, 0.5)]
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.3)


def test_drift_is_reversible() -> None:
    state, bonds = waters(3)
    method = constrained(velocity_verlet(field), bonds)
    there = run(method, state, 1.0, 20)
    back = run(method, replace(there, momenta=-there.momenta), 1.0, 20)
    torch.testing.assert_close(back.system.positions, state.system.positions, atol=1e-9, rtol=0)


def test_langevin_samples_orientations_and_momenta_of_rigid_dimers() -> None:
    """Opposite forces on both ends: ``E = -f d cos θ``, so the density of ``c = cos θ`` is ``e^{f d c / k_B T}``."""
    temperature, length, pull = 300.0, 1.1, 0.05

    def opposite(state: MDState) -> MDState:
        forces = torch.zeros_like(state.momenta)
        forces[0::2, 2], forces[1::2, 2] = -pull, pull
        energy = state.sum_over_atoms(-(forces * state.system.positions).sum(1))
        return replace(state, energy=energy, forces=forces)

    rng = np.random.default_rng(1)
    scale = pull * length / (BOLTZMANN * temperature)
    along = np.log1p(rng.random(600) * np.expm1(2 * scale)) / scale - 1  # exact samples, which stay so
    angle, across = 2 * np.pi * rng.random(600), np.sqrt(1 - along**2)
    axes = length * np.stack([across * np.cos(angle), across * np.sin(angle), along], axis=1)
    generator = torch.Generator().manual_seed(2)
    system = System.from_ase([Atoms("CO", positions=[[0, 0, 0], axis]) for axis in axes])
    state = start(system, temperature, generator=generator, drift=True)
    bonds = bonds_between(state, torch.arange(1200).view(600, 2))
    method = constrained(langevin(opposite, temperature, 0.02, generator, drift=True), bonds)
    held = opposite(bonds.held(state))
    final = run(method, held, 10.0, 60)
    cosines = bonds.vectors(final)[:, 2].numpy() / length
    orientations = stats.kstest(cosines, lambda c: np.expm1(scale * (c + 1)) / np.expm1(2 * scale))
    kinetic = stats.kstest(final.kinetic_energy().numpy(), stats.gamma(5 / 2, scale=BOLTZMANN * temperature).cdf)
    assert min(orientations.pvalue, kinetic.pvalue) > 0.01
    assert abs(np.corrcoef(cosines, along)[0, 1]) < 0.5  # they are other samples
    assert deviation(bonds, final) < 1e-11
    assert final.energy is not None
    assert held.energy is not None
    kept = final.energy + final.kinetic_energy() - final.heat - held.energy - held.kinetic_energy()
    assert float(final.heat.abs().mean()) > 0.02
    assert float(kept.abs().max()) < 2e-3  # what the bath gives is counted, and bonds do no work


def test_virial_of_the_bonds_balances_rotation() -> None:
    """``2 K + virial = 0`` of a free rigid body whose centre of mass rests, at any orientation."""
    state, bonds = waters(5, drift=False)
    moving = run(constrained(velocity_verlet(nothing), bonds), state, 1.0, 7)
    trace = bonds.virial(nothing(moving)).diagonal(dim1=1, dim2=2).sum(1)
    torch.testing.assert_close(trace, -2 * moving.kinetic_energy(), atol=1e-12, rtol=1e-9)


def test_pressure_of_rigid_molecules_is_that_of_their_centres() -> None:
    state, bonds = waters(3)
    cells = 9 * torch.eye(3).double().repeat(3, 1, 1)
    boxed = replace(state, system=replace(state.system, cell=cells, pbc=torch.ones(3, 3, dtype=torch.bool)))
    boxed = replace(nothing(boxed), virial=torch.zeros_like(cells))
    total = boxed.sum_over_atoms(boxed.momenta).square().sum(1) / boxed.sum_over_atoms(boxed.masses)
    torch.testing.assert_close(pressure(boxed, bonds=bonds), total / (3 * 9.0**3))
    assert bool((pressure(boxed) > 1.2 * pressure(boxed, bonds=bonds)).all())


def test_longer_time_steps_without_stiff_bonds() -> None:
    """Twice the step, and still a better energy than with springs of 30 eV/Å² in place of the bonds."""
    system = System.from_ase([Atoms("CH", positions=[[0, 0, 0], [0, 1.1, 0]])] * 4)
    state = start(system, 300.0, generator=torch.Generator().manual_seed(1), drift=True)
    bonds = bonds_between(state, torch.arange(8).view(4, 2))

    def springs(state: MDState) -> MDState:
        known, vectors = field(state), bonds.vectors(state)
        lengths = vectors.norm(dim=1)
        assert known.energy is not None
        assert known.forces is not None
        pull = (30.0 * (lengths - 1.1) / lengths)[:, None] * vectors
        forces = known.forces.index_add(0, bonds.first, pull).index_add(0, bonds.second, -pull)
        return replace(known, energy=known.energy + 15.0 * (lengths - 1.1).square(), forces=forces)

    def worst(method: Flow, forces: Forces, first: MDState, dt: float) -> float:
        energies = []
        for _ in range(round(30 / dt)):
            first = forces(run(method, first, dt, 1))
            assert first.energy is not None
            energies.append(first.energy + first.kinetic_energy())
        return float(torch.stack(energies).std(0).mean())

    free = worst(velocity_verlet(springs), springs, state, 0.5)
    held = worst(constrained(velocity_verlet(field), bonds), field, bonds.held(state), 1.0)
    assert held < free


def test_single_precision() -> None:
    state, _ = waters(2)
    single = start(state.system.to(dtype=torch.float32), 300.0, generator=torch.Generator().manual_seed(1))
    bonds = bonds_between(single, [*WATER, [3, 4]])
    final = run(constrained(velocity_verlet(nothing), bonds), bonds.held(single), 1.0, 10)
    assert final.system.dtype == torch.float32
    assert deviation(bonds, final) < 1e-5


def test_bonds_to_hydrogen_across_boundaries_and_of_fixed_atoms() -> None:
    methane = molecule("CH4", cell=[6, 6, 6], pbc=True)
    methane.positions += [0.2, 5.9, 3.0]
    methane.wrap()
    ethane = molecule("C2H6", cell=[9, 9, 9], pbc=True)
    system = System.from_ase([methane, ethane])
    fixed = torch.zeros(system.n_atoms, dtype=torch.bool)
    fixed[0] = True
    state = start(replace(system, fixed=fixed), 300.0, generator=torch.Generator().manual_seed(3))
    bonds = bonds_to_hydrogen(state)
    assert bonds.n_bonds == 10
    assert bonds.places.shape == (3, 4)
    assert bool((bonds.lengths < 1.2).all())
    held = bonds.held(state)
    assert held.removed.tolist() == [3 + 4, 3 + 6]
    final = run(constrained(velocity_verlet(field), bonds), held, 1.0, 20)
    assert deviation(bonds, final) < 1e-11
    torch.testing.assert_close(final.system.positions[0], system.positions[0], atol=0, rtol=0)
    assert float(final.momenta[0].abs().max()) == 0
    assert float((final.system.positions - system.positions)[1:].abs().max()) > 0.1


def test_zero_time_step_leaves_a_system_untouched() -> None:
    state, bonds = waters(2)
    method = constrained(langevin(field, 300.0, 0.1), bonds)
    final = method(state, torch.tensor([0.0, 1.0]).double())
    assert torch.equal(final.system.positions[:3], state.system.positions[:3])
    assert torch.equal(final.momenta[:3], state.momenta[:3])
    assert not torch.equal(final.system.positions[3:], state.system.positions[3:])


def test_a_broken_system_does_not_stop_the_others() -> None:
    state, bonds = waters(2)
    broken = state.momenta.clone()
    broken[0] = torch.nan
    method = constrained(velocity_verlet(nothing), bonds)
    final = run(method, replace(state, momenta=broken), 1.0, 2)
    assert final.finite().tolist() == [False, True]
    torch.testing.assert_close(final.system.positions[3:], run(method, state, 1.0, 2).system.positions[3:])


def test_errors_name_the_bond() -> None:
    state, bonds = waters(2)
    fast = replace(state, momenta=state.momenta * torch.tensor([1.0] * 3 + [300.0] * 3)[:, None])
    with pytest.raises(SimkitError, match=r"atoms \d and \d of system 1: .* instead of .*shorter time step"):
        run(constrained(velocity_verlet(nothing), bonds), fast, 20.0, 1)
    alone = run(constrained(velocity_verlet(nothing), replace(bonds, strict=False)), fast, 20.0, 2)
    assert alone.finite().tolist() == [True, False]
    with pytest.raises(SimkitError, match="each given once"):
        bonds_between(state, [[0, 1], [1, 0]])
    with pytest.raises(SimkitError, match="within 3 Å"):
        bonds_between(state, [[0, 4]])
    line = start(System.from_ase(molecule("CO2")))
    with pytest.raises(SimkitError, match="independent"):
        bonds_between(line, [[0, 1], [0, 2], [1, 2]])
    pinned = replace(state, system=replace(state.system, fixed=torch.tensor([True, True] + [False] * 4)))
    with pytest.raises(SimkitError, match="fixed atoms"):
        bonds_between(pinned, [[0, 1]])


def test_barostats_are_refused() -> None:
    state, bonds = waters(1)
    cell = 8 * torch.eye(3).double()[None]
    boxed = replace(state, system=replace(state.system, cell=cell, pbc=torch.ones(1, 3, dtype=torch.bool)))
    bath = langevin(field, 300.0, 0.1).parts[2][1]
    method = cell_rescaling(field, bath, 300.0, 0.0, time_constant=100.0, compressibility=1.0)
    with pytest.raises(SimkitError, match="barostats"):
        run(constrained(method, bonds), boxed, 1.0, 1)
