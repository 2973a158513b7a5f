"""Selected entries of the inverse of a sparse matrix: those on its diagonal, without the inverse."""

from __future__ import annotations

import numpy as np
import scipy.sparse
from jaxtyping import Shaped
from numpy import ndarray
from scipy.sparse.linalg import splu

from simkit.errors import SimkitError
from simkit.solvers.matrix_functions.matrices import SparseMatrix
from simkit.solvers.matrix_functions.poles import PoleExpansion


def inverse_diagonal(matrix: scipy.sparse.csc_array) -> Shaped[ndarray, " n"]:
    """``diag(A^{-1})`` of a symmetric (if complex: not Hermitian) matrix from its factors ``A = L D Lᵀ``.

    From the last column to the first, with the rows S below the diagonal where L has entries in column j:
    ``Z_Sj = -Z_SS L_Sj`` and ``Z_jj = 1/D_j - L_Sjᵀ Z_Sj``. All entries ``Z_SS`` are in the pattern of L.

    Raises:
        SimkitError: the matrix is singular, or its factors need pivots off the diagonal.

    Reference: K. Takahashi, J. Fagan, M.-S. Chin, Proc. 8th PICA Conf. (1973); A. M. Erisman, W. F. Tinney, Commun.
    ACM 18, 177 (1975), doi:10.1145/360680.360704.
    """
    try:
        factors = splu(
            matrix, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True, "Equil": False}
        )
    except RuntimeError as error:
        raise SimkitError("expected a matrix that has an inverse, found a singular one") from error
    if not np.array_equal(factors.perm_r, factors.perm_c):
        raise SimkitError("expected a matrix whose factors need no pivots off the diagonal: shift it")
    lower = scipy.sparse.csc_array(factors.L)
    lower.sort_indices()
    pivots = factors.U.diagonal()
    n = len(pivots)
    starts, rows, values = lower.indptr, lower.indices.astype(np.int64), lower.data
    keys = np.repeat(np.arange(n), np.diff(starts)) * n + rows
    inverse = np.zeros(len(rows), dtype=values.dtype)
    for j in range(n - 1, -1, -1):
        below = slice(starts[j] + 1, starts[j + 1])
        pattern, column = rows[below], values[below]
        first, second = np.minimum.outer(pattern, pattern), np.maximum.outer(pattern, pattern)
        block = inverse[np.searchsorted(keys, (first * n + second).ravel())].reshape(first.shape)
        entries = -block @ column
        inverse[below] = entries
        inverse[starts[j]] = 1 / pivots[j] - column @ entries
    return inverse[starts[:-1]][factors.perm_c]


def function_diagonal(matrix: SparseMatrix, expansion: PoleExpansion) -> Shaped[ndarray, " n"]:
    """``diag f(A)`` of a symmetric matrix: a sum over poles of diagonals of shifted inverses.

    Raises:
        SimkitError: the matrix is not symmetric.
    """
    if not matrix.symmetric:
        raise SimkitError("the diagonal of a function is there for symmetric matrices only")
    diagonal = np.full(matrix.n, expansion.constant)
    for pole, weight in zip(expansion.poles, expansion.weights, strict=True):
        kind = np.float64 if pole.imag == 0 else np.complex128
        shift = scipy.sparse.identity(matrix.n, dtype=kind, format="csc") * (pole.real if pole.imag == 0 else pole)
        shifted = scipy.sparse.csc_array(shift - matrix.csr.astype(kind))
        diagonal = diagonal + (weight * inverse_diagonal(shifted)).real
    return diagonal
