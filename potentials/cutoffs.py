"""Functions that fall smoothly to zero at a cutoff."""

from __future__ import annotations

import math

from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import hardtanh


def quintic_switch(r: Float[Tensor, " edges"], start: float, end: float) -> Float[Tensor, " edges"]:
    """``1 - 10t³ + 15t⁴ - 6t⁵`` with ``t = (r - start)/(end - start)`` in [0, 1]: twice continuously differentiable."""
    t = _fraction(r, start, end)
    return 1 - t * t * t * (10 - t * (15 - 6 * t))


def quintic_switch_with_slope(
    r: Float[Tensor, " edges"], start: float, end: float
) -> tuple[Float[Tensor, " edges"], Float[Tensor, " edges"]]:
    """:func:`quintic_switch` and its derivative ``-30 t²(1 - t)² / (end - start)`` by r."""
    t = _fraction(r, start, end)
    return 1 - t * t * t * (10 - t * (15 - 6 * t)), (t * (1 - t)).square() * (-30 / (end - start))


def _fraction(r: Float[Tensor, " edges"], start: float, end: float) -> Float[Tensor, " edges"]:
    """Way from ``start`` to ``end``; hardtanh is a clamp whose derivative takes a fraction of the time."""
    return hardtanh((r - start) * (1 / (end - start)), 0.0, 1.0)


def polynomial_envelope(r: Float[Tensor, " edges"], cutoff: float, p: int) -> Float[Tensor, " edges"]:
    """``1 - (p+1)(p+2)/2·u^p + p(p+2)·u^{p+1} - p(p+1)/2·u^{p+2}`` with ``u = r/cutoff``, zero for ``u >= 1``.

    Reference: J. Gasteiger, J. Groß, S. Günnemann, ICLR 2020, arXiv:2003.03123, eq. 8.
    """
    u = r / cutoff
    value = 1 - u**p * ((p + 1) * (p + 2) / 2 - u * (p * (p + 2) - u * (p * (p + 1) / 2)))
    return value * (u < 1)


def cosine_cutoff(r: Float[Tensor, " edges"], cutoff: float) -> Float[Tensor, " edges"]:
    """``½[1 + cos(πr/cutoff)]`` below the cutoff, zero beyond: once continuously differentiable.

    Reference: J. Behler, M. Parrinello, Phys. Rev. Lett. 98, 146401 (2007), doi:10.1103/PhysRevLett.98.146401.
    """
    return 0.5 * (1 + (r * (math.pi / cutoff)).cos()) * (r < cutoff)
