"""``f(A) b``: the one function that all users of matrix functions call."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import numpy as np
import scipy.sparse
import torch
from jaxtyping import Float
from torch import Tensor

from simkit.errors import SimkitError
from simkit.solvers.matrix_functions.choice import (
    Method,
    NotConvergedError,
    apply_sparse,
    expansion_for,
    expansion_for_derivatives,
)
from simkit.solvers.matrix_functions.dense import dense_function
from simkit.solvers.matrix_functions.matrices import Sparse, SparseMatrix, solve
from simkit.solvers.matrix_functions.outcome import Applied
from simkit.solvers.matrix_functions.scalar_functions import ScalarFunction
from simkit.solvers.matrix_functions.selected_inversion import function_diagonal

Matrix = Tensor | Sparse | SparseMatrix
"""Dense tensors in batches, sparse CSR tensors of torch, or sparse matrices of scipy."""


def matrix_function(
    matrix: Matrix,
    function: ScalarFunction,
    vector: Float[Tensor, "*batch n"],
    *,
    method: Method = "auto",
    tolerance: float = 1e-8,
) -> Applied:
    """``f(A) b`` with an estimate of its error, which never exceeds the tolerance.

    Dense matrices: by eigenvectors if symmetric, else by the algorithms of SciPy for each function; in batches, on the
    tensor's device. Sparse matrices, on the CPU in float64:

    - ``krylov``: polynomial subspaces; needs products only; best for ``‖A‖₁`` below 100;
    - ``shift-invert``: subspaces of ``(z - A)^{-1}``; exp and φ_k of matrices with a spectrum near the negative axis;
    - ``contour``: exp and φ_k by Talbot's contour, one sparse factorisation for each node;
    - ``poles``: any function of a symmetric matrix, by poles fitted on the interval of its eigenvalues;
    - ``auto``: tries those that apply until one reaches the tolerance.

    Results can be differentiated by b, and by A if it is a tensor, dense or sparse.

    Args:
        matrix: A.
        function: f; see :mod:`simkit.solvers.matrix_functions.scalar_functions`.
        vector: b; for a dense batch, one vector for each matrix.
        method: for sparse matrices.
        tolerance: largest error relative to the norm of the result; for the exponential, to that of b if it is larger.

    Raises:
        NotConvergedError: no method reached the tolerance.
        SimkitError: shapes or types that do not go together, or a method that does not apply.
    """
    if isinstance(matrix, Tensor) and matrix.layout == torch.strided:
        return _dense(matrix, function, vector, tolerance)
    sparse, entries = _sparse(matrix)
    if vector.shape != (sparse.n,) or vector.dtype != torch.float64 or vector.device.type != "cpu":
        raise SimkitError(
            f"expected a vector of {sparse.n} numbers in float64 on the CPU beside a sparse matrix; found "
            f"{tuple(vector.shape)} in {vector.dtype} on {vector.device}"
        )
    if not bool(torch.isfinite(vector).all()):
        raise SimkitError("expected finite entries of the vector, found NaN or infinity")
    found = apply_sparse(sparse, function, vector.detach(), method, tolerance)
    if not torch.is_grad_enabled() or not (vector.requires_grad or entries.requires_grad):
        return found
    values = cast(Tensor, _Attached.apply(entries, vector, found.values, sparse, function, tolerance))
    return replace(found, values=values)


def matrix_function_diagonal(
    matrix: Sparse | SparseMatrix | Tensor, function: ScalarFunction, *, tolerance: float = 1e-8
) -> Float[Tensor, " n"]:
    """``diag f(A)`` of a symmetric sparse matrix, by selected inversion at the poles of f.

    Args:
        matrix: A.
        function: f.
        tolerance: largest error relative to the largest value of f on the spectrum.

    Raises:
        SimkitError: the matrix is not symmetric, or f has no expansion on its spectrum.
    """
    sparse, _ = _sparse(matrix)
    return torch.from_numpy(function_diagonal(sparse, expansion_for(sparse, function, tolerance)))


class _Attached(torch.autograd.Function):
    """Known values of ``f(A) b``, with derivatives by b and by the entries of A.

    With gradient g: ``∂/∂b = f(Aᵀ) g``, and ``∂/∂A_ij = Re Σ_s w_s [(z_s - Aᵀ)^{-1} g]_i [(z_s - A)^{-1} b]_j``.
    """

    @staticmethod
    def forward(
        ctx: Any,
        entries: Tensor,
        vector: Tensor,
        values: Tensor,
        matrix: SparseMatrix,
        function: ScalarFunction,
        tolerance: float,
    ) -> Tensor:
        ctx.save_for_backward(vector)
        ctx.matrix, ctx.function, ctx.tolerance = matrix, function, tolerance
        return values.clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (vector,) = ctx.saved_tensors
        by_vector = by_entries = None
        gradient = gradient.contiguous()
        if ctx.needs_input_grad[1]:
            by_vector = apply_sparse(ctx.matrix.transposed, ctx.function, gradient, "auto", ctx.tolerance).values
        if ctx.needs_input_grad[0]:
            by_entries = _by_entries(ctx.matrix, ctx.function, vector, gradient, ctx.tolerance)
        return by_entries, by_vector, None, None, None, None


def _by_entries(
    matrix: SparseMatrix, function: ScalarFunction, vector: Tensor, gradient: Tensor, tolerance: float
) -> Tensor:
    """The derivative by every stored entry."""
    expansion = expansion_for_derivatives(matrix, function, tolerance)
    rows, columns = matrix.csr.tocoo().coords
    derivative = np.zeros(len(rows))
    for pole, weight in zip(expansion.poles, expansion.weights, strict=True):
        factors = matrix.shifted(complex(pole))
        right, left = solve(factors, vector.numpy()), solve(factors, gradient.numpy(), transposed=True)
        derivative += (weight * left[rows] * right[columns]).real
    return torch.from_numpy(derivative)


def _dense(matrix: Tensor, function: ScalarFunction, vector: Tensor, tolerance: float) -> Applied:
    n = matrix.shape[-1]
    if matrix.dim() < 2 or matrix.shape[-2] != n or vector.shape != matrix.shape[:-1]:
        raise SimkitError(
            f"expected square matrices and a vector for each, found shapes {tuple(matrix.shape)} and "
            f"{tuple(vector.shape)}"
        )
    values = (dense_function(matrix, function) @ vector[..., None])[..., 0]
    if not bool(torch.isfinite(values).all()):
        raise SimkitError(f"{function.name} of the matrix is not finite: look at its eigenvalues, or scale it")
    error = n * torch.finfo(matrix.dtype).eps
    if error > tolerance:
        raise NotConvergedError(
            f"{matrix.dtype} cannot reach the relative error {tolerance:.1e}: use float64, or ask for {error:.0e}"
        )
    return Applied(values, error, "dense", 0, True)


def _sparse(matrix: Matrix) -> tuple[SparseMatrix, Tensor]:
    """The matrix in SciPy, and its entries as a tensor that may require gradients."""
    if isinstance(matrix, SparseMatrix):
        return matrix, torch.from_numpy(matrix.csr.data)
    if not isinstance(matrix, Tensor):
        return _sparse(SparseMatrix.of(matrix))
    if matrix.layout != torch.sparse_csr or matrix.dtype != torch.float64 or matrix.device.type != "cpu":
        raise SimkitError(
            f"expected a sparse CSR tensor in float64 on the CPU, found {matrix.layout} in {matrix.dtype} on "
            f"{matrix.device}: convert it with matrix.to_sparse_csr().double().cpu()"
        )
    parts = (matrix.values().detach(), matrix.col_indices(), matrix.crow_indices())
    csr = scipy.sparse.csr_array(tuple(part.numpy() for part in parts), shape=tuple(matrix.shape))
    if not csr.has_canonical_format:
        raise SimkitError("expected a sparse CSR tensor with sorted columns and without duplicates: coalesce it first")
    SparseMatrix.of(csr)
    return SparseMatrix(csr), matrix.values()
