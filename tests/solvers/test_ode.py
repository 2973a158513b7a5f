"""Runge-Kutta methods: order conditions, orders, tolerances, systems that step on their own, gradients."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from torch import Tensor

from simkit.errors import SimkitError
from simkit.flows import integrate
from simkit.solvers.ode import (
    BOGACKI_SHAMPINE,
    DORMAND_PRINCE,
    EULER,
    HEUN,
    RK4,
    SSPRK3,
    TSITOURAS,
    AdaptiveRungeKutta,
    AdaptiveState,
    OdeState,
    RungeKutta,
    Tableau,
)

ALL = [EULER, HEUN, SSPRK3, RK4, BOGACKI_SHAMPINE, DORMAND_PRINCE, TSITOURAS]
EMBEDDED = [BOGACKI_SHAMPINE, DORMAND_PRINCE, TSITOURAS]


def named(tableau: Tableau) -> str:
    return tableau.name


def logistic(values: Tensor, time: Tensor) -> Tensor:
    """``u' = u (1 - u) cos t``; the solution is known."""
    return values * (1 - values) * torch.cos(time)[:, None]


def solution(first: Tensor, time: float) -> Tensor:
    ratio = first / (1 - first) * math.exp(math.sin(time))
    return ratio / (1 + ratio)


def van_der_pol(values: Tensor, time: Tensor) -> Tensor:
    x, v = values.unbind(1)
    return torch.stack([v, 3 * (1 - x**2) * v - x], 1)


@pytest.mark.parametrize("tableau", ALL, ids=named)
def test_order_conditions(tableau: Tableau) -> None:
    """Of trees of up to four nodes, and quadrature up to the order."""
    n = len(tableau.b)
    a = np.array([[*row, *[0.0] * (n - len(row))] for row in tableau.a])
    b, c = np.array(tableau.b), np.array(tableau.c)
    for k in range(tableau.order):
        assert b @ c**k == pytest.approx(1 / (k + 1), abs=1e-12)
    if tableau.order >= 3:
        assert b @ a @ c == pytest.approx(1 / 6, abs=1e-12)
    if tableau.order >= 4:
        assert b @ (c * (a @ c)) == pytest.approx(1 / 8, abs=1e-12)
        assert b @ a @ c**2 == pytest.approx(1 / 12, abs=1e-12)
        assert b @ a @ a @ c == pytest.approx(1 / 24, abs=1e-12)
    if tableau.error:
        lower = b - np.array(tableau.error)
        for k in range(tableau.order - 1):
            assert lower @ c**k == pytest.approx(1 / (k + 1), abs=1e-12)
        assert abs(lower @ c ** (tableau.order - 1) - 1 / tableau.order) > 1e-4
    if tableau.last_is_first:
        assert tableau.a[-1] == tableau.b[:-1]


@pytest.mark.parametrize("tableau", ALL, ids=named)
def test_order(tableau: Tableau) -> None:
    first = torch.tensor([[0.2], [0.7]])
    errors = []
    for steps in (32, 64):
        found = integrate(RungeKutta(logistic, tableau), OdeState.of(first), 2.0 / steps, steps).state
        errors.append(float((found.values - solution(first, 2.0)).abs().max()))
    assert tableau.order - 0.3 < math.log2(errors[0] / errors[1]) < tableau.order + 0.6


@pytest.mark.parametrize("tableau", EMBEDDED, ids=named)
def test_tolerance(tableau: Tableau) -> None:
    """Errors follow the tolerance, and every system takes the number of steps that it needs."""
    first = torch.tensor([[0.2], [0.7]])
    errors, counts = [], []
    for tolerance in (1e-4, 1e-8):
        flow = AdaptiveRungeKutta(logistic, tableau, tolerance, tolerance)
        found = integrate(flow, AdaptiveState.of(first), 1.5, 2).state
        errors.append(float((found.values - solution(first, 3.0)).abs().max()))
        counts.append(int(found.evaluations.max()))
        assert torch.equal(found.time, torch.tensor([3.0, 3.0]))
    assert errors[0] < 2e-3
    assert errors[1] < 2e-7
    assert counts[0] < counts[1]


