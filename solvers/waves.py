"""The wave equation on an interval with fixed and free ends: reflected pulses, exactly and by leapfrog."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import IntEnum

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from simkit.errors import SimkitError
from simkit.flows import Splitting, symmetric
from simkit.system import replaced_rows


class WaveEnd(IntEnum):
    """What a wave does at an end; the value is the sign with which a pulse comes back."""

    FIXED = -1
    """Dirichlet: u keeps its value."""
    FREE = 1
    """Neumann: ∂u/∂x = 0."""


@dataclass(frozen=True)
class WaveEquation:
    """``u_tt = c² u_xx`` on ``start <= x <= end``, each system with its own speed and ends.

    Attributes:
        speed: c of each system.
        left: signs of reflection at the start of the interval, see ``WaveEnd``.
        right: at its end.
        start: of the interval.
        end: of the interval.

    Raises:
        SimkitError: an end that is not behind the start, speeds that are not positive, or signs other than -1 and 1.

    Reference: J. Brandstetter, D. Worrall, M. Welling, ICLR (2022), arXiv:2202.03376, the family WE.
    """

    speed: Float[Tensor, " systems"]
    left: Float[Tensor, " systems"]
    right: Float[Tensor, " systems"]
    start: float = -8.0
    end: float = 8.0

    def __post_init__(self) -> None:
        if not 0 < self.length < math.inf:
            raise SimkitError(f"expected an interval with start < end, found [{self.start:g}, {self.end:g}]")
        if not bool((self.speed > 0).all()):
            raise SimkitError(f"expected positive speeds of waves, found {self.speed.tolist()}")
        for name, signs in (("left", self.left), ("right", self.right)):
            if not bool((signs.abs() == 1).all()):
                raise SimkitError(
                    f"expected -1 for fixed and 1 for free ends at the {name}, found {signs.tolist()}; see WaveEnd"
                )

    @classmethod
    def of(
        cls, systems: int, speed: float, left: WaveEnd, right: WaveEnd, start: float = -8.0, end: float = 8.0
    ) -> WaveEquation:
        """The same for a number of systems."""
        one = torch.ones(systems, dtype=torch.float64)
        return cls(speed * one, left * one, right * one, start, end)

    @property
    def length(self) -> float:
        """Of the interval."""
        return self.end - self.start

    def points(self, number: int) -> Float[Tensor, " points"]:
        """Equidistant ones with both ends.

        Raises:
            SimkitError: fewer than three.
        """
        if number < 3:
            raise SimkitError(f"expected at least three points, both ends and one between them, found {number}")
        return torch.linspace(self.start, self.end, number, dtype=self.speed.dtype, device=self.speed.device)

    def largest_step(self, number: int) -> Float[Tensor, " systems"]:
        """``h / c``, up to which leapfrog is stable with a number of equidistant points."""
        return self.length / ((number - 1) * self.speed)

    def energy(self, state: WaveState) -> Float[Tensor, " systems"]:
        """``∫ (u_t² + c² u_x²)/2 dx`` by the trapezoidal rule, of which leapfrog keeps an approximation."""
        spacing = self.length / (state.values.shape[1] - 1)
        squares = state.rates.square()
        kinetic = spacing * (squares.sum(1) - 0.5 * (squares[:, 0] + squares[:, -1]))
        elastic = self.speed**2 * state.values.diff(dim=1).square().sum(1) / spacing
        return 0.5 * (kinetic + elastic)


@dataclass(frozen=True)
class ReflectedPulse:
    """The exact solution for a pulse ``exp(-((x - p)/w)²)``, by images of it beyond both ends.

    What moves to the right, F, contributes ``Σ_k (s_l s_r)^|k| [F(x - c t - 2 k L) + s_r F(2 x_r - x - c t - 2 k L)]``
    with the signs of reflection s, the right end x_r and the length L; what moves to the left likewise, mirrored. A
    pulse at rest is one half of either. The pulse must be negligible at both ends at first.

    Attributes:
        equation: with speeds and ends.
        position: p of each system.
        width: w of each system.
        rightwards: the part that moves to the right, the rest moves to the left: 1/2 is a pulse that starts at rest.

    Raises:
        SimkitError: a pulse that is not inside the interval.
    """

    equation: WaveEquation
    position: Float[Tensor, " systems"]
    width: Float[Tensor, " systems"]
    rightwards: float = 0.5

    def __post_init__(self) -> None:
        inside = (self.position > self.equation.start) & (self.position < self.equation.end) & (self.width > 0)
        if not bool(inside.all()):
            raise SimkitError(
                f"expected pulses of positive width between {self.equation.start:g} and {self.equation.end:g}, found "
                f"positions {self.position.tolist()} and widths {self.width.tolist()}"
            )

    def values(
        self, points: Float[Tensor, " points"], time: Float[Tensor, " systems"]
    ) -> Float[Tensor, "systems points"]:
        """Displacements u at points of the interval."""
        return self._both(points, time, 0)

    def rates(
        self, points: Float[Tensor, " points"], time: Float[Tensor, " systems"]
    ) -> Float[Tensor, "systems points"]:
        """Rates ``∂u/∂t`` at points of the interval."""
        return self._both(points, time, 1)

    def state(self, points: Float[Tensor, " points"], time: float = 0.0) -> WaveState:
        """Values and rates at a time."""
        times = torch.full_like(self.position, time)
        return WaveState(self.values(points, times), self.rates(points, times), times)

    def _both(self, points: Tensor, time: Tensor, derivative: int) -> Tensor:
        wave, mirrored = self.equation, self.equation.start + self.equation.end
        right = self._moving_right(points, time, self.position, wave.left, wave.right, derivative)
        left = self._moving_right(mirrored - points, time, mirrored - self.position, wave.right, wave.left, derivative)
        return self.rightwards * right + (1 - self.rightwards) * left

    def _moving_right(
        self, points: Tensor, time: Tensor, position: Tensor, left: Tensor, right: Tensor, derivative: int
    ) -> Tensor:
        wave = self.equation
        travelled = wave.speed * time
        turns = math.ceil(float(travelled.detach().abs().max()) / (2 * wave.length)) + 1
        k = torch.arange(-turns, turns + 1, dtype=points.dtype, device=points.device)
        signs = (left * right)[:, None] ** k.abs()
        shift = (travelled[:, None] + 2 * wave.length * k + position[:, None])[:, :, None]
        direct = self._shape(points - shift, derivative)
        reflected = self._shape(2 * wave.end - points - shift, derivative)
        return (signs[:, :, None] * (direct + right[:, None, None] * reflected)).sum(1)

    def _shape(self, distance: Tensor, derivative: int) -> Tensor:
        """F or ``-c F'``, the rate of what moves to the right."""
        width = self.width[:, None, None]
        value = torch.exp(-((distance / width) ** 2))
        return value if derivative == 0 else 2 * self.equation.speed[:, None, None] * distance / width**2 * value


