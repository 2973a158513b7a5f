"""Numerical fluxes at a face, from the states at its two sides."""

from __future__ import annotations

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor

from simkit.errors import SimkitError
from simkit.solvers.finite_volume.laws import ConservationLaw, ScalarLaw

NumericalFlux = Callable[[ConservationLaw, Tensor, Tensor], Tensor]
"""``(law, left states, right states)`` to fluxes."""


def godunov(
    law: ConservationLaw, left: Float[Tensor, "systems fields faces"], right: Float[Tensor, "systems fields faces"]
) -> Float[Tensor, "systems fields faces"]:
    """The flux of the exact solution of the Riemann problem: the least dissipative one that is monotone.

    Raises:
        SimkitError: a law whose Riemann problem has no known solution here.

    Reference: S. K. Godunov, Mat. Sb. 47(89), 271 (1959).
    """
    if not isinstance(law, ScalarLaw):
        raise SimkitError(
            f"Godunov's flux needs Advection or Quadratic, found {type(law).__name__}; use local_lax_friedrichs"
        )
    return law.between(left, right)


def local_lax_friedrichs(
    law: ConservationLaw, left: Float[Tensor, "systems fields faces"], right: Float[Tensor, "systems fields faces"]
) -> Float[Tensor, "systems fields faces"]:
    """``(f(u_l) + f(u_r))/2 - s (u_r - u_l)/2`` with the largest speed s between both: for any law.

    Reference: V. V. Rusanov, USSR Comput. Math. Math. Phys. 1, 304 (1962), doi:10.1016/0041-5553(62)90062-9.
    """
    return 0.5 * (law.flux(left) + law.flux(right) - law.speed_between(left, right) * (right - left))
