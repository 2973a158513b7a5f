"""Flows of semilinear equations that treat the linear part exactly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Complex, Float
from torch import Tensor

from simkit.solvers.matrix_functions.scalar_functions import phi_values
from simkit.solvers.spectral.equations import SemilinearEquation
from simkit.solvers.spectral.grid import FourierGrid
from simkit.solvers.spectral.state import SpectralState


class ETDRK4:
    """Exponential time differencing with the stages of the classical Runge-Kutta method, of fourth order.

    With ``z = h L``: ``a = e^{z/2} u + h/2 φ₁(z/2) N(u)``, ``b`` likewise with ``N(a)``, ``c = e^{z/2} a + h/2 φ₁(z/2)
    (2 N(b) - N(u))`` and ``u' = e^z u + h [(φ₁-3φ₂+4φ₃) N(u) + 2(φ₂-2φ₃)(N(a)+N(b)) + (4φ₃-φ₂) N(c)]``, all φ at z.

    Args:
        equation: with the linear part L.
        grid: that the fields are on.

    Reference: S. M. Cox, P. C. Matthews, J. Comput. Phys. 176, 430 (2002), doi:10.1006/jcph.2002.6995; A.-K. Kassam,
    L. N. Trefethen, SIAM J. Sci. Comput. 26, 1214 (2005), doi:10.1137/S1064827502410633.
    """

    def __init__(self, equation: SemilinearEquation, grid: FourierGrid) -> None:
        equation.require(grid)
        self.equation, self.grid = equation, grid
        self.linear = equation.linear(grid)
        self._known: _Coefficients | None = None

    def __call__(self, state: SpectralState, dt: Float[Tensor, " systems"]) -> SpectralState:
        """One step."""
        known, u, time = self._coefficients(dt), state.modes, state.time
        at_u = self._nonlinear(u, time)
        relaxed = known.half * u
        a = relaxed + known.stage * at_u
        at_a = self._nonlinear(a, time + 0.5 * dt)
        b = relaxed + known.stage * at_a
        at_b = self._nonlinear(b, time + 0.5 * dt)
        c = known.half * a + known.stage * (2 * at_b - at_u)
        at_c = self._nonlinear(c, time + dt)
        new = known.whole * u + known.first * at_u + known.middle * (at_a + at_b) + known.last * at_c
        return state.advanced(new, dt)

    def _nonlinear(self, modes: Tensor, time: Tensor) -> Tensor:
        return self.equation.nonlinear(self.grid, modes, time)

    def _coefficients(self, dt: Tensor) -> _Coefficients:
        known = self._known
        if known is None or (known.dt is not dt and not torch.equal(known.dt, dt)):
            known = self._known = _coefficients(self.linear, dt)
        return known


class IFRK4:
    """The classical Runge-Kutta method for ``v = e^{-L t} u``, of fourth order; less exact than ETDRK4 for stiff L.

    Args:
        equation: with the linear part L.
        grid: that the fields are on.

    Reference: J. D. Lawson, SIAM J. Numer. Anal. 4, 372 (1967), doi:10.1137/0704033.
    """

    def __init__(self, equation: SemilinearEquation, grid: FourierGrid) -> None:
        equation.require(grid)
        self.equation, self.grid = equation, grid
        self.linear = equation.linear(grid)

    def __call__(self, state: SpectralState, dt: Float[Tensor, " systems"]) -> SpectralState:
        """One step."""
        step = _shaped(dt, self.linear)
        half, u, time = torch.exp(0.5 * step * self.linear), state.modes, state.time
        k1 = step * self.equation.nonlinear(self.grid, u, time)
        k2 = step * self.equation.nonlinear(self.grid, half * (u + 0.5 * k1), time + 0.5 * dt)
        k3 = step * self.equation.nonlinear(self.grid, half * u + 0.5 * k2, time + 0.5 * dt)
        k4 = step * self.equation.nonlinear(self.grid, half * (half * u + k3), time + dt)
        return state.advanced(half * (half * (u + k1 / 6) + (k2 + k3) / 3) + k4 / 6, dt)


@dataclass(frozen=True)
class _Coefficients:
    """Factors of ETDRK4 for one time step of each system."""

    dt: Float[Tensor, " systems"]
    half: Complex[Tensor, "systems 1 *modes"]
    whole: Complex[Tensor, "systems 1 *modes"]
    stage: Complex[Tensor, "systems 1 *modes"]
    first: Complex[Tensor, "systems 1 *modes"]
    middle: Complex[Tensor, "systems 1 *modes"]
    last: Complex[Tensor, "systems 1 *modes"]


def _coefficients(linear: Tensor, dt: Tensor) -> _Coefficients:
    step = _shaped(dt, linear)
    z = (step * linear).numpy(force=True)
    h = step.numpy(force=True)
    one, two, three = (phi_values(k, z) for k in (1, 2, 3))
    half = 0.5 * z

    def tensor(values: np.ndarray) -> Tensor:
        return torch.as_tensor(values, dtype=linear.dtype, device=linear.device)

    return _Coefficients(
        dt=dt,
        half=tensor(np.exp(half)),
        whole=tensor(np.exp(z)),
        stage=tensor(0.5 * h * phi_values(1, half)),
        first=tensor(h * (one - 3 * two + 4 * three)),
        middle=tensor(h * 2 * (two - 2 * three)),
        last=tensor(h * (4 * three - two)),
    )


def _shaped(dt: Tensor, linear: Tensor) -> Tensor:
    """Time steps shaped to multiply modes, one for all if they are equal for all."""
    return dt.to(linear.real.dtype).view(-1, *(1,) * (linear.dim() - 1))
