"""A Gaussian posterior of weights from its precision: variances and draws."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from simkit.errors import SimkitError

SMALLEST_JITTER = 1e-20
LARGEST_JITTER = 1e10


def cholesky(
    precision: Float[Tensor, "weights weights"], jitter: float | None = None
) -> tuple[Float[Tensor, "weights weights"], float]:
    """The lower factor L of ``A + jitter·1 = L Lᵀ``, and the jitter.

    Args:
        precision: A, in float64.
        jitter: what to add; the smallest of 0, 1e-20, 1e-19, ... with which the factorisation succeeds if absent.

    Raises:
        SimkitError: A is not finite, or not positive definite with the jitter that was asked for.
    """
    if not bool(torch.isfinite(precision).all()):
        raise SimkitError("the precision of the weights is not finite: check the features and the data")
    unit = torch.eye(len(precision), dtype=precision.dtype, device=precision.device)
    tried = [jitter] if jitter is not None else [0.0, *_powers()]
    for value in tried:
        factor, failed = torch.linalg.cholesky_ex(precision + value * unit)
        if not int(failed):
            return factor, value
    raise SimkitError(
        f"the precision of the weights is not positive definite with a jitter of {tried[-1]:g}: "
        "give more data, a larger jitter, or none to have it chosen"
    )


def _powers() -> list[float]:
    powers, value = [], SMALLEST_JITTER
    while value <= LARGEST_JITTER:
        powers.append(value)
        value *= 10
    return powers


def variances(rows: Float[Tensor, "*rows weights"], factor: Float[Tensor, "weights weights"]) -> Float[Tensor, "*rows"]:
    """``g (L Lᵀ)⁻¹ gᵀ`` of each row g; can be differentiated."""
    flat = rows.reshape(-1, rows.shape[-1])
    return torch.linalg.solve_triangular(factor, flat.T, upper=False).square().sum(0).view(rows.shape[:-1])


def draw_weights(factor: Float[Tensor, "weights weights"], draws: int, seed: int) -> Float[Tensor, "draws weights"]:
    """Changes of the weights ``L⁻ᵀ z`` with the covariance ``(L Lᵀ)⁻¹``, moved so that their mean is zero."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(len(factor), draws, generator=generator, dtype=torch.float64).to(factor.device)
    changes = torch.linalg.solve_triangular(factor.mT, noise, upper=True).T
    return changes - changes.mean(0)


class Float64(nn.Module):
    """Buffers that stay in float64 when a model is converted to another floating-point type."""

    def __init__(self, **buffers: Tensor) -> None:
        super().__init__()
        for name, value in buffers.items():
            self.register_buffer(name, value.double().contiguous())

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Float64:
        exact = {name: value for name, value in self.named_buffers(recurse=False)}
        super()._apply(fn, recurse)
        for name, value in exact.items():
            setattr(self, name, value.to(self.get_buffer(name).device))
        return self
