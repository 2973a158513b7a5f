"""Stochastic cell rescaling against exact distributions of volumes and shapes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from ase.build import bulk
from scipy import stats

from simkit.dynamics import ForceField, MDState, start
from simkit.dynamics.bussi import StochasticRescaling
from simkit.dynamics.cell_rescaling import cell_rescaling
from simkit.dynamics.force_field import Forces
from simkit.dynamics.langevin import OrnsteinUhlenbeck
from simkit.dynamics.settings import Setting, setting
from simkit.errors import SimkitError
from simkit.flows import Flow, Splitting
from simkit.potentials.lennard_jones import LennardJones
from simkit.system import System
from simkit.units import BOLTZMANN
from tests.dynamics.elastic_cells import ElasticCell, gas, sample
from tests.dynamics.ensemble_checks import assert_slope

T = 300.0
KT = BOLTZMANN * T
FCC = 3.0 * torch.tensor([[0.0, 1.0, 1.0], [1.0, 0.0, 1.0], [1.0, 1.0, 0.0]], dtype=torch.float64)
ARGON = LennardJones(epsilon=0.0104, sigma=3.4, cutoff=5.0)


def langevin(generator: torch.Generator, *, drift: bool = False, friction: float = 0.02) -> OrnsteinUhlenbeck:
    return OrnsteinUhlenbeck(setting(T, "temperature"), setting(friction, "friction"), generator, drift)


def rescaling(
    forces: Forces,
    pressure: Setting,
    compressibility: float,
    *,
    drift: bool = False,
    shape: bool = False,
    seed: int = 1,
) -> Splitting:
    generator = torch.Generator().manual_seed(seed)
    return cell_rescaling(
        forces,
        langevin(generator, drift=drift),
        T,
        pressure,
        time_constant=50.0,
        compressibility=compressibility,
        shape=shape,
        generator=generator,
    )


def run(method: Flow, state: MDState, dt: float, steps: int) -> MDState:
    for _ in range(steps):
        state = method(state, torch.full((state.n_systems,), dt).double())
    return state


@pytest.mark.parametrize("drift", [False, True])
def test_volumes_of_an_ideal_gas(drift: bool) -> None:
    """``P V = N k T``, and ``(N + 1) k T`` if the centre of mass moves too; for three atoms a quarter more."""
    box, atoms = ElasticCell(FCC), 3
    pressure = atoms * KT / box.volume
    state, before, law = sample(box, 1200, atoms, T, pressure, drift=drift)
    final = run(rescaling(box, pressure, 1 / pressure, drift=drift), state, 1.0, 50)
    volumes = final.system.volume().numpy()
    assert stats.kstest(volumes, law).pvalue > 0.01
    assert volumes.mean() * pressure == pytest.approx((atoms + drift) * KT, rel=0.06)
    assert abs(np.corrcoef(volumes, before)[0, 1]) < 0.6
    degrees = 3 * atoms - (0 if drift else 3)
    assert stats.kstest(final.kinetic_energy().numpy(), stats.gamma(degrees / 2, scale=KT).cdf).pvalue > 0.01


def test_volumes_at_two_pressures() -> None:
    """Ratio of histograms ``∝ exp(-ΔP V/k_B T)``, from relaxed cells that start at the wrong volume."""
    box = ElasticCell(FCC, bulk_modulus=0.05)
    pressures = torch.tensor([0.0, 0.004]).double().repeat(600)
    state = start(gas(FCC, 1200, 4), T, generator=torch.Generator().manual_seed(1))
    final = run(rescaling(box, pressures, 1 / 0.05), state, 2.0, 100)
    volumes = final.system.volume().numpy()
    assert_slope(volumes[0::2], volumes[1::2], -0.004 / KT, relative_error=0.1)


def test_shapes_of_an_elastic_cell() -> None:
    """``β V₀ μ |ε|²`` of the five strains at constant volume is half of a χ² of five degrees of freedom."""
    box = ElasticCell(FCC, bulk_modulus=0.5, shear_modulus=0.5)
    state, _, law = sample(box, 800, 4, T, 0.01, shape=True)
    start_strain = box.strain(state.system.cell)[1]
    final = run(rescaling(box, 0.01, 2.0, shape=True), state, 1.0, 40)
    strain = box.strain(final.system.cell)[1]
    squares = 2 * box.volume * box.shear_modulus / KT * strain.square().sum((1, 2)).numpy()
    assert stats.kstest(squares, stats.chi2(5).cdf).pvalue > 0.01
    assert stats.kstest(final.system.volume().numpy(), law).pvalue > 0.01
    assert abs(np.corrcoef(strain[:, 0, 1], start_strain[:, 0, 1])[0, 1]) < 0.75
    assert strain[:, 0, 1].std() == pytest.approx((KT / (4 * box.volume * box.shear_modulus)) ** 0.5, rel=0.1)


def argon(systems: int = 6) -> MDState:
    atoms = bulk("Ar", "fcc", a=5.3) * (2, 1, 1)
    state = start(System.from_ase([atoms] * systems), 30.0, generator=torch.Generator().manual_seed(1))
    return ForceField(ARGON, virial=True)(state)


def argon_method(shape: bool, seed: int = 2) -> Splitting:
    generator = torch.Generator().manual_seed(seed)
    bath = StochasticRescaling(setting(30.0, "temperature"), setting(50.0, "time constant"), generator)
    return cell_rescaling(
        ForceField(ARGON, virial=True),
        bath,
        30.0,
        0.002,
        time_constant=300.0,
        compressibility=50.0,
        shape=shape,
        generator=generator,
    )


def effective_energy(state: MDState) -> torch.Tensor:
    assert state.energy is not None
    return state.energy + state.kinetic_energy() - state.heat


@pytest.mark.parametrize("shape", [False, True])
def test_effective_energy_is_conserved_as_the_time_step_vanishes(shape: bool) -> None:
    errors = []
    for dt in (10.0, 2.5):
        state = argon()
        final = run(argon_method(shape), state, dt, round(100 / dt))
        errors.append(float((effective_energy(final) - effective_energy(state)).square().mean().sqrt()))
        assert float(final.heat.square().mean().sqrt()) > 20 * errors[-1]
    assert errors[0] > 2.5 * errors[1]


def test_triclinic_cells_keep_their_orientation() -> None:
    state = argon()
    final = run(argon_method(shape=True), state, 5.0, 20)

    def frame(cells: torch.Tensor) -> torch.Tensor:
        return torch.linalg.solve(torch.linalg.cholesky(cells @ cells.mT), cells)

    torch.testing.assert_close(frame(final.system.cell), frame(state.system.cell), atol=1e-12, rtol=0)
    changed = final.system.cell @ final.system.cell.mT - state.system.cell @ state.system.cell.mT
    assert float(changed.abs().mean()) > 0.05


@pytest.mark.parametrize("shape", [False, True])
def test_each_system_has_its_own_time_step_and_the_seed_its_own_run(shape: bool) -> None:
    state = argon(2)
    runs = [argon_method(shape, seed)(state, torch.tensor([0.0, 2.0]).double()) for seed in (1, 1, 2)]
    half = state.system.n_atoms // 2
    assert torch.equal(runs[0].system.cell[0], state.system.cell[0])
    assert torch.equal(runs[0].system.positions[:half], state.system.positions[:half])
    assert torch.equal(runs[0].momenta[:half], state.momenta[:half])
    assert float(runs[0].heat[0]) == 0
    assert torch.equal(runs[0].system.positions, runs[1].system.positions)
    assert not torch.equal(runs[0].system.cell[1], runs[2].system.cell[1])
    assert runs[0].time.tolist() == [0.0, 2.0]


@pytest.mark.parametrize("shape", [False, True])
def test_single_precision(shape: bool) -> None:
    state = argon(2)
    single = start(state.system.to(dtype=torch.float32), 30.0, generator=torch.Generator().manual_seed(1))
    single = replace(single, momenta=state.momenta.float())
    double, found = (run(argon_method(shape), each, 2.0, 3) for each in (state, single))
    assert found.system.cell.dtype == found.momenta.dtype == torch.float32
    torch.testing.assert_close(found.system.cell.double(), double.system.cell, atol=1e-5, rtol=0)


def test_one_evaluation_per_step() -> None:
    forces = ForceField(ARGON, virial=True)
    run(rescaling(forces, 0.0, 50.0), argon(2), 2.0, 10)
    assert forces.evaluations == 10


def test_only_bulk_without_fixed_atoms() -> None:
    state, method = argon(2), argon_method(shape=False)
    slab = replace(state, system=replace(state.system, pbc=torch.tensor([[True, True, True], [True, True, False]])))
    with pytest.raises(SimkitError, match=r"periodic along all three axes.*systems \[1\]"):
        run(method, slab, 1.0, 1)
    fixed = torch.zeros(state.system.n_atoms, dtype=torch.bool)
    fixed[-1] = True
    with pytest.raises(SimkitError, match=r"fixed atoms in systems \[1\]"):
        run(method, replace(state, system=replace(state.system, fixed=fixed)), 1.0, 1)
    with pytest.raises(SimkitError, match="compressibility in Å³/eV above 0"):
        rescaling(ForceField(ARGON, virial=True), 0.0, 0.0)
