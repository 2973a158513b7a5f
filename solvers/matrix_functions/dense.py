"""Functions of small dense matrices, in batches, with derivatives."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from simkit.solvers.matrix_functions.scalar_functions import ScalarFunction

CLOSE = 1e-5
"""Relative distance of eigenvalues below which a divided difference is taken as the derivative between them."""


def dense_function(matrix: Float[Tensor, "*batch n n"], function: ScalarFunction) -> Float[Tensor, "*batch n n"]:
    """``f(A)`` of each matrix of a batch; can be differentiated once by A.

    Symmetric matrices by their eigenvectors, where they are; the derivative in the direction E is
    ``Q (F ∘ QᵀEQ) Qᵀ`` with divided differences ``F_ij = (f(λ_i) - f(λ_j)) / (λ_i - λ_j)``, which are finite for equal
    eigenvalues too. Other matrices in NumPy; the derivative is a block of ``f([[A, E], [0, A]])``.

    Raises:
        SimkitError: f cannot be had from the Schur form of a matrix whose eigenvalues lie close together.

    Reference: N. J. Higham, Functions of Matrices, SIAM (2008), theorems 3.6 and 3.11.
    """
    if bool((matrix == matrix.mT).all()):
        return cast(Tensor, _OfSymmetric.apply(matrix, function))
    return cast(Tensor, _OfGeneral.apply(matrix, function))


class _OfSymmetric(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, matrix: Tensor, function: ScalarFunction) -> Tensor:
        eigenvalues, vectors = torch.linalg.eigh(matrix)
        values = _values(function, eigenvalues)
        ctx.save_for_backward(eigenvalues, vectors, values)
        ctx.function = function
        return (vectors * values[..., None, :]) @ vectors.mT

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        eigenvalues, vectors, values = ctx.saved_tensors
        differences = eigenvalues[..., :, None] - eigenvalues[..., None, :]
        close = differences.abs() <= CLOSE * eigenvalues.abs().amax(-1)[..., None, None].clamp(min=1e-300)
        middle = 0.5 * (eigenvalues[..., :, None] + eigenvalues[..., None, :])
        quotients = (values[..., :, None] - values[..., None, :]) / torch.where(close, 1, differences)
        divided = torch.where(close, _slopes(ctx.function, middle), quotients)
        return vectors @ (divided * (vectors.mT @ gradient @ vectors)) @ vectors.mT, None


class _OfGeneral(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, matrix: Tensor, function: ScalarFunction) -> Tensor:
        ctx.save_for_backward(matrix)
        ctx.function = function
        return _one_by_one(function, matrix)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (matrix,) = ctx.saved_tensors
        n = matrix.shape[-1]
        upper = torch.cat([matrix.mT, gradient], -1)
        lower = torch.cat([torch.zeros_like(gradient), matrix.mT], -1)
        return _one_by_one(ctx.function, torch.cat([upper, lower], -2))[..., :n, n:], None


def _values(function: ScalarFunction, points: Tensor) -> Tensor:
    found = function.values(points.numpy(force=True).astype(complex)).real
    return torch.as_tensor(found, dtype=points.dtype, device=points.device)


def _slopes(function: ScalarFunction, points: Tensor) -> Tensor:
    """Derivatives by a step into the complex plane, exact to rounding."""
    step = 1e-20
    found = function.values(points.numpy(force=True) + 1j * step).imag / step
    return torch.as_tensor(found, dtype=points.dtype, device=points.device)


def _one_by_one(function: ScalarFunction, matrices: Tensor) -> Tensor:
    n = matrices.shape[-1]
    stack = matrices.numpy(force=True).astype(float).reshape(-1, n, n)
    found = np.stack([np.real(function.of_matrix(one)) for one in stack]) if len(stack) else stack
    return torch.as_tensor(found, dtype=matrices.dtype, device=matrices.device).reshape(matrices.shape)
