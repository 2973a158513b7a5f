"""Flows of finite volumes whose steps obey the condition of Courant, Friedrichs and Lewy."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from simkit.errors import SimkitError
from simkit.flows import Flow
from simkit.solvers.finite_volume.boundaries import Periodic
from simkit.solvers.finite_volume.equation import FiniteVolumes
from simkit.solvers.finite_volume.parameters import each
from simkit.solvers.ode import SSPRK3, OdeState, RungeKutta, Tableau
from simkit.solvers.spectral import FourierGrid

SSPRK3_PLUS = Tableau("eSSPRK+(3,3)", 3, ((), (2 / 3,), (2 / 9, 4 / 9)), (1 / 4, 3 / 16, 9 / 16))
"""Stages never go back in time, as an integrating factor with diffusion needs; three quarters of SSPRK3's step."""


@dataclass(frozen=True)
class CourantSteps:
    """A flow in as many steps as its waves need, each system its own: ``dt`` may be as long as one likes.

    Attributes:
        flow: of one step.
        equation: whose largest step is not exceeded.
        courant: the part of a cell that a wave may cross in a step.
        linear: whether diffusion and dispersion limit the step.
        most: number of steps at most, for one call.

    Raises:
        SimkitError: a number of Courant that is not positive.
    """

    flow: Flow[OdeState]
    equation: FiniteVolumes
    courant: float
    linear: bool = True
    most: int = 100_000

    def __post_init__(self) -> None:
        if not self.courant > 0:
            raise SimkitError(f"expected a positive Courant number, found {self.courant:g}")

    def __call__(self, state: OdeState, dt: Float[Tensor, " systems"]) -> OdeState:
        """Advance every system by ``dt``.

        Raises:
            SimkitError: a step back in time, or too many steps.
        """
        left = dt.to(state.values.dtype)
        if bool((left < 0).any()):
            raise SimkitError(f"shocks and diffusion do not run backwards: expected dt >= 0, found {left.tolist()}")
        end = state.time + left
        for _ in range(self.most):
            if not bool((left != 0).any()):
                return replace(state, time=end)
            with torch.no_grad():
                count = torch.ceil(left / self.equation.largest_step(state.values, self.courant, self.linear))
            step = left / torch.where(torch.isfinite(count), count, 1).clamp(min=1)
            left = torch.where(step == left, 0, left - step)
            state = self.flow(state, step)
        raise SimkitError(
            f"{self.most} steps did not reach the end: diffusion or dispersion is stiff on {self.equation.grid.cells} "
            "cells; use integrating_factor, or fewer cells"
        )


class IntegratingFactor:
    """Convection by a Runge-Kutta method of third order, diffusion and dispersion exactly: the method of Lawson.

    Averages over cells are samples of a function that obeys the same linear terms, ``L = -b k² + i g k³`` in Fourier
    space. With ``E(h) = e^{h L}``: ``u_i = E(c_i h) u + h Σ_j a_ij E((c_i - c_j) h) N(u_j)``. Any step is stable as far
    as L goes; the third order shows where ``h |L| < 1`` for the wavenumbers that matter.

    Args:
        equation: on a periodic grid with an even number of cells.

    Raises:
        SimkitError: a boundary that is not periodic, or an odd number of cells.

    Reference: L. Isherwood, Z. J. Grant, S. Gottlieb, SIAM J. Numer. Anal. 56, 3276 (2018), doi:10.1137/17M1143290.
    """

    def __init__(self, equation: FiniteVolumes) -> None:
        if not isinstance(equation.boundary, Periodic):
            raise SimkitError(
                f"an integrating factor needs a periodic boundary, found {type(equation.boundary).__name__}; use "
                "explicit_steps"
            )
        self.equation, cells = equation, equation.grid
        self.grid = FourierGrid((cells.length,), (cells.cells,), cells.dtype, cells.device)

    def __call__(self, state: OdeState, dt: Float[Tensor, " systems"]) -> OdeState:
        """One step."""
        u, time, h = state.values, state.time, dt.to(state.values.dtype)
        symbol = h.view(-1, 1, 1) * self._linear(u)
        modes = self.grid.to_modes(u)
        slopes: list[Tensor] = []
        stages = [*zip(SSPRK3_PLUS.a, SSPRK3_PLUS.c, strict=True), (SSPRK3_PLUS.b, 1.0)]
        for row, node in stages:
            change = torch.expm1(node * symbol) * modes
            for weight, slope, earlier in zip(row, slopes, SSPRK3_PLUS.c, strict=False):
                change = change + weight * h.view(-1, 1, 1) * torch.exp((node - earlier) * symbol) * slope
            values = u + self.grid.to_values(change)
            if len(slopes) < len(SSPRK3_PLUS.b):
                slopes.append(self.grid.to_modes(self.equation.convection(values, time + node * h)))
        return OdeState(values, time + h)

    def _linear(self, values: Tensor) -> Complex[Tensor, "systems_or_one 1 modes"]:
        diffusion, dispersion = each(self.equation.diffusion, values), each(self.equation.dispersion, values)
        return -diffusion * self.grid.squares - dispersion * self.grid.derivative(0, 3)


def explicit_steps(equation: FiniteVolumes, courant: float = 0.5) -> CourantSteps:
    """SSPRK3 for all terms: for convection, and diffusion or dispersion on few cells."""
    return CourantSteps(RungeKutta(equation, SSPRK3), equation, courant)


def integrating_factor(equation: FiniteVolumes, courant: float = 0.4) -> CourantSteps:
    """Third order with exact diffusion and dispersion, which limit no step: for periodic grids."""
    return CourantSteps(IntegratingFactor(equation), equation, courant, linear=False)
