"""Spectral methods beside exact solutions: orders, decay, solitons, conservation."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from simkit.errors import SimkitError
from simkit.flows import integrate
from simkit.solvers.spectral import (
    ETDRK4,
    IFRK4,
    AdvectionDiffusion,
    AllenCahn,
    Burgers,
    FourierGrid,
    KortewegDeVries,
    KuramotoSivashinsky,
    NavierStokes2D,
    SemilinearEquation,
    SpectralState,
)

METHODS = pytest.mark.parametrize("method", [ETDRK4, IFRK4])
TURN = 2 * math.pi


def solved(
    method: Callable, equation: SemilinearEquation, grid: FourierGrid, values: Tensor, end: float, steps: int
) -> Tensor:
    """Values at the end, from the first ones."""
    state = SpectralState.of(grid, values)
    result = integrate(method(equation, grid), state, end / steps, steps)
    assert result.finished
    assert torch.allclose(result.state.time, torch.full((len(values),), end))
    return result.state.values(grid)


def order(errors: list[float]) -> float:
    """From errors at steps that are halved."""
    return float(np.log2(errors[-2] / errors[-1]))


def test_modes_and_derivatives() -> None:
    grid = FourierGrid((3.0, 2.0), (12, 8))
    x, y = grid.coordinates
    field = torch.sin(TURN * 2 * x / 3) * torch.cos(TURN * y / 2)
    slope = grid.to_values(grid.derivative(0) * grid.to_modes(field))
    assert torch.allclose(slope, TURN * 2 / 3 * torch.cos(TURN * 2 * x / 3) * torch.cos(TURN * y / 2), atol=1e-12)
    laplacian = grid.to_values(-grid.squares * grid.to_modes(field))
    assert torch.allclose(laplacian, -((TURN * 2 / 3) ** 2 + (TURN / 2) ** 2) * field, atol=1e-11)
    highest = torch.cos(math.pi * 12 / 3 * x)
    assert float(grid.to_values(grid.derivative(0) * grid.to_modes(highest)).abs().max()) < 1e-12


def test_products_have_no_aliases() -> None:
    """The product of two fields of kept modes, on a grid of twice the points, has the same kept modes."""
    coarse, fine = FourierGrid((1.0,), (24,)), FourierGrid((1.0,), (48,))
    generator = torch.Generator().manual_seed(0)
    modes = torch.where(coarse.kept, torch.randn(13, dtype=torch.complex128, generator=generator), 0).clone()
    modes[0] = 1.0
    padded = torch.cat([modes, torch.zeros(12, dtype=modes.dtype)]) * 2
    product, exact = coarse.to_modes(coarse.to_values(modes) ** 2), fine.to_modes(fine.to_values(padded) ** 2) / 2
    assert torch.allclose(product[coarse.kept], exact[:13][coarse.kept], atol=1e-12)
    assert not torch.allclose(product, exact[:13], atol=1e-3)


@METHODS
def test_linear_equations_are_exact_for_any_step(method: Callable) -> None:
    """Advection and diffusion in one step of each system's own viscosity."""
    grid = FourierGrid((TURN, TURN), (16, 16))
    x, y = grid.coordinates
    viscosity = torch.tensor([0.1, 0.7])
    equation = AdvectionDiffusion((1.0, -2.0), viscosity)
    first = torch.sin(x + 2 * y).expand(2, 1, 16, 16).contiguous()
    found = solved(method, equation, grid, first, 1.3, 1)
    decay = torch.exp(-viscosity * 5 * 1.3).view(2, 1, 1, 1)
    assert torch.allclose(found, decay * torch.sin((x - 1.3) + 2 * (y + 2.6)), atol=1e-13)


@METHODS
def test_taylor_green_vortices_decay_exactly(method: Callable) -> None:
    grid = FourierGrid((TURN, TURN), (32, 32))
    x, y = grid.coordinates
    first = (2 * torch.cos(x) * torch.cos(y))[None, None]
    found = solved(method, NavierStokes2D(0.05), grid, first, 2.0, 20)
    assert torch.allclose(found, math.exp(-2 * 0.05 * 2.0) * first, atol=1e-13)


@METHODS
def test_order_for_a_flow_that_mixes(method: Callable) -> None:
    """Fourth order beside many more steps, with forcing that depends on time and drag."""
    grid = FourierGrid((TURN, TURN), (32, 32))
    x, y = grid.coordinates

    def forcing(time: Tensor) -> Tensor:
        return torch.cos(time).view(-1, 1, 1, 1) * torch.sin(4 * y)

    equation = NavierStokes2D(0.02, 0.1, forcing)
    first = (torch.sin(x) * torch.cos(2 * y) + torch.cos(x + y))[None, None]
    exact = solved(method, equation, grid, first, 1.0, 160)
    errors = [float((solved(method, equation, grid, first, 1.0, n) - exact).abs().max()) for n in (10, 20)]
    assert 3.8 < order(errors) < 4.3


