"""Nosé-Hoover chains: order, conservation and reversibility."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from simkit.dynamics.force_field import ForceField
from simkit.dynamics.nose_hoover import SUZUKI_YOSHIDA, NoseHooverChain, nose_hoover
from simkit.dynamics.state import MDState, start
from simkit.errors import SimkitError
from simkit.flows import Flow
from tests.dynamics.models import ARGON, Springs, crystals, oscillators


def hot() -> MDState:
    """Two systems of different size far from the temperature of the thermostat."""
    state = start(oscillators(2, 4), [600.0, 150.0], generator=torch.Generator().manual_seed(2))
    return replace(state, removed=torch.tensor([3, 5]))


def after(flow: Flow, state: MDState, dt: float, time: float) -> MDState:
    for _ in range(round(time / dt)):
        state = flow(state, torch.full((state.n_systems,), dt))
    return state


def chain(factorisation: int, links: int = 3) -> NoseHooverChain:
    return NoseHooverChain(torch.tensor(300.0), torch.tensor(20.0), links, factorisation)


@pytest.mark.parametrize(("factorisation", "order", "dt"), [(1, 2, 4.0), (3, 4, 2.0), (5, 4, 2.0), (7, 6, 4.0)])
def test_order_of_the_chain(factorisation: int, order: int, dt: float) -> None:
    flow = chain(factorisation)
    exact = after(chain(7), hot(), 0.5, 40.0)
    errors = [float((after(flow, hot(), step, 40.0).momenta - exact.momenta).norm()) for step in (dt, dt / 2)]
    assert np.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.35)


def test_the_chain_takes_what_it_gives() -> None:
    flow = chain(7)
    state = after(flow, hot(), 2.0, 60.0)
    assert bool((state.heat.abs() > 0.01).all())
    torch.testing.assert_close(state.heat, state.kinetic_energy() - hot().kinetic_energy())
    torch.testing.assert_close(flow.energy(state), -state.heat, rtol=0, atol=1e-6)


@pytest.mark.parametrize("factorisation", list(SUZUKI_YOSHIDA))
def test_fractions_add_up(factorisation: int) -> None:
    assert len(SUZUKI_YOSHIDA[factorisation]) == factorisation
    assert sum(SUZUKI_YOSHIDA[factorisation]) == pytest.approx(1, abs=1e-14)


def test_back_in_time() -> None:
    flow = nose_hoover(Springs(1.0), 300.0, 20.0)
    state = replace(hot(), system=replace(hot().system, positions=0.1 * torch.randn(8, 3)))
    there = after(flow, state, 2.0, 60.0)
    assert there.chain is not None
    back = replace(there, momenta=-there.momenta, chain=there.chain * torch.tensor([1.0, -1.0]))
    again = after(flow, back, 2.0, 60.0)
    torch.testing.assert_close(again.system.positions, state.system.positions, atol=1e-10, rtol=0)
    assert again.chain is not None
    assert float(again.chain.abs().max()) < 1e-9


def test_order_of_the_dynamics() -> None:
    state = start(crystals(1), 40.0, generator=torch.Generator().manual_seed(1))
    flow = nose_hoover(ForceField(ARGON), 60.0, 50.0)
    exact = after(flow, state, 1.0, 32.0)
    errors = [
        float((after(flow, state, dt, 32.0).system.positions - exact.system.positions).norm()) for dt in (8.0, 4.0)
    ]
    assert np.log2(errors[0] / errors[1]) == pytest.approx(2, abs=0.1)


def test_settings() -> None:
    with pytest.raises(SimkitError, match="1, 3, 5 or 7"):
        nose_hoover(Springs(1.0), 300.0, 20.0, factorisation=4)
    with pytest.raises(SimkitError, match="at least one link"):
        nose_hoover(Springs(1.0), 300.0, 20.0, links=0)
    with pytest.raises(SimkitError, match="temperature in K above 0, found 0"):
        nose_hoover(Springs(1.0), 0.0, 20.0)
    state = after(chain(3, links=2), hot(), 1.0, 1.0)
    with pytest.raises(SimkitError, match="chain of 3 links, found 2"):
        chain(3)(state, torch.ones(2))
