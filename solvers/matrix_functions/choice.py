"""Which method applies a function of a sparse matrix to a vector."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Literal, get_args

import numpy as np
import scipy.sparse
import torch
from jaxtyping import Float
from torch import Tensor

from simkit.errors import SimkitError
from simkit.solvers.matrix_functions.krylov import krylov
from simkit.solvers.matrix_functions.matrices import SparseMatrix
from simkit.solvers.matrix_functions.outcome import Applied, scale_of
from simkit.solvers.matrix_functions.poles import PoleExpansion, deviation, on_interval, slope_deviation, talbot
from simkit.solvers.matrix_functions.scalar_functions import EXP, INVERSE, ScalarFunction
from simkit.solvers.matrix_functions.shift_invert import by_poles, shift_invert

Method = Literal["auto", "krylov", "shift-invert", "contour", "poles"]

LARGEST_NORM = 100.0
"""``‖A‖₁`` up to which polynomial Krylov subspaces are tried first."""
NORM_OF_STEP = 40.0
"""``‖A‖₁`` of one step where ``e^A`` is made of several."""
LARGEST_BASIS = 150
FEWEST_NODES, MOST_NODES = 8, 32
FINEST = 1e-13
"""Error of an expansion that rounding still allows."""


class NotConvergedError(SimkitError, ArithmeticError):
    """No method reached the tolerance."""


def apply_sparse(
    matrix: SparseMatrix, function: ScalarFunction, vector: Float[Tensor, " n"], method: Method, tolerance: float
) -> Applied:
    """``f(A) b`` by one method, or by the first in a list that reaches the tolerance.

    Raises:
        SimkitError: an unknown method, or one that the function does not go with.
        NotConvergedError: the estimated error is larger than the tolerance.
    """
    if method not in get_args(Method):
        raise SimkitError(f"expected a method among {', '.join(get_args(Method))}; found {method!r}")
    tried = []
    for attempt in _attempts(matrix, function, vector, method, tolerance):
        found = attempt()
        if found.converged:
            return found
        tried.append(f"{found.method}: {found.error:.1e}")
    raise NotConvergedError(
        f"{function.name} of a matrix of {matrix.n} rows and norm {matrix.norm:.3g} did not reach the relative error "
        f"{tolerance:.1e} ({'; '.join(tried)}). Ask for less, or apply it in several steps of a smaller matrix"
    )


def expansion_for(matrix: SparseMatrix, function: ScalarFunction, tolerance: float) -> PoleExpansion:
    """A sum over poles that stands for f on the spectrum of A.

    Raises:
        SimkitError: there is none for this function of a matrix that is not symmetric.
    """
    if function is INVERSE:
        return PoleExpansion(np.zeros(1, complex), -np.ones(1, complex), 0.0, 0.0)
    if matrix.symmetric:
        return on_interval(function, *matrix.interval(definite=not function.entire), tolerance)
    if not function.entire:
        raise SimkitError(
            f"sums over poles of {function.name} are there for symmetric matrices; this one is not: use method='krylov'"
        )
    return _contour(matrix, function, tolerance)


def expansion_for_derivatives(matrix: SparseMatrix, function: ScalarFunction, tolerance: float) -> PoleExpansion:
    """A sum over poles whose derivative, too, is that of f on the spectrum of A.

    Raises:
        SimkitError: there is none for this function of a matrix that is not symmetric.
        NotConvergedError: the derivative misses the tolerance.
    """
    if function.entire:
        expansion = _contour(matrix, function, 1e-2 * tolerance)
        error = expansion.error
    else:
        expansion = expansion_for(matrix, function, max(1e-4 * tolerance, FINEST))
        exact = function is INVERSE
        error = 0.0 if exact else slope_deviation(expansion, function, *matrix.interval(definite=True))
    if not error <= tolerance:
        raise NotConvergedError(
            f"derivatives of {function.name} by the matrix would be wrong by {error:.1e}, more than {tolerance:.1e}: "
            "ask for less, take smaller steps, or a dense matrix"
        )
    return expansion


def _attempts(
    matrix: SparseMatrix, function: ScalarFunction, vector: Tensor, method: Method, tolerance: float
) -> Iterator[Callable[[], Applied]]:
    """The methods to try, best first."""
    polynomial = matrix.norm <= LARGEST_NORM or not function.entire
    if method == "krylov" or (method == "auto" and polynomial and function is not INVERSE):
        yield lambda: krylov(
            matrix.times,
            function,
            vector,
            tolerance=tolerance,
            largest=LARGEST_BASIS,
            symmetric=matrix.symmetric,
        )
    if method == "shift-invert" or (method == "auto" and function.entire):
        _require_entire(function, "shift-invert")
        yield lambda: shift_invert(matrix, function, vector, tolerance=tolerance, largest=LARGEST_BASIS)
    if method in ("contour", "poles") or (method == "auto" and (matrix.symmetric or function is INVERSE)):
        if method == "contour":
            _require_entire(function, "contour")
        yield lambda: _by_poles(matrix, function, vector, method, tolerance)
    if function.entire and method in ("auto", "krylov"):
        yield lambda: in_steps(matrix, function, vector, tolerance)


def _require_entire(function: ScalarFunction, method: str) -> None:
    if not function.entire:
        raise SimkitError(f"the method '{method}' is for exp and φ_k, not for {function.name}: use 'poles' or 'krylov'")


def _by_poles(
    matrix: SparseMatrix, function: ScalarFunction, vector: Tensor, method: Method, tolerance: float
) -> Applied:
    """With an expansion that is more exact, if the result is much smaller than b."""
    for share in (1e-1, 1e-4):
        if method == "contour":
            expansion = _contour(matrix, function, share * tolerance)
        else:
            expansion = expansion_for(matrix, function, max(share * tolerance, FINEST))
        name = "contour" if method == "contour" else "poles"
        found = by_poles(matrix, function, expansion, vector, tolerance=tolerance, name=name)
        if found.converged:
            break
    return found


def _contour(matrix: SparseMatrix, function: ScalarFunction, tolerance: float) -> PoleExpansion:
    """The contour of fewest nodes that reaches the tolerance on the numerical range, or the best one."""
    best: PoleExpansion | None = None
    for nodes in range(FEWEST_NODES, MOST_NODES, 4):
        contour = talbot(function, nodes)
        contour = replace(contour, error=deviation(contour, function, *matrix.numerical_range))
        if best is None or contour.error < best.error:
            best = contour
        if best.error <= tolerance:
            break
    assert best is not None
    return best


def in_steps(matrix: SparseMatrix, function: ScalarFunction, vector: Tensor, tolerance: float) -> Applied:
    """``e^A b = (e^{A/s})^s b``; ``φ_k(A) b`` as a part of the exponential of a matrix with k more rows.

    Reference: A. H. Al-Mohy, N. J. Higham, SIAM J. Sci. Comput. 33, 488 (2011), theorem 2.1, doi:10.1137/100788860.
    """
    assert function.order is not None
    larger, start = (matrix, vector) if function.order == 0 else _augmented(matrix, function.order, vector)
    steps = math.ceil(larger.norm / NORM_OF_STEP)
    small = SparseMatrix(larger.csr / steps)
    state, error, work = start, 0.0, 0
    for _ in range(steps):
        one = krylov(
            small.times, EXP, state, tolerance=tolerance / steps, largest=LARGEST_BASIS, symmetric=small.symmetric
        )
        error, work, state = error + one.error * float(one.values.norm()), work + one.work, one.values
        if not one.converged:
            return Applied(vector, math.inf, f"krylov in {steps} steps", work, False)
    values = state[: matrix.n]
    error = error / max(scale_of(function, values, vector), 1e-300)
    return Applied(values, error, f"krylov in {steps} steps", work, error <= tolerance)


def _augmented(matrix: SparseMatrix, order: int, vector: Tensor) -> tuple[SparseMatrix, Tensor]:
    """``[[A, b e₁ᵀ], [0, J]]`` and the last unit vector, scaled so that b does not increase the norm."""
    scale = max(float(vector.abs().sum()), 1e-300)
    column = scipy.sparse.csr_array(vector.numpy()[:, None] / scale)
    empty = scipy.sparse.csr_array((matrix.n, order - 1))
    shift = scipy.sparse.csr_array(np.eye(order, k=1))
    blocks = [[matrix.csr, scipy.sparse.hstack([column, empty])], [None, shift]]
    start = torch.zeros(matrix.n + order, dtype=vector.dtype)
    start[-1] = scale
    return SparseMatrix(scipy.sparse.csr_array(scipy.sparse.block_array(blocks))), start