@pytest.mark.parametrize("tableau", [DORMAND_PRINCE, TSITOURAS], ids=named)
def test_beside_scipy(tableau: Tableau) -> None:
    first = torch.tensor([[2.0, 0.0]])
    found = AdaptiveRungeKutta(van_der_pol, tableau, 1e-9, 1e-9)(AdaptiveState.of(first), torch.tensor([5.0]))

    def derivative(time: float, values: np.ndarray) -> list[float]:
        return [values[1], 3 * (1 - values[0] ** 2) * values[1] - values[0]]

    expected = solve_ivp(derivative, (0, 5), [2.0, 0.0], method="DOP853", rtol=1e-12, atol=1e-12).y[:, -1]
    assert np.allclose(found.values[0].numpy(), expected, atol=1e-6)


def test_systems_step_on_their_own() -> None:
    """A fast one does not make a slow one take more steps, and results do not depend on the neighbours."""
    rates = torch.tensor([1.0, 50.0])

    def decay(values: Tensor, time: Tensor) -> Tensor:
        return -rates[: len(values), None] * values

    both = AdaptiveRungeKutta(decay, DORMAND_PRINCE)(AdaptiveState.of(torch.ones(2, 1)), torch.full((2,), 1.0))
    alone = AdaptiveRungeKutta(decay, DORMAND_PRINCE)(AdaptiveState.of(torch.ones(1, 1)), torch.full((1,), 1.0))
    assert torch.allclose(both.values[0], alone.values[0], rtol=1e-14)
    assert int(both.evaluations[0]) == int(alone.evaluations[0])
    assert int(both.evaluations[1]) > 3 * int(both.evaluations[0])
    assert torch.allclose(both.values[:, 0], torch.exp(-rates), atol=1e-6)


def test_backwards_and_standing_still() -> None:
    first = AdaptiveState.of(torch.tensor([[0.3], [0.4]]))
    flow = AdaptiveRungeKutta(logistic, TSITOURAS, 1e-9, 1e-9)
    there = flow(first, torch.tensor([1.0, 0.0]))
    assert torch.equal(there.values[1], first.values[1])
    back = flow(AdaptiveState.of(there.values, 1.0), torch.tensor([-1.0, 0.0]))
    assert torch.allclose(back.values[0], first.values[0], atol=1e-7)


def test_stiffness_is_the_largest_eigenvalue() -> None:
    """For ``u' = λ u`` the estimate of every step is |λ|."""
    flow = AdaptiveRungeKutta(lambda u, t: -7.0 * u, DORMAND_PRINCE)
    found = flow(AdaptiveState.of(torch.ones(1, 1)), torch.tensor([1.0]))
    steps = (found.evaluations - 1) / 7 - found.refused
    assert torch.allclose(found.regularisers[:, 1], 7.0 * steps)


def test_gradients() -> None:
    rate = torch.tensor(0.8, requires_grad=True)
    first = torch.tensor([[0.2, 0.5]], requires_grad=True)

    def end(rate: Tensor, first: Tensor) -> Tensor:
        flow = AdaptiveRungeKutta(lambda u, t: rate * u * (1 - u), DORMAND_PRINCE, 1e-12, 1e-12)
        return flow(AdaptiveState.of(first), torch.tensor([1.0])).values

    assert torch.autograd.gradcheck(end, (rate, first), atol=1e-6)


def test_pole_and_stiff_equations() -> None:
    square = AdaptiveRungeKutta(lambda u, t: u**2, DORMAND_PRINCE)
    with pytest.raises(SimkitError, match="too small at t"):
        square(AdaptiveState.of(torch.ones(1, 1)), torch.tensor([2.0]))
    stiff = AdaptiveRungeKutta(lambda u, t: -1e6 * (u - torch.cos(t)[:, None]), DORMAND_PRINCE, most=100)
    with pytest.raises(SimkitError, match="100 steps of Dormand-Prince"):
        stiff(AdaptiveState.of(torch.ones(1, 1)), torch.tensor([1.0]))


def test_bad_settings() -> None:
    with pytest.raises(SimkitError, match="RK4 does not estimate its error"):
        AdaptiveRungeKutta(logistic, RK4)
    with pytest.raises(SimkitError, match="positive tolerances"):
        AdaptiveRungeKutta(logistic, TSITOURAS, relative=0.0)
