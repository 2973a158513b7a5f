"""Langevin dynamics: the Ornstein-Uhlenbeck process is exact, and positions of oscillators are at any step."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

from simkit.dynamics.langevin import OrnsteinUhlenbeck, langevin
from simkit.dynamics.state import MDState, start
from simkit.units import BOLTZMANN
from tests.dynamics.ensemble_checks import assert_slope
from tests.dynamics.models import Springs, oscillators

FREQUENCY = 0.05  # 1/fs
TEMPERATURES = (300.0, 360.0)


def bath(temperature: float, friction: float, drift: bool = True) -> OrnsteinUhlenbeck:
    generator = torch.Generator().manual_seed(3)
    return OrnsteinUhlenbeck(torch.tensor(temperature), torch.tensor(friction), generator, drift)


def springs(state: MDState) -> Springs:
    return Springs(float(state.masses[0]) * FREQUENCY**2)


def test_transition_of_the_process() -> None:
    state = start(oscillators(1, 20_000), 100.0, drift=True)
    state = replace(state, momenta=torch.full_like(state.momenta, 2.0))
    after = bath(300.0, 0.02)(state, torch.tensor([30.0]))
    decay = np.exp(-0.6)
    width = np.sqrt((1 - decay**2) * float(state.masses[0]) * BOLTZMANN * 300)
    assert stats.kstest(after.momenta.flatten(), stats.norm(2 * decay, width).cdf).pvalue > 0.01
    torch.testing.assert_close(after.heat, after.kinetic_energy() - state.kinetic_energy())


def test_two_half_steps_are_one_step() -> None:
    state = start(oscillators(1, 50_000), 100.0, drift=True)
    flow = bath(300.0, 0.02)
    half = torch.tensor([15.0])
    twice, once = flow(flow(state, half), half), flow(state, 2 * half)
    for after in (twice, once):
        decay = float((after.momenta * state.momenta).mean() / state.momenta.square().mean())
        assert decay == pytest.approx(np.exp(-0.6), abs=0.01)
    assert float(twice.kinetic_energy() / once.kinetic_energy()) == pytest.approx(1, abs=0.015)


@pytest.mark.parametrize("drift", [False, True])
def test_equipartition_with_and_without_drift(drift: bool) -> None:
    state = start(oscillators(4000, 3), 100.0, drift=drift)
    assert state.degrees_of_freedom[0] == (9 if drift else 6)
    after = bath(300.0, 1.0, drift)(state, torch.full((4000,), 20.0))
    assert float(after.temperature().mean()) == pytest.approx(300, rel=4 * np.sqrt(2 / 9 / 4000))
    centre = after.sum_over_atoms(after.momenta).square().sum(1) / (2 * 3 * after.masses[0])
    if drift:
        assert float(centre.mean()) == pytest.approx(1.5 * BOLTZMANN * 300, rel=0.06)
    else:
        assert float(centre.max()) < 1e-25


def test_a_single_atom_and_fixed_atoms_keep_no_centre_at_rest() -> None:
    system = oscillators(2, 3)
    fixed = torch.tensor([True, False, False, False, False, False])
    state = start(replace(system, fixed=fixed), 300.0)
    assert state.degrees_of_freedom.tolist() == [6, 6]
    after = bath(300.0, 1.0, drift=False)(state, torch.full((2,), 5.0))
    total = after.sum_over_atoms(after.momenta).norm(dim=1)
    assert float(total[0]) > 0.1
    assert float(total[1]) < 1e-12
    assert float(after.momenta[0].abs().max()) == 0
    alone = bath(300.0, 1.0, drift=False)(start(oscillators(1, 1), 0.0), torch.tensor([5.0]))
    assert float(alone.momenta.norm()) > 0.1


def test_positions_of_oscillators_are_exact_at_large_steps() -> None:
    """At ω dt = 1/2 positions have no error, and momenta are colder by (ω dt)²/4, as theory says."""
    state = start(oscillators(2, 4000), TEMPERATURES, generator=torch.Generator().manual_seed(1), drift=True)
    forces = springs(state)
    flow = langevin(forces, TEMPERATURES, 0.1, torch.Generator().manual_seed(2), drift=True)
    dt = torch.full((2,), 0.5 / FREQUENCY)
    potential, kinetic = [], []
    for step in range(190):
        state = flow(state, dt)
        if step >= 30 and step % 4 == 0:
            potential.append(state.energy)
            kinetic.append(state.kinetic_energy())
    exact = 1.5 * 4000 * BOLTZMANN * torch.tensor(TEMPERATURES)
    error = np.sqrt(2 / (3 * 4000 * len(potential)))  # of independent samples
    ratio = torch.stack(potential).mean(0) / exact
    np.testing.assert_allclose(ratio, 1, atol=5 * error)
    np.testing.assert_allclose(torch.stack(kinetic).mean(0) / exact, 1 - 0.5**2 / 4, atol=5 * error)


def test_energies_of_oscillators_at_two_temperatures() -> None:
    temperatures = torch.tensor(TEMPERATURES).repeat(300)
    state = start(oscillators(600, 4), temperatures, generator=torch.Generator().manual_seed(1), drift=True)
    flow = langevin(springs(state), temperatures, 0.1, torch.Generator().manual_seed(2), drift=True)
    dt = torch.full((600,), 0.5 / FREQUENCY)
    energies = []
    for step in range(320):
        state = flow(state, dt)
        if step >= 20 and step % 10 == 0:
            energies.append(state.energy)
    samples = torch.stack(energies)
    low, high = TEMPERATURES
    assert_slope(samples[:, ::2], samples[:, 1::2], 1 / (BOLTZMANN * low) - 1 / (BOLTZMANN * high))


def test_friction_alone() -> None:
    state = start(oscillators(1, 5), 300.0, drift=True)
    flow = langevin(Springs(0.0), 0.0, 0.02, drift=True)
    after = state
    for _ in range(10):
        after = flow(after, torch.tensor([3.0]))
    torch.testing.assert_close(after.momenta, np.exp(-0.6) * state.momenta)
    torch.testing.assert_close(after.heat, after.kinetic_energy() - state.kinetic_energy())
