"""Clebsch-Gordan coefficients of real spherical harmonics."""

from __future__ import annotations

from functools import cache
from math import factorial, sqrt

import numpy as np
import torch
from jaxtyping import Complex, Float
from torch import Tensor


@cache
def clebsch_gordan(l1: int, l2: int, l3: int) -> Float[Tensor, "m1 m2 m3"]:
    """Coefficients ``⟨l1 m1 l2 m2 | l3 m3⟩`` in the real basis, in float64: ``Σ_{m1 m2} C C' = δ`` for each l3.

    The complex coefficients of Condon and Shortley, transformed by ``Y_complex = (-i)^l Q_l Y_real``, which makes
    them real. If l1 + l2 + l3 is odd, the sign is such that the first coefficient that does not vanish is positive when
    the degrees are in ascending order: trained weights of MACE refer to these signs (e3nn's up to version 0.4.4).
    """
    table = _real(l1, l2, l3)
    if (l1 + l2 + l3) % 2 == 0:
        return table
    ordered = _real(*sorted((l1, l2, l3))).flatten()
    return table * ordered[ordered.abs() > 1e-9][0].sign()


@cache
def _real(l1: int, l2: int, l3: int) -> Float[Tensor, "m1 m2 m3"]:
    table = torch.zeros(2 * l1 + 1, 2 * l2 + 1, 2 * l3 + 1, dtype=torch.complex128)
    for m1 in range(-l1, l1 + 1):
        for m2 in range(max(-l2, -l3 - m1), min(l2, l3 - m1) + 1):
            table[l1 + m1, l2 + m2, l3 + m1 + m2] = _condon_shortley(l1, m1, l2, m2, l3)
    bases = _real_to_complex(l1), _real_to_complex(l2), _real_to_complex(l3).conj()
    return torch.einsum("abc,ai,bj,ck->ijk", table, *bases).real.contiguous()


def _condon_shortley(l1: int, m1: int, l2: int, m2: int, l3: int) -> float:
    """Racah's formula."""
    m3 = m1 + m2
    triangle = factorial(l1 + l2 - l3) * factorial(l1 - l2 + l3) * factorial(l2 + l3 - l1) / factorial(l1 + l2 + l3 + 1)
    orders = 1
    for degree, m in ((l1, m1), (l2, m2), (l3, m3)):
        orders *= factorial(degree + m) * factorial(degree - m)
    total = 0.0
    for k in range(max(0, l2 - l3 - m1, l1 - l3 + m2), min(l1 + l2 - l3, l1 - m1, l2 + m2) + 1):
        arguments = (k, l1 + l2 - l3 - k, l1 - m1 - k, l2 + m2 - k, l3 - l2 + m1 + k, l3 - l1 - m2 + k)
        product = 1
        for argument in arguments:
            product *= factorial(argument)
        total += (-1) ** k / product
    return sqrt((2 * l3 + 1) * triangle * orders) * total


def _real_to_complex(degree: int) -> Complex[Tensor, "complex real"]:
    """Unitary matrix from real to complex harmonics, with the phase ``(-i)^l``."""
    q = np.zeros((2 * degree + 1, 2 * degree + 1), dtype=complex)
    q[degree, degree] = 1
    for m in range(1, degree + 1):
        q[degree - m, degree + m] = sqrt(0.5)
        q[degree - m, degree - m] = -1j * sqrt(0.5)
        q[degree + m, degree + m] = (-1) ** m * sqrt(0.5)
        q[degree + m, degree - m] = 1j * (-1) ** m * sqrt(0.5)
    return torch.as_tensor((-1j) ** degree * q)
