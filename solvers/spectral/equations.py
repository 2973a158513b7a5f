"""Equations ``∂u/∂t = L u + N(u, t)`` with an L that is diagonal in Fourier space."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from simkit.errors import SimkitError
from simkit.solvers.spectral.grid import FourierGrid

Parameter = float | Float[Tensor, " systems"]
"""One value for all systems of a batch, or one for each."""


class SemilinearEquation(ABC):
    """The linear and the nonlinear part of an equation, on modes.

    ``dimensions`` is the number of axes that it is for, 0 for any; it has one field.
    """

    dimensions: ClassVar[int] = 0

    @abstractmethod
    def linear(self, grid: FourierGrid) -> Complex[Tensor, "systems_or_one 1 *modes"]:
        """L of every mode."""

    @abstractmethod
    def nonlinear(
        self, grid: FourierGrid, modes: Complex[Tensor, "systems 1 *modes"], time: Float[Tensor, " systems"]
    ) -> Complex[Tensor, "systems 1 *modes"]:
        """Modes of N, free of aliases if it is quadratic."""

    def require(self, grid: FourierGrid) -> None:
        """Check the number of axes.

        Raises:
            SimkitError: the grid has another one.
        """
        if self.dimensions and len(grid.points) != self.dimensions:
            raise SimkitError(
                f"{type(self).__name__} is an equation in {self.dimensions} dimensions, the grid has {len(grid.points)}"
            )


@dataclass(frozen=True)
class AdvectionDiffusion(SemilinearEquation):
    """``u_t + c·∇u = ν Δu``.

    Attributes:
        velocity: c along each axis.
        viscosity: ν.
    """

    velocity: tuple[float, ...]
    viscosity: Parameter

    def linear(self, grid: FourierGrid) -> Complex[Tensor, "systems_or_one 1 *modes"]:
        """``-i c·k - ν |k|²``."""
        if len(self.velocity) != len(grid.points):
            raise SimkitError(f"expected a velocity along {len(grid.points)} axes, found {self.velocity}")
        drift = sum(c * grid.derivative(axis) for axis, c in enumerate(self.velocity))
        return -drift - _each(self.viscosity, grid) * grid.squares

    def nonlinear(self, grid: FourierGrid, modes: Tensor, time: Tensor) -> Complex[Tensor, "systems 1 *modes"]:
        """None."""
        return torch.zeros_like(modes)


@dataclass(frozen=True)
class Burgers(SemilinearEquation):
    """``u_t + (u²/2)_x = ν u_xx``.

    Attributes:
        viscosity: ν.
    """

    dimensions: ClassVar[int] = 1
    viscosity: Parameter

    def linear(self, grid: FourierGrid) -> Complex[Tensor, "systems_or_one 1 *modes"]:
        """``-ν k²``."""
        return -_each(self.viscosity, grid) * grid.squares + 0j

    def nonlinear(self, grid: FourierGrid, modes: Tensor, time: Tensor) -> Complex[Tensor, "systems 1 *modes"]:
        """``-(u²/2)_x``."""
        return _half_square_slope(grid, modes)


@dataclass(frozen=True)
class KortewegDeVries(SemilinearEquation):
    """``u_t + 6 u u_x + u_xxx = 0``, which has solitons ``c/2 sech²(√c/2 (x - c t))``."""

    dimensions: ClassVar[int] = 1

    def linear(self, grid: FourierGrid) -> Complex[Tensor, "systems_or_one 1 *modes"]:
        """``i k³``."""
        return -grid.derivative(0, 3)[None, None]

    def nonlinear(self, grid: FourierGrid, modes: Tensor, time: Tensor) -> Complex[Tensor, "systems 1 *modes"]:
        """``-6 (u²/2)_x``."""
        return 6 * _half_square_slope(grid, modes)


@dataclass(frozen=True)
class KuramotoSivashinsky(SemilinearEquation):
    """``u_t + u u_x + u_xx + u_xxxx = 0``: chaotic in boxes longer than about 30."""

    dimensions: ClassVar[int] = 1

    def linear(self, grid: FourierGrid) -> Complex[Tensor, "systems_or_one 1 *modes"]:
        """``k² - k⁴``."""
        return (grid.squares - grid.squares.square() + 0j)[None, None]

    def nonlinear(self, grid: FourierGrid, modes: Tensor, time: Tensor) -> Complex[Tensor, "systems 1 *modes"]:
        """``-(u²/2)_x``."""
        return _half_square_slope(grid, modes)


@dataclass(frozen=True)
class AllenCahn(SemilinearEquation):
    """``u_t = ε² Δu + u - u³``.

    Attributes:
        width: ε, the width of the interfaces between u = 1 and u = -1.
    """

    width: Parameter

    def linear(self, grid: FourierGrid) -> Complex[Tensor, "systems_or_one 1 *modes"]:
        """``1 - ε² |k|²``."""
        return 1 - _each(self.width, grid) ** 2 * grid.squares + 0j

    def nonlinear(self, grid: FourierGrid, modes: Tensor, time: Tensor) -> Complex[Tensor, "systems 1 *modes"]:
        """``-u³``."""
        return -grid.to_modes(grid.to_values(modes) ** 3)


@dataclass(frozen=True)
class NavierStokes2D(SemilinearEquation):
    """The vorticity ``ω = ∂v/∂x - ∂u/∂y`` of an incompressible flow in two dimensions.

    ``ω_t + (u, v)·∇ω = ν Δω - μ ω + f`` with the stream function ``-Δψ = ω``, ``u = ψ_y``, ``v = -ψ_x``.

    Attributes:
        viscosity: ν.
        drag: μ.
        forcing: f at the points of the grid, or None.
    """

    dimensions: ClassVar[int] = 2
    viscosity: Parameter
    drag: Parameter = 0.0
    forcing: Callable[[Float[Tensor, " systems"]], Float[Tensor, "systems 1 *grid"]] | Tensor | None = None

    def linear(self, grid: FourierGrid) -> Complex[Tensor, "systems_or_one 1 *modes"]:
        """``-ν |k|² - μ``."""
        return -_each(self.viscosity, grid) * grid.squares - _each(self.drag, grid) + 0j

    def nonlinear(self, grid: FourierGrid, modes: Tensor, time: Tensor) -> Complex[Tensor, "systems 1 *modes"]:
        """``-(u ω_x + v ω_y) + f``."""
        vorticity = torch.where(grid.kept, modes, 0)
        stream = vorticity / torch.where(grid.squares == 0, 1, grid.squares)
        by_x, by_y = grid.derivative(0), grid.derivative(1)
        parts = torch.stack([by_y * stream, -by_x * stream, by_x * vorticity, by_y * vorticity])
        u, v, slope_x, slope_y = grid.to_values(parts)
        found = torch.where(grid.kept, -grid.to_modes(u * slope_x + v * slope_y), 0)
        if self.forcing is None:
            return found
        return found + grid.to_modes(self.forcing if isinstance(self.forcing, Tensor) else self.forcing(time))


def _half_square_slope(grid: FourierGrid, modes: Tensor) -> Tensor:
    """Modes of ``-(u²/2)_x`` without aliases."""
    values = grid.to_values(torch.where(grid.kept, modes, 0))
    return -0.5 * grid.derivative(0) * torch.where(grid.kept, grid.to_modes(values.square()), 0)


def _each(parameter: Parameter, grid: FourierGrid) -> Tensor:
    """A parameter of each system, shaped to multiply modes."""
    values = torch.as_tensor(parameter, dtype=grid.dtype, device=grid.device)
    return values.reshape(-1, *(1,) * (1 + len(grid.points)))
