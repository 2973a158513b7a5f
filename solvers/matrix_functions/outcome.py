"""What an application of a matrix function gives beside its values."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from simkit.solvers.matrix_functions.scalar_functions import ScalarFunction


@dataclass(frozen=True)
class Applied:
    """``f(A) b`` and how far it may be wrong.

    Attributes:
        values: f(A) b.
        error: estimate of the error, relative to :func:`scale_of`.
        method: what computed it.
        work: matrix-vector products of Krylov methods, linear solves of the others.
        converged: whether the estimate is within what was asked for.
    """

    values: Float[Tensor, "*shape"]
    error: float
    method: str
    work: int
    converged: bool


def scale_of(function: ScalarFunction, values: Float[Tensor, " n"], vector: Float[Tensor, " n"]) -> float:
    """What errors are relative to: the norm of the values; for the exponential that of b, if it is larger.

    An exponential that has decayed to nothing is as accurate as what it started from.
    """
    size = float(values.norm())
    return max(size, float(vector.norm())) if function.order == 0 else size