@dataclass(frozen=True)
class WaveState:
    """Displacements and their rates at equidistant points that include both ends.

    Attributes:
        values: u.
        rates: ``∂u/∂t``.
        time: t of each system.
    """

    values: Float[Tensor, "systems points"]
    rates: Float[Tensor, "systems points"]
    time: Float[Tensor, " systems"]

    @property
    def n_systems(self) -> int:
        """Number of independent systems."""
        return len(self.time)

    def finite(self) -> Bool[Tensor, " systems"]:
        """Whether all numbers of each system are finite."""
        return torch.isfinite(self.values).all(1) & torch.isfinite(self.rates).all(1)

    def merged(self, other: WaveState, taken: Bool[Tensor, " systems"]) -> WaveState:
        """The systems of this state, with those that are ``taken`` from another."""
        mine, theirs = vars(self), vars(other)
        return WaveState(**{name: replaced_rows(mine[name], theirs[name], taken) for name in mine})


@dataclass(frozen=True)
class Drift:
    """``u += dt ∂u/∂t``."""

    def __call__(self, state: WaveState, dt: Float[Tensor, " systems"]) -> WaveState:
        """Move at constant rates."""
        return replace(state, values=state.values + dt[:, None] * state.rates, time=state.time + dt)


@dataclass(frozen=True)
class Kick:
    """``∂u/∂t += dt c² u_xx`` with differences of second order.

    With the sign s of an end, the point beyond it has ``(1 - s) u_0 + s u_1``: an even mirror image at a free end, an
    odd one around the value of a fixed end.

    Attributes:
        equation: with speeds and ends.
    """

    equation: WaveEquation

    def __call__(self, state: WaveState, dt: Float[Tensor, " systems"]) -> WaveState:
        """Accelerate at constant displacements."""
        u, wave = state.values, self.equation
        spacing = wave.length / (u.shape[1] - 1)
        left, right = wave.left[:, None], wave.right[:, None]
        before, behind = (1 - left) * u[:, :1] + left * u[:, 1:2], (1 - right) * u[:, -1:] + right * u[:, -2:-1]
        padded = torch.cat([before, u, behind], 1)
        second = (padded[:, 2:] - 2 * u + padded[:, :-2]) / spacing**2
        return replace(state, rates=state.rates + (dt * wave.speed**2)[:, None] * second)


def leapfrog(equation: WaveEquation) -> Splitting:
    """Half a drift, a kick, half a drift: of second order, reversible and symplectic, stable up to ``c dt = h``.

    Reference: R. Courant, K. Friedrichs, H. Lewy, Math. Ann. 100, 32 (1928), doi:10.1007/BF01448839.
    """
    return symmetric(Drift(), Kick(equation))
