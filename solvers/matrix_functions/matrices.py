"""Sparse matrices with known structure: products, shifted solves, bounds of the spectrum."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
import scipy.sparse
import torch
from jaxtyping import Float, Inexact
from numpy import ndarray
from scipy.sparse.linalg import ArpackError, SuperLU, eigsh, splu
from torch import Tensor

from simkit.errors import SimkitError

Sparse: TypeAlias = scipy.sparse.sparray | scipy.sparse.spmatrix


@dataclass(frozen=True)
class SparseMatrix:
    """A real square sparse matrix in float64 on the CPU.

    Attributes:
        csr: the matrix, with sorted indices and without duplicates.
    """

    csr: scipy.sparse.csr_array

    @classmethod
    def of(cls, matrix: Sparse) -> SparseMatrix:
        """From any sparse matrix of scipy.

        Raises:
            SimkitError: it is not square, complex, or holds NaN or infinity.
        """
        if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
            raise SimkitError(f"expected a square matrix, found one of shape {matrix.shape}")
        if np.iscomplexobj(matrix):
            raise SimkitError("expected a real matrix, found a complex one: write it as blocks of real ones")
        csr = scipy.sparse.csr_array(matrix, dtype=np.float64, copy=True)
        csr.sum_duplicates()
        if not np.isfinite(csr.data).all():
            raise SimkitError("expected finite entries of the matrix, found NaN or infinity")
        return cls(csr)

    @property
    def n(self) -> int:
        """Number of rows."""
        return self.csr.shape[0]

    @cached_property
    def symmetric(self) -> bool:
        """Whether ``A = Aᵀ`` to rounding."""
        difference = (self.csr - self.csr.T).tocoo().data
        return len(difference) == 0 or float(np.abs(difference).max()) <= 1e-13 * self.norm

    @cached_property
    def norm(self) -> float:
        """``‖A‖₁``, an upper bound of the largest modulus of an eigenvalue."""
        return float(np.abs(self.csr).sum(0).max()) if self.csr.nnz else 0.0

    @cached_property
    def transposed(self) -> SparseMatrix:
        """``Aᵀ``; the matrix itself if it is symmetric."""
        return self if self.symmetric else SparseMatrix(scipy.sparse.csr_array(self.csr.T.tocsr()))

    def times(self, vector: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """``A b``."""
        return torch.from_numpy(self.csr @ vector.numpy())

    def shifted(self, shift: complex) -> SuperLU:
        """Factors of ``z - A``.

        Raises:
            SimkitError: z is an eigenvalue.
        """
        real = shift.imag == 0
        kind = np.float64 if real else np.complex128
        diagonal = scipy.sparse.identity(self.n, dtype=kind, format="csc") * (shift.real if real else shift)
        try:
            return splu(scipy.sparse.csc_array(diagonal - self.csr.astype(kind)))
        except RuntimeError as error:
            raise SimkitError(f"{shift:.6g} is an eigenvalue of the matrix, so it cannot be shifted by it") from error

    def interval(self, definite: bool) -> tuple[float, float]:
        """Bounds of the eigenvalues of a symmetric matrix, as tight as a few products make them.

        Args:
            definite: the function is singular at zero, so that the bound nearest to zero must be of the right sign.
        """
        lower, upper = self._gershgorin()
        if self.n < 3:
            eigenvalues = np.linalg.eigvalsh(self.csr.toarray())
            return float(eigenvalues[0]), float(eigenvalues[-1])
        top = self._end("LA")
        bottom = self._nearest_to_zero() if definite else self._end("SA")
        slack = 1e-9 * max(abs(lower), abs(upper), 1e-300)
        bottom = 0.999 * bottom if definite else bottom - slack
        return max(lower, bottom), min(upper, top + slack)

    @cached_property
    def numerical_range(self) -> tuple[tuple[float, float], float]:
        """A rectangle that holds the numerical range: bounds of the real part, and of the modulus of the imaginary."""
        if self.symmetric:
            return self.interval(definite=False), 0.0
        even = SparseMatrix(scipy.sparse.csr_array(0.5 * (self.csr + self.csr.T)))
        return even.interval(definite=False), float(np.abs(0.5 * (self.csr - self.csr.T)).sum(0).max())

    def _gershgorin(self) -> tuple[float, float]:
        diagonal = self.csr.diagonal()
        radius = np.abs(self.csr).sum(1) - np.abs(diagonal)
        return float((diagonal - radius).min()), float((diagonal + radius).max())

    def _end(self, which: str) -> float:
        try:
            values, vectors = eigsh(self.csr, k=1, which=which, tol=1e-8, v0=_start(self.n), maxiter=50 * self.n)
        except ArpackError:
            return self._gershgorin()[which == "LA"]
        residual = float(np.linalg.norm(self.csr @ vectors[:, 0] - values[0] * vectors[:, 0]))
        return float(values[0]) + (residual if which == "LA" else -residual)

    def _nearest_to_zero(self) -> float:
        try:
            return float(eigsh(self.csr, k=1, sigma=0, which="LM", tol=1e-6, v0=_start(self.n))[0][0])
        except RuntimeError as error:
            raise SimkitError("the matrix is singular, and the function is not finite at zero") from error


def _start(n: int) -> Float[ndarray, " n"]:
    """The same first vector in every call, so that results do not depend on a random state."""
    return np.random.default_rng(0).standard_normal(n)


def solve(factors: SuperLU, vector: ndarray, transposed: bool = False) -> Inexact[ndarray, " n"]:
    """Solution of a shifted system, or of its transpose."""
    kind = np.complex128 if factors.U.dtype.kind == "c" else np.float64
    return factors.solve(vector.astype(kind), "T" if transposed else "N")