def test_soliton() -> None:
    """A soliton keeps its shape, mass and energy; the error of its position falls in fourth order."""
    grid = FourierGrid((40.0,), (256,))
    x = grid.coordinates[0]
    speed = 2.0

    def soliton(time: float) -> Tensor:
        shifted = (x - 20 - speed * time + 20) % 40 - 20
        return 0.5 * speed / torch.cosh(0.5 * math.sqrt(speed) * shifted) ** 2

    first = soliton(0.0)[None, None]
    coarse, found = (solved(ETDRK4, KortewegDeVries(), grid, first, 2.0, n) for n in (200, 400))
    errors = [float((values - soliton(2.0)).abs().max()) for values in (coarse, found)]
    assert errors[1] < 6e-8
    assert 3.8 < order(errors) < 4.3
    assert abs(float((found - first).mean())) < 1e-15
    assert abs(float((found**2).mean() / (first**2).mean() - 1)) < 1e-8


def test_burgers_beside_cole_and_hopf() -> None:
    """``u = -2 ν φ_x / φ`` with φ that solves the heat equation."""
    viscosity, grid = 0.1, FourierGrid((TURN,), (128,))
    x = grid.coordinates[0]

    def exact(time: float) -> Tensor:
        decay = 0.5 * math.exp(-viscosity * time)
        return 2 * viscosity * decay * torch.sin(x) / (1 + decay * torch.cos(x))

    found = solved(ETDRK4, Burgers(viscosity), grid, exact(0.0)[None, None], 3.0, 300)
    assert torch.allclose(found[0, 0], exact(3.0), atol=1e-10)


def test_interface_of_allen_and_cahn() -> None:
    """``tanh(x / (√2 ε))`` stands still."""
    grid = FourierGrid((8.0,), (256,))
    x, width = grid.coordinates[0], 0.2
    first = (torch.tanh((x - 2) / (math.sqrt(2) * width)) * torch.tanh((6 - x) / (math.sqrt(2) * width)))[None, None]
    found = solved(ETDRK4, AllenCahn(width), grid, first, 1.0, 200)
    assert float((found - first).abs().max()) < 1e-5


def test_chaos_keeps_its_mean_and_stays_bounded() -> None:
    """Each system is on its own: a batch gives what each alone gives."""
    grid = FourierGrid((64.0,), (64,))
    x = grid.coordinates[0]
    first = torch.stack([torch.cos(TURN * k * x / 64) * (1 + torch.sin(TURN * x / 64)) for k in (1, 2)])[:, None]
    found = solved(ETDRK4, KuramotoSivashinsky(), grid, first, 75.0, 300)
    assert 1 < float(found.abs().max()) < 5
    assert torch.allclose(found.mean((1, 2)), first.mean((1, 2)), atol=1e-13)
    alone = solved(ETDRK4, KuramotoSivashinsky(), grid, first[:1], 25.0, 100)
    assert torch.allclose(solved(ETDRK4, KuramotoSivashinsky(), grid, first, 25.0, 100)[:1], alone, atol=1e-10)


@METHODS
def test_a_step_of_zero_changes_nothing(method: Callable) -> None:
    grid = FourierGrid((TURN,), (16,))
    state = SpectralState.of(grid, torch.randn(2, 1, 16, generator=torch.Generator().manual_seed(0)))
    after = method(Burgers(0.1), grid)(state, torch.tensor([0.0, 0.1]))
    assert torch.equal(after.pairs[0], state.pairs[0])
    assert not torch.equal(after.pairs[1], state.pairs[1])


@METHODS
def test_gradients(method: Callable) -> None:
    """By the first values, beside finite differences."""
    grid = FourierGrid((TURN,), (8,))
    flow = method(Burgers(0.1), grid)

    def end(values: Tensor) -> Tensor:
        state = SpectralState.of(grid, values)
        for _ in range(3):
            state = flow(state, torch.tensor([0.1]))
        return state.values(grid)

    first = torch.randn(1, 1, 8, generator=torch.Generator().manual_seed(1)).requires_grad_()
    assert torch.autograd.gradcheck(end, (first,))


def test_bad_input() -> None:
    with pytest.raises(SimkitError, match="even numbers of at least four points"):
        FourierGrid((1.0,), (7,))
    with pytest.raises(SimkitError, match="an equation in 2 dimensions, the grid has 1"):
        ETDRK4(NavierStokes2D(0.1), FourierGrid((1.0,), (8,)))
    with pytest.raises(SimkitError, match=r"expected values of shape \(systems, fields, 8\)"):
        SpectralState.of(FourierGrid((1.0,), (8,)), torch.zeros(1, 1, 9))
    with pytest.raises(SimkitError, match="a velocity along 1 axes"):
        ETDRK4(AdvectionDiffusion((1.0, 2.0), 0.1), FourierGrid((1.0,), (8,)))
