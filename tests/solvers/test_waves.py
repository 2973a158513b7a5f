"""The wave equation with fixed and free ends: images beside the equation itself, leapfrog beside images."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from simkit.errors import SimkitError
from simkit.flows import integrate
from simkit.solvers.waves import ReflectedPulse, WaveEnd, WaveEquation, WaveState, leapfrog

FIXED, FREE = WaveEnd.FIXED, WaveEnd.FREE
FOUR = [(FIXED, FIXED), (FREE, FREE), (FIXED, FREE), (FREE, FIXED)]


def four_kinds(rightwards: float = 0.5) -> ReflectedPulse:
    """A pulse that is the same between all kinds of ends, one system each."""
    left, right = torch.tensor(FOUR, dtype=torch.float64).T
    wave = WaveEquation(torch.full((4,), 2.0), left, right)
    return ReflectedPulse(wave, torch.full((4,), 0.5), torch.full((4,), 1.0), rightwards)


def test_images_start_as_the_pulse() -> None:
    pulse = four_kinds()
    x = pulse.equation.points(81)
    state = pulse.state(x)
    assert torch.allclose(state.values, torch.exp(-((x - 0.5) ** 2)).expand(4, -1), atol=1e-13)
    assert float(state.rates.abs().max()) < 1e-13
    moving = four_kinds(1.0).state(x)
    assert torch.allclose(moving.rates, (4 * (x - 0.5) * torch.exp(-((x - 0.5) ** 2))).expand(4, -1), atol=1e-13)


@pytest.mark.parametrize("rightwards", [0.0, 0.5, 1.0])
def test_images_obey_the_equation_and_the_ends(rightwards: float) -> None:
    """By automatic differentiation in place and time, long after the start."""
    pulse = four_kinds(rightwards)
    for time in (3.7, 41.3, 99.0):
        x, t = pulse.equation.points(33).requires_grad_(), torch.full((4,), time, requires_grad=True)
        u = pulse.values(x, t)
        for system, (left, right) in enumerate(FOUR):
            first = torch.autograd.grad(u[system].sum(), x, create_graph=True)[0]
            second = torch.autograd.grad(first.sum(), x, retain_graph=True)[0]
            for point in (0, 7, 16, 32):
                rate = torch.autograd.grad(u[system, point], t, create_graph=True)[0]
                assert torch.allclose(rate, pulse.rates(x, t)[:, point] * torch.eye(4)[system], atol=1e-12)
                twice = torch.autograd.grad(rate[system], t, retain_graph=True)[0]
                assert float(twice[system]) == pytest.approx(4 * float(second[point]), abs=1e-11)
            for end, point in ((left, 0), (right, 32)):
                vanishing = u[system, point] if end is FIXED else first[point]
                assert abs(vanishing.item()) < 1e-12


def test_pulses_come_back() -> None:
    """After one length both halves have been reflected once and meet at the mirror image; after two they are back."""
    pulse = four_kinds()
    x = pulse.equation.points(65)
    first = torch.exp(-((x - 0.5) ** 2))
    signs = pulse.equation.left * pulse.equation.right
    back = pulse.values(x, torch.full((4,), 16.0))
    assert torch.allclose(back, signs[:, None] * first, atol=1e-12)
    mirrored = pulse.values(x, torch.full((4,), 8.0))
    same = pulse.equation.left == pulse.equation.right
    expected = pulse.equation.left[:, None] * torch.exp(-((x + 0.5) ** 2))
    assert torch.allclose(mirrored, torch.where(same[:, None], expected, torch.zeros(65)), atol=1e-12)


def test_leapfrog_converges_to_the_images_in_second_order() -> None:
    """For all four kinds of ends in one batch, after two reflections."""
    pulse, errors = four_kinds(), []
    for number in (201, 401):
        x, steps = pulse.equation.points(number), 3 * (number - 1)
        found = integrate(leapfrog(pulse.equation), pulse.state(x), 12.0 / steps, steps)
        assert found.finished
        exact = pulse.values(x, torch.full((4,), 12.0))
        errors.append((found.state.values - exact).abs().amax(1))
    assert float(errors[-1].max()) < 1e-2
    assert torch.allclose(torch.log2(errors[0] / errors[1]), torch.full((4,), 2.0), atol=0.05)


def test_leapfrog_is_exact_at_its_largest_step() -> None:
    """``c dt = h`` moves what starts at rest by one point in each step."""
    pulse = four_kinds()
    x = pulse.equation.points(129)
    dt = pulse.equation.largest_step(129)
    start = pulse.state(x)
    # of the two pictures of the method, u at t and t + dt is the one whose rates are differences
    u = [pulse.values(x, k * dt) for k in (0, 1)]
    staggered = WaveState((u[0] + u[1]) / 2, (u[1] - u[0]) / dt[:, None], start.time + dt / 2)
    result = integrate(leapfrog(pulse.equation), staggered, dt, 300)
    ends = [pulse.values(x, (300 + k) * dt) for k in (0, 1)]
    assert torch.allclose(result.state.values, (ends[0] + ends[1]) / 2, atol=1e-10)


def test_leapfrog_keeps_energy_and_runs_backwards() -> None:
    pulse = four_kinds(1.0)
    x, flow = pulse.equation.points(201), leapfrog(pulse.equation)
    start = pulse.state(x)
    dt = 0.5 * pulse.equation.largest_step(201)
    energies = []
    state = start
    for _ in range(800):
        state = flow(state, dt)
        energies.append(pulse.equation.energy(state))
    exact = 2 * 2.0**2 * math.sqrt(math.pi / 2) / 2
    assert torch.allclose(pulse.equation.energy(start), torch.full((4,), exact), rtol=1e-2)
    late, early = torch.stack(energies[-200:]).mean(0), torch.stack(energies[:200]).mean(0)
    assert torch.allclose(late, early, rtol=1e-4)
    for _ in range(800):
        state = flow(state, -dt)
    assert torch.allclose(state.values, start.values, atol=1e-10)


def test_fixed_ends_keep_their_values() -> None:
    """Also such that are not zero: a string that is straight between them stays so."""
    wave = WaveEquation.of(1, 2.0, FIXED, FIXED)
    line = wave.points(41)[None] / 8 + 2
    state = integrate(leapfrog(wave), WaveState(line, torch.zeros(1, 41), torch.zeros(1)), 0.1, 200).state
    assert torch.allclose(state.values, line, atol=1e-11)


def test_each_system_is_on_its_own_and_a_step_of_zero_changes_nothing() -> None:
    pulse = four_kinds()
    start = pulse.state(pulse.equation.points(81))
    dt = torch.tensor([0.0, 0.1, 0.0, 0.05])
    after = leapfrog(pulse.equation)(start, dt)
    assert torch.equal(after.values[dt == 0], start.values[dt == 0])
    assert not torch.isclose(after.values[dt > 0], start.values[dt > 0]).all(1).any()
    alone = WaveEquation.of(1, 2.0, FREE, FREE)
    one = leapfrog(alone)(WaveState(start.values[1:2], start.rates[1:2], start.time[1:2]), dt[1:2])
    assert torch.equal(one.values[0], after.values[1])
    assert torch.equal(after.time, dt)


def test_too_long_steps_are_told() -> None:
    pulse = four_kinds()
    dt = torch.tensor([0.5, 0.5, 3.0, 0.5]) * pulse.equation.largest_step(81)
    result = integrate(leapfrog(pulse.equation), pulse.state(pulse.equation.points(81)), dt, 400)
    assert [outcome.status.stopped for outcome in result.outcomes] == [False, False, True, False]


def test_gradients() -> None:
    """By the speed and the position of a pulse, through the method."""

    def end(speed: Tensor, position: Tensor) -> Tensor:
        wave = WaveEquation(speed, torch.tensor([-1.0]), torch.tensor([1.0]))
        state = ReflectedPulse(wave, position, torch.tensor([2.0])).state(wave.points(9))
        for _ in range(3):
            state = leapfrog(wave)(state, torch.tensor([0.3]))
        return state.values

    speed, position = torch.tensor([2.0], requires_grad=True), torch.tensor([0.3], requires_grad=True)
    assert torch.autograd.gradcheck(end, (speed, position))


def test_bad_input() -> None:
    one = torch.ones(1)
    with pytest.raises(SimkitError, match="-1 for fixed and 1 for free ends at the right"):
        WaveEquation(one, one, 0 * one)
    with pytest.raises(SimkitError, match="expected positive speeds"):
        WaveEquation(-one, one, one)
    with pytest.raises(SimkitError, match="start < end"):
        WaveEquation(one, one, one, 1.0, -1.0)
    with pytest.raises(SimkitError, match="at least three points"):
        WaveEquation(one, one, one).points(2)
    with pytest.raises(SimkitError, match="pulses of positive width between -8 and 8"):
        ReflectedPulse(WaveEquation(one, one, one), 9 * one, one)
