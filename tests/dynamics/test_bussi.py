"""Stochastic velocity rescaling: one step has the exact distribution of the process."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

from simkit.dynamics.bussi import StochasticRescaling
from simkit.dynamics.state import MDState, start
from simkit.system import concatenate
from simkit.units import BOLTZMANN
from tests.dynamics.models import oscillators

DECAY = np.exp(-0.5)
UNIT = (1 - DECAY) * BOLTZMANN * 300 / 2  # k of the equations


def rescaled(state: MDState, drift: bool = False, seed: int = 1) -> MDState:
    flow = StochasticRescaling(torch.tensor(300.0), torch.tensor(100.0), torch.Generator().manual_seed(seed), drift)
    return flow(state, torch.full((state.n_systems,), 50.0))


def alike(systems: int, atoms: int, temperature: float) -> MDState:
    """Systems with equal momenta."""
    state = start(oscillators(systems, atoms), 1.0)
    one = start(oscillators(1, atoms), temperature, generator=torch.Generator().manual_seed(5))
    return replace(state, momenta=one.momenta.repeat(systems, 1))


@pytest.mark.parametrize("atoms", [1, 2, 7])
@pytest.mark.parametrize("temperature", [30.0, 600.0])
def test_transition_of_the_kinetic_energy(atoms: int, temperature: float) -> None:
    """K'/k has the non-central chi-square distribution of f degrees of freedom around c K/k."""
    state = alike(4000, atoms, temperature)
    after = rescaled(state)
    degrees = int(state.degrees_of_freedom[0])
    assert degrees == (3 if atoms == 1 else 3 * atoms - 3)
    expected = stats.ncx2(degrees, DECAY * float(state.kinetic_energy()[0]) / UNIT)
    assert stats.kstest(after.kinetic_energy() / UNIT, expected.cdf).pvalue > 0.01
    torch.testing.assert_close(after.heat, after.kinetic_energy() - state.kinetic_energy())


def test_sign() -> None:
    """A single momentum obeys the Ornstein-Uhlenbeck process, which may turn its sign."""
    state = start(oscillators(4000, 1), 0.0)
    momenta = torch.zeros_like(state.momenta)
    momenta[:, 0] = 0.5 * (state.masses[0] * BOLTZMANN * 300).sqrt()
    after = rescaled(replace(state, momenta=momenta, removed=torch.full_like(state.removed, 2)))
    width = np.sqrt((1 - DECAY) * float(state.masses[0]) * BOLTZMANN * 300)
    expected = stats.norm(np.sqrt(DECAY) * float(momenta[0, 0]), width)
    assert 0.1 < expected.cdf(0) < 0.4
    assert stats.kstest(after.momenta[:, 0], expected.cdf).pvalue > 0.01


def test_systems_of_different_size_in_one_batch() -> None:
    """Every system is rescaled with its own degrees of freedom: the stationary mean is its own."""
    state = start(concatenate([oscillators(3000, 2), oscillators(3000, 5)]), 300.0)
    degrees = state.degrees_of_freedom
    for seed in range(3):
        state = rescaled(state, seed=seed)
    ratio = state.kinetic_energy() / (0.5 * degrees * BOLTZMANN * 300)
    for kind, count in enumerate((3, 12)):
        part = ratio[3000 * kind : 3000 * (kind + 1)]
        assert float(part.mean()) == pytest.approx(1, abs=4 * np.sqrt(2 / count / 3000))


def test_directions_stay() -> None:
    state = start(oscillators(1, 5), 300.0)
    after = rescaled(state)
    factor = after.momenta / state.momenta
    torch.testing.assert_close(factor, factor[:1, :1].expand(5, 3))


def test_motion_of_the_centre_is_stopped() -> None:
    state = start(oscillators(1, 5), 300.0)
    moving = replace(state, momenta=state.momenta + 0.1)
    assert float(rescaled(moving).momenta.sum(0).norm()) < 1e-12
    assert float(rescaled(moving, drift=True).momenta.sum(0).norm()) > 0.1
    torch.testing.assert_close(rescaled(moving).kinetic_energy(), rescaled(state).kinetic_energy())
    torch.testing.assert_close(rescaled(moving).heat, rescaled(moving).kinetic_energy() - moving.kinetic_energy())


def test_systems_at_rest_stay_so() -> None:
    state = start(oscillators(2, 5), [0.0, 300.0])
    after = rescaled(state)
    assert float(after.kinetic_energy()[0]) == 0
    assert float(after.kinetic_energy()[1]) > 0
    assert bool(torch.isfinite(after.heat).all())
