"""Martyna-Tobias-Klein dynamics: what it conserves, to which order, and the ensemble that it leaves as it is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from ase.build import bulk
from scipy import stats
from scipy.integrate import solve_ivp

from simkit.dynamics import ForceField, MDState, start
from simkit.dynamics.martyna_tobias_klein import CellChain, martyna_tobias_klein
from simkit.dynamics.nose_hoover import NoseHooverChain
from simkit.errors import SimkitError
from simkit.flows import Flow, Splitting
from simkit.potentials.lennard_jones import LennardJones
from simkit.system import System
from simkit.units import BOLTZMANN
from tests.dynamics.elastic_cells import ElasticCell, sample

T, P = 300.0, 0.004
KT = BOLTZMANN * T
TAU, CELL_TAU = 20.0, 30.0
FCC = 3.0 * torch.tensor([[0.0, 1.0, 1.0], [1.0, 0.0, 1.0], [1.0, 1.0, 0.0]], dtype=torch.float64)
ARGON = LennardJones(epsilon=0.0104, sigma=3.4, cutoff=5.0)


def run(method: Flow, state: MDState, dt: float, steps: int) -> MDState:
    for _ in range(steps):
        state = method(state, torch.full((state.n_systems,), dt).double())
    return state


def argon(systems: int = 3) -> MDState:
    atoms = bulk("Ar", "fcc", a=5.2) * (2, 1, 1)
    state = start(System.from_ase([atoms] * systems), 60.0, generator=torch.Generator().manual_seed(1))
    return replace(state, cell_velocity=torch.zeros(systems, 3, 3).double())


def argon_method(shape: bool) -> Splitting:
    forces = ForceField(ARGON, virial=True)
    return martyna_tobias_klein(forces, 40.0, P, time_constant=60.0, cell_time_constant=300.0, shape=shape)


def conserved(method: Splitting, state: MDState) -> torch.Tensor:
    """``K + U + P V + W/6 tr(v²)`` and the energies of both chains."""
    cell_chain, chain = method.parts[0][1], method.parts[1][1]
    assert isinstance(cell_chain, CellChain)
    assert isinstance(chain, NoseHooverChain)
    assert state.energy is not None
    total = state.energy + state.kinetic_energy() + P * state.system.volume() + chain.energy(state)
    return total + cell_chain.piston.kinetic_energy(state) + cell_chain.energy(state)


@pytest.mark.parametrize("shape", [False, True])
def test_conserved_energies_to_second_order(shape: bool) -> None:
    method = argon_method(shape)
    state = ForceField(ARGON, virial=True)(argon())
    assert state.energy is not None
    errors, counted = [], []
    for dt in (5.0, 2.5):
        final = run(method, state, dt, round(100 / dt))
        assert final.energy is not None
        errors.append((conserved(method, final) - conserved(method, state)).numpy())
        kept = final.energy + final.kinetic_energy() - final.heat - state.energy - state.kinetic_energy()
        counted.append(kept.numpy())
        assert float((final.system.volume() / state.system.volume() - 1).abs().min()) > 0.001
    assert np.abs(errors[1]).max() < 1e-4
    np.testing.assert_allclose(errors[0] / errors[1], 4, rtol=0.25)
    assert np.abs(counted[1]).max() < 1e-4
    np.testing.assert_allclose(counted[0] / counted[1], 4, rtol=0.25)


@pytest.mark.parametrize("shape", [False, True])
def test_reversible(shape: bool) -> None:
    method, state = argon_method(shape), argon()
    there = run(method, state, 4.0, 12)
    assert there.chain is not None
    assert there.cell_chain is not None
    assert there.cell_velocity is not None
    signs = torch.tensor([1.0, -1.0]).double()
    turned = replace(
        there,
        momenta=-there.momenta,
        chain=there.chain * signs,
        cell_chain=there.cell_chain * signs,
        cell_velocity=-there.cell_velocity,
    )
    back = run(method, turned, 4.0, 12)
    torch.testing.assert_close(back.system.positions, state.system.positions, atol=1e-9, rtol=0)
    torch.testing.assert_close(back.system.cell, state.system.cell, atol=1e-9, rtol=0)
    assert float((there.system.cell - state.system.cell).abs().max()) > 0.01


def test_equations_of_motion() -> None:
    """The isotropic equations with one link in each chain, integrated by an ODE solver, without a virial to compute."""
    box = ElasticCell(FCC, bulk_modulus=0.01)
    state = replace(sample(box, 1, 2, T, P)[0], cell_velocity=torch.zeros(1, 3, 3).double())
    degrees, cell_mass = 3, (3 + 3) * KT * CELL_TAU**2
    masses = (degrees * KT * TAU**2, KT * CELL_TAU**2)

    def rates(_: float, y: np.ndarray) -> list[float]:
        logarithm, velocity, twice_kinetic, link, cell_link = y  # ln L, its velocity, 2 K, velocities of the links
        volume = box.volume * np.exp(3 * logarithm)
        virial = -3 * box.volume * box.bulk_modulus * 3 * logarithm
        force = twice_kinetic + virial - 3 * P * volume + 3 / degrees * twice_kinetic
        return [
            velocity,
            force / cell_mass - cell_link * velocity,
            -2 * (link + (1 + 3 / degrees) * velocity) * twice_kinetic,
            (twice_kinetic - degrees * KT) / masses[0],
            (cell_mass * velocity**2 - KT) / masses[1],
        ]

    logarithm = float((state.system.volume() / box.volume).log()) / 3
    initial = [logarithm, 0.0, 2 * float(state.kinetic_energy()), 0.0, 0.0]
    solution = solve_ivp(rates, (0, 40), initial, rtol=1e-10, atol=1e-13).y[:, -1]
    method = martyna_tobias_klein(box, T, P, time_constant=TAU, cell_time_constant=CELL_TAU, links=1)
    errors = []
    for dt in (1.0, 0.5):
        final = run(method, state, dt, round(40 / dt))
        assert final.cell_velocity is not None
        found = [float((final.system.volume() / box.volume).log()) / 3, float(final.cell_velocity[0, 0, 0])]
        errors.append(np.abs(np.array([*found, 2 * float(final.kinetic_energy())]) - solution[:3]))
    assert errors[1].max() < 2e-4
    np.testing.assert_allclose(errors[0] / errors[1], 4, rtol=0.2)


@pytest.mark.parametrize(("shape", "drift"), [(False, False), (False, True), (True, False)])
def test_exact_samples_stay_exact(shape: bool, drift: bool) -> None:
    """Systems, cells and chains that are drawn from their distribution are so ever after, as others."""
    box = ElasticCell(FCC, bulk_modulus=0.05, shear_modulus=0.05 if shape else 0.0)
    atoms, systems = 3, 1000
    state, before, law = sample(box, systems, atoms, T, P, drift=drift, shape=shape, seed=3)
    noise = torch.Generator().manual_seed(4)
    method = martyna_tobias_klein(
        box, T, P, time_constant=TAU, cell_time_constant=CELL_TAU, shape=shape, generator=noise
    )
    piston = method.parts[0][1].piston
    degrees = 3 * atoms - (0 if drift else 3)
    energies = [torch.tensor([f * KT, KT, KT]).double() for f in (degrees, 6 if shape else 1)]

    def draw() -> torch.Tensor:
        return torch.randn(systems, 3, generator=noise, dtype=torch.float64)

    chains = [
        torch.stack([torch.zeros(systems, 3), draw() * (KT / (energy * tau**2)).sqrt()], 2)
        for energy, tau in zip(energies, (TAU, CELL_TAU), strict=True)
    ]
    final = run(method, replace(state, chain=chains[0], cell_chain=chains[1]), 1.5, 40)
    volumes = final.system.volume().numpy()
    assert stats.kstest(volumes, law).pvalue > 0.01
    assert stats.kstest(final.kinetic_energy().numpy(), stats.gamma(degrees / 2, scale=KT).cdf).pvalue > 0.01
    assert abs(np.corrcoef(volumes, before)[0, 1]) < 0.95
    cell = 2 * piston.kinetic_energy(final).numpy() / KT
    assert stats.kstest(cell, stats.chi2(6 if shape else 1).cdf).pvalue > 0.01


def test_triclinic_cells_keep_their_orientation_and_zero_steps_everything() -> None:
    state, method = argon(2), argon_method(shape=True)
    final = method(state, torch.tensor([0.0, 4.0]).double())
    half = state.system.n_atoms // 2
    assert torch.equal(final.system.cell[0], state.system.cell[0])
    assert torch.equal(final.system.positions[:half], state.system.positions[:half])
    assert torch.equal(final.momenta[:half], state.momenta[:half])
    final = run(method, final, 4.0, 20)
    frames = [
        torch.linalg.solve(torch.linalg.cholesky(cells @ cells.mT), cells)
        for cells in (state.system.cell, final.system.cell)
    ]
    torch.testing.assert_close(frames[1], frames[0], atol=1e-12, rtol=0)


@pytest.mark.parametrize("shape", [False, True])
def test_single_precision(shape: bool) -> None:
    state = argon(2)
    single = start(state.system.to(dtype=torch.float32), 60.0, generator=torch.Generator().manual_seed(1))
    single = replace(single, momenta=state.momenta.float(), cell_velocity=state.cell_velocity)
    double, found = (run(argon_method(shape), each, 2.0, 3) for each in (state, single))
    assert found.system.cell.dtype == found.momenta.dtype == torch.float32
    torch.testing.assert_close(found.system.cell.double(), double.system.cell, atol=1e-5, rtol=0)


def test_refuses_what_has_no_pressure() -> None:
    state = argon(1)
    with pytest.raises(SimkitError, match="virial=True"):
        run(martyna_tobias_klein(ForceField(ARGON), T, P, time_constant=1.0, cell_time_constant=1.0), state, 1.0, 1)
    molecule = replace(state, system=replace(state.system, pbc=torch.zeros(1, 3, dtype=torch.bool)))
    with pytest.raises(SimkitError, match="periodic along all three axes"):
        run(argon_method(shape=False), molecule, 1.0, 1)
    with pytest.raises(SimkitError, match="at least one link"):
        martyna_tobias_klein(ForceField(ARGON), T, P, time_constant=1.0, cell_time_constant=1.0, links=0)
