"""Flows: maps that advance a state in time, and how methods are composed of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from jaxtyping import Float
from torch import Tensor

from simkit.errors import SimkitError

S = TypeVar("S")

Flow = Callable[[S, Tensor], S]
"""A map ``(state, dt) -> state`` that advances a state by the time step ``dt`` of each system.

States are frozen dataclasses of tensors; a flow returns a new one and leaves its argument as it was. ``dt`` has one
entry for each system of the batch; a system whose entry is zero does not change.
"""


@dataclass(frozen=True)
class Splitting:
    """The composition ``φ_n(c_n dt) ∘ ... ∘ φ_1(c_1 dt)`` of flows, each for its fraction of the step.

    Attributes:
        parts: (fraction, flow), in the order in which they act.
    """

    parts: tuple[tuple[float, Flow], ...]

    def __call__(self, state: S, dt: Float[Tensor, " systems"]) -> S:
        """Advance by ``dt``."""
        for fraction, flow in self.parts:
            state = flow(state, dt if fraction == 1.0 else fraction * dt)
        return state


def symmetric(*flows: Flow) -> Splitting:
    """Strang splitting ``A(dt/2) B(dt/2) ... Z(dt) ... B(dt/2) A(dt/2)``: of second order if the flows are exact.

    Reference: G. Strang, SIAM J. Numer. Anal. 5, 506 (1968), doi:10.1137/0705041.
    """
    if not flows:
        raise SimkitError("expected at least one flow to compose, found none")
    half = tuple((0.5, flow) for flow in flows[:-1])
    return Splitting((*half, (1.0, flows[-1]), *half[::-1]))


def yoshida4(flow: Flow) -> Splitting:
    """Fourth order from any symmetric flow of second order: ``φ(w₁ dt) φ(w₀ dt) φ(w₁ dt)``.

    ``w₁ = 1 / (2 - 2^{1/3})``, ``w₀ = 1 - 2 w₁``. The middle step goes backwards in time, so the flow must be
    reversible: no thermostats.

    Reference: H. Yoshida, Phys. Lett. A 150, 262 (1990), eq. (2.11), doi:10.1016/0375-9601(90)90092-3.
    """
    outer = 1 / (2 - 2 ** (1 / 3))
    return Splitting(((outer, flow), (1 - 2 * outer, flow), (outer, flow)))


def repeated(flow: Flow, times: int) -> Splitting:
    """``times`` equal steps of a flow in the time of one: the fast part of a method with multiple time steps."""
    if times < 1:
        raise SimkitError(f"expected a flow to be repeated at least once, found {times} times")
    return Splitting(((1 / times, flow),) * times)
