"""Explicit Runge-Kutta methods of fixed steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from simkit.solvers.ode.tableaus import Tableau
from simkit.system import replaced_rows

RightHandSide = Callable[[Tensor, Tensor], Tensor]
"""``f(u, t)``: values of all systems, and the time of each, to their derivatives by time."""


@dataclass(frozen=True)
class OdeState:
    """Values of a batch of independent systems at a time.

    Attributes:
        values: u, with any further axes.
        time: t of each system.
    """

    values: Float[Tensor, "systems ..."]
    time: Float[Tensor, " systems"]

    @classmethod
    def of(cls, values: Float[Tensor, "systems ..."], time: float = 0.0) -> OdeState:
        """All systems at one time."""
        return cls(values, values.new_full((len(values),), time))

    @property
    def n_systems(self) -> int:
        """Number of independent systems."""
        return len(self.time)

    def finite(self) -> Bool[Tensor, " systems"]:
        """Whether all values of each system are finite."""
        return torch.isfinite(self.values).reshape(len(self.time), -1).all(1)

    def merged(self, other: OdeState, taken: Bool[Tensor, " systems"]) -> OdeState:
        """The systems of this state, with those that are ``taken`` from another."""
        return OdeState(replaced_rows(self.values, other.values, taken), replaced_rows(self.time, other.time, taken))


@dataclass(frozen=True)
class RungeKutta:
    """The flow of ``du/dt = f(u, t)`` by an explicit Runge-Kutta method.

    Attributes:
        derivative: f.
        tableau: of the method.

    Reference: E. Hairer, S. P. Nørsett, G. Wanner, Solving Ordinary Differential Equations I, Springer (1993), II.1.
    """

    derivative: RightHandSide
    tableau: Tableau

    def __call__(self, state: OdeState, dt: Float[Tensor, " systems"]) -> OdeState:
        """One step."""
        dt = dt.to(state.values.dtype)
        slopes = stages(self.derivative, self.tableau, state.values, state.time, dt)
        return OdeState(state.values + combined(self.tableau.b, slopes, dt), state.time + dt)


def stages(
    derivative: RightHandSide,
    tableau: Tableau,
    values: Float[Tensor, "systems ..."],
    time: Float[Tensor, " systems"],
    dt: Float[Tensor, " systems"],
    first: Float[Tensor, "systems ..."] | None = None,
) -> list[Float[Tensor, "systems ..."]]:
    """The slopes k_i; ``first`` is the first one if it is known."""
    slopes: list[Tensor] = []
    for row, node in zip(tableau.a, tableau.c, strict=True):
        if not slopes:
            slopes.append(derivative(values, time) if first is None else first)
        else:
            slopes.append(derivative(values + combined(row, slopes, dt), time + node * dt))
    return slopes


def combined(
    weights: Sequence[float], slopes: Sequence[Float[Tensor, "systems ..."]], dt: Float[Tensor, " systems"]
) -> Float[Tensor, "systems ..."]:
    """``h Σ_i w_i k_i``."""
    total = sum((w * k for w, k in zip(weights, slopes, strict=True) if w), torch.zeros_like(slopes[0]))
    return dt.view(-1, *(1,) * (slopes[0].dim() - 1)) * total
