"""Multiple time steps over the sum of a stiff and a soft potential."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from simkit.dynamics.force_field import ForceField
from simkit.dynamics.langevin import langevin
from simkit.dynamics.multiple_time_step import FastAndSlow, multiple_time_step
from simkit.dynamics.state import MDState, start
from simkit.dynamics.verlet import velocity_verlet
from simkit.errors import SimkitError
from simkit.flows import Flow, yoshida4
from simkit.potentials.lennard_jones import LennardJones
from simkit.potentials.sum import Sum
from tests.dynamics.models import EPSILON, Springs, crystals, oscillators

FAST = LennardJones(epsilon=EPSILON, sigma=3.4, cutoff=5.0)
SLOW = LennardJones(epsilon=0.2 * EPSILON, sigma=3.6, cutoff=6.0)


def argon(systems: int = 1) -> MDState:
    return start(crystals(systems), 40.0, generator=torch.Generator().manual_seed(1))


def after(flow: Flow, state: MDState, dt: float, time: float) -> MDState:
    for _ in range(round(time / dt)):
        state = flow(state, torch.full((state.n_systems,), dt))
    return state


def test_one_inner_step_is_verlet() -> None:
    respa = after(multiple_time_step(ForceField(FAST), ForceField(SLOW), 1), argon(), 4.0, 80.0)
    verlet = after(velocity_verlet(ForceField(Sum(FAST, SLOW))), argon(), 4.0, 80.0)
    torch.testing.assert_close(respa.system.positions, verlet.system.positions, atol=1e-11, rtol=0)
    torch.testing.assert_close(respa.energy, verlet.energy)
    torch.testing.assert_close(respa.forces, verlet.forces)
    torch.testing.assert_close(respa.time, torch.tensor([80.0]))


@pytest.mark.parametrize("virial", [False, True])
def test_evaluations(virial: bool) -> None:
    fast, slow = ForceField(FAST, virial=virial), ForceField(SLOW, virial=virial)
    final = after(multiple_time_step(fast, slow, 4), argon(), 4.0, 40.0)
    assert (fast.evaluations, slow.evaluations) == (41, 11)
    if virial:
        whole = ForceField(Sum(FAST, SLOW), virial=True)(final.moved(final.system.positions))
        torch.testing.assert_close(final.virial, whole.virial)


def test_order() -> None:
    flow = multiple_time_step(ForceField(FAST), ForceField(SLOW), 3)
    exact = after(yoshida4(velocity_verlet(ForceField(Sum(FAST, SLOW)))), argon(), 2.0, 32.0)
    errors = [
        float((after(flow, argon(), dt, 32.0).system.positions - exact.system.positions).norm()) for dt in (16.0, 8.0)
    ]
    assert np.log2(errors[0] / errors[1]) == pytest.approx(2, abs=0.1)


def test_stiff_springs() -> None:
    """Inner steps carry springs that the long step alone could not: ω dt = 2.2 > 2, and a soft spring outside."""
    state = start(oscillators(3, 2), 300.0, generator=torch.Generator().manual_seed(1), drift=True)
    mass = float(state.masses[0])
    fast, slow = Springs(mass * 0.11**2), Springs(mass * 0.01**2)
    flow = multiple_time_step(fast, slow, 20)
    initial = state.kinetic_energy()
    energies = []
    for _ in range(30):
        state = flow(state, torch.full((3,), 20.0))
        assert state.energy is not None
        energies.append((state.energy + state.kinetic_energy()) / initial)
    assert float((torch.stack(energies) - 1).abs().max()) < 0.03
    single = after(velocity_verlet(fast), replace(state, slow_forces=None), 20.0, 400.0)
    assert float(single.kinetic_energy().min()) > 1e3


def test_a_system_without_step_stays() -> None:
    flow = multiple_time_step(ForceField(FAST), ForceField(SLOW), 2)
    state = argon(2)
    moved = flow(state, torch.tensor([0.0, 4.0]))
    torch.testing.assert_close(moved.system.positions[:8], state.system.positions[:8], atol=0, rtol=0)
    torch.testing.assert_close(moved.momenta[:8], state.momenta[:8], atol=0, rtol=0)
    assert float((moved.momenta[8:] - state.momenta[8:]).abs().max()) > 0


def test_thermostat_inside() -> None:
    state = start(oscillators(2000, 2), 10.0, drift=True)
    mass = float(state.masses[0])
    generator = torch.Generator().manual_seed(1)
    flow = multiple_time_step(
        Springs(mass * 0.05**2),
        Springs(mass * 0.01**2),
        4,
        lambda forces: langevin(forces, 300.0, 0.1, generator, drift=True),
    )
    final = after(flow, state, 20.0, 400.0)
    assert float(final.temperature().mean()) == pytest.approx(300, rel=0.03)


def test_cached_results_are_those_of_the_sum() -> None:
    both = FastAndSlow(ForceField(FAST), ForceField(SLOW))
    state = both(argon())
    whole = ForceField(Sum(FAST, SLOW))(argon())
    torch.testing.assert_close(state.energy, whole.energy)
    torch.testing.assert_close(state.forces, whole.forces)
    assert both(state) is state
    assert state.moved(state.system.positions).slow_forces is None


def test_no_inner_steps() -> None:
    with pytest.raises(SimkitError, match="at least once"):
        multiple_time_step(ForceField(FAST), ForceField(SLOW), 0)
