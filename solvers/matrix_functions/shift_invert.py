"""Krylov subspaces of a shifted inverse, and sums over poles: for matrices of large norm."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from simkit.solvers.matrix_functions.krylov import krylov
from simkit.solvers.matrix_functions.matrices import SparseMatrix, solve
from simkit.solvers.matrix_functions.outcome import Applied, scale_of
from simkit.solvers.matrix_functions.poles import PoleExpansion
from simkit.solvers.matrix_functions.scalar_functions import ScalarFunction

POLE = 10.0
"""The real pole for exp and ``φ_k`` of matrices with a spectrum on the negative axis, for errors of 1e-6 to 1e-10."""


def shift_invert(
    matrix: SparseMatrix, function: ScalarFunction, vector: Float[Tensor, " n"], *, tolerance: float, largest: int
) -> Applied:
    """``f(A) b`` from the Krylov subspace of ``S = (z - A)^{-1}``, with z = 10, by one factorisation.

    The projection of A is ``z - H_S^{-1}``.

    Args:
        matrix: A, with a spectrum near the negative real axis.
        function: the exponential or ``φ_k``.
        vector: b.
        tolerance: relative error at which to stop.
        largest: number of basis vectors at most.

    Reference: J. van den Eshof, M. Hochbruck, SIAM J. Sci. Comput. 27, 1438 (2006), doi:10.1137/040605461.
    """
    factors = matrix.shifted(complex(POLE))

    def projected(inverse: Float[ndarray, "m m"]) -> Float[ndarray, "m m"]:
        return POLE * np.eye(len(inverse)) - np.linalg.inv(inverse)

    return krylov(
        lambda v: torch.from_numpy(solve(factors, v.numpy())),
        function,
        vector,
        tolerance=tolerance,
        largest=largest,
        symmetric=matrix.symmetric,
        transform=projected,
        name="shift-invert",
    )


def by_poles(
    matrix: SparseMatrix,
    function: ScalarFunction,
    expansion: PoleExpansion,
    vector: Float[Tensor, " n"],
    *,
    tolerance: float,
    name: str,
) -> Applied:
    """``constant b + Re Σ_s w_s (z_s - A)^{-1} b``: one factorisation and solve for each pole.

    For a symmetric matrix the error is at most that of the expansion times ``‖b‖``; for others, whose numerical range
    is where the expansion was made for, ``1 + √2`` times that.

    Reference: M. Crouzeix, C. Palencia, SIAM J. Matrix Anal. Appl. 38, 649 (2017), doi:10.1137/17M1116672.
    """
    b = vector.numpy()
    values = expansion.constant * b
    for pole, weight in zip(expansion.poles, expansion.weights, strict=True):
        values = values + (weight * solve(matrix.shifted(complex(pole)), b)).real
    found = torch.from_numpy(values)
    factor = 1.0 if matrix.symmetric else 1 + 2**0.5
    error = factor * expansion.error * float(vector.norm()) / max(scale_of(function, found, vector), 1e-300)
    return Applied(found, error, name, len(expansion.poles), error <= tolerance)
