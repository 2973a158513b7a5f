"""Krylov subspaces: a function of a large matrix times a vector, from a small matrix."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from simkit.solvers.matrix_functions.outcome import Applied
from simkit.solvers.matrix_functions.scalar_functions import ScalarFunction, phi

CHECK_EVERY = 3
"""Basis vectors between two looks at the error."""
BREAKDOWN = 1e-14
"""Relative norm of a new basis vector below which the subspace is invariant and the result exact."""


@dataclass(frozen=True)
class Subspace:
    """An orthonormal basis V and the projection ``H = Vᵀ A V`` of the matrix.

    Attributes:
        basis: columns are basis vectors.
        projection: H.
        next: norm of the next basis vector before it is normalised.
        closed: whether ``A V = V H``, so that functions of H give those of A without error.
    """

    basis: Float[Tensor, "n m"]
    projection: Float[ndarray, "m m"]
    next: float
    closed: bool


def subspaces(
    apply: Callable[[Float[Tensor, " n"]], Float[Tensor, " n"]],
    start: Float[Tensor, " n"],
    largest: int,
    symmetric: bool,
) -> Iterator[Subspace]:
    """Arnoldi's subspaces of growing size, every few vectors; the basis is orthogonalised twice.

    Args:
        apply: the matrix times a vector.
        start: first vector, not zero.
        largest: number of vectors at most.
        symmetric: whether the matrix is, so that H is made exactly symmetric.
    """
    largest = min(largest, len(start))
    basis = start.new_zeros(len(start), largest)
    projection = np.zeros((largest, largest))
    basis[:, 0] = start / start.norm()
    for m in range(1, largest + 1):
        vector = apply(basis[:, m - 1])
        size = float(vector.norm())
        column = torch.zeros(m, dtype=start.dtype, device=start.device)
        for _ in range(2):
            along = basis[:, :m].T @ vector
            vector = vector - basis[:, :m] @ along
            column += along
        projection[:m, m - 1] = column.numpy(force=True)
        rest = float(vector.norm())
        closed = rest <= BREAKDOWN * max(size, 1e-300) or m == len(start)
        if closed or m == largest or m % CHECK_EVERY == 0:
            small = projection[:m, :m]
            yield Subspace(basis[:, :m], 0.5 * (small + small.T) if symmetric else small.copy(), rest, closed)
        if closed or m == largest:
            return
        projection[m, m - 1] = rest
        basis[:, m] = vector / rest


def krylov(
    apply: Callable[[Float[Tensor, " n"]], Float[Tensor, " n"]],
    function: ScalarFunction,
    vector: Float[Tensor, " n"],
    *,
    tolerance: float,
    largest: int,
    symmetric: bool,
    transform: Callable[[Float[ndarray, "m m"]], Float[ndarray, "m m"]] | None = None,
    name: str = "krylov",
) -> Applied:
    """``f(A) b ≈ ‖b‖ V f(H) e₁`` from a Krylov subspace of A and b.

    The error is estimated by the difference from the subspace a few vectors smaller, which is the error of that one;
    it must be small twice in a row. For exp and φ_k of A itself it is at least the first term of the error's series,
    ``‖b‖ h_{m+1,m} |e_mᵀ φ_{k+1}(H) e₁|``, which is large as long as the subspace knows no slow modes.

    Args:
        apply: A, or a function of it, times a vector.
        function: f.
        vector: b.
        tolerance: relative error at which to stop.
        largest: number of basis vectors at most.
        symmetric: whether A is.
        transform: from the projection of what ``apply`` multiplies by to the projection of A.
        name: of the method.

    Reference: Y. Saad, SIAM J. Numer. Anal. 29, 209 (1992), doi:10.1137/0729014.
    """
    norm = float(vector.norm())
    if norm == 0:
        return Applied(torch.zeros_like(vector), 0.0, name, 0, True)
    before, errors = np.zeros(0), [math.inf]
    for subspace in subspaces(apply, vector, largest, symmetric):
        m = len(subspace.projection)
        projection = subspace.projection if transform is None else transform(subspace.projection)
        column = norm * _first_column(function, projection, symmetric)
        error = float(np.linalg.norm(column - np.pad(before, (0, m - len(before)))))
        if transform is None and function.order is not None:
            following = _first_column(phi(function.order + 1), projection, symmetric)
            error = max(error, norm * subspace.next * abs(float(following[-1])))
        scale = max(float(np.linalg.norm(column)), norm if function.order == 0 else 1e-300)
        rounding = 1e-15 * m
        errors.append(rounding if subspace.closed else max(error / scale, rounding))
        done = subspace.closed or max(errors[-2:]) <= tolerance
        if done or m == min(largest, len(vector)):
            values = subspace.basis @ torch.as_tensor(column, dtype=vector.dtype, device=vector.device)
            return Applied(values, errors[-1], name, m, done)
        before = column
    raise AssertionError("a subspace has at least one vector")


def _first_column(function: ScalarFunction, projection: Float[ndarray, "m m"], symmetric: bool) -> ndarray:
    """The first column of f(H)."""
    if symmetric:
        eigenvalues, vectors = np.linalg.eigh(projection)
        return (vectors * function.values(eigenvalues.astype(complex)).real) @ vectors[0]
    return np.real(function.of_matrix(projection)[:, 0])
