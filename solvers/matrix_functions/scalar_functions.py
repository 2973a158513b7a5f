"""Functions of one variable that are applied to matrices."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.linalg
from jaxtyping import Float, Inexact
from numpy import ndarray

from simkit.errors import SimkitError

TAYLOR_TERMS = 24
"""Terms after which the series of ``φ_k`` in the unit disc is exact to rounding."""


@dataclass(frozen=True)
class ScalarFunction:
    """A function, analytic on the spectrum of the matrices that it is applied to.

    Attributes:
        name: for messages.
        values: of complex numbers, elementwise.
        of_matrix: of a small dense matrix.
        entire: whether it is analytic everywhere and decays towards minus infinity, as the exponential does.
        order: k if this is ``φ_k``, 0 for the exponential, None for all others.
    """

    name: str
    values: Callable[[Inexact[ndarray, "*shape"]], Inexact[ndarray, "*shape"]]
    of_matrix: Callable[[Float[ndarray, "n n"]], ndarray]
    entire: bool = False
    order: int | None = None


def phi_values(k: int, z: Inexact[ndarray, "*shape"]) -> Inexact[ndarray, "*shape"]:
    """``φ_0 = e^z``, ``φ_k(z) = (φ_{k-1}(z) - 1/(k-1)!) / z``; by the series ``Σ_j z^j / (j+k)!`` where |z| < 1."""
    z = np.asarray(z, dtype=complex)
    small = np.abs(z) < 1
    inside = np.where(small, z, 0)
    series = np.zeros_like(z)
    for j in reversed(range(TAYLOR_TERMS)):
        series = series * inside + 1 / math.factorial(j + k)
    outside = np.where(small, 1, z)
    recurrence = np.exp(outside)
    for j in range(1, k + 1):
        recurrence = (recurrence - 1 / math.factorial(j - 1)) / outside
    return np.where(small, series, recurrence)


def phi_of_matrix(k: int, matrix: ndarray) -> ndarray:
    """``φ_k`` of a dense matrix, as a block of the exponential of an augmented one.

    ``exp [[A, I, 0], [0, 0, I], [0, 0, 0]]`` has ``φ_k(A)`` in its upper right corner.

    Reference: A. H. Al-Mohy, N. J. Higham, SIAM J. Sci. Comput. 33, 488 (2011), doi:10.1137/100788860.
    """
    n = len(matrix)
    augmented = np.zeros(((k + 1) * n, (k + 1) * n), dtype=matrix.dtype)
    augmented[:n, :n] = matrix
    for block in range(k):
        augmented[block * n : (block + 1) * n, (block + 1) * n : (block + 2) * n] = np.eye(n)
    return scipy.linalg.expm(augmented)[:n, k * n :]


def phi(k: int) -> ScalarFunction:
    """``φ_k(z) = Σ_j z^j / (j+k)!``, of which exponential integrators are made; ``φ_0`` is the exponential.

    Raises:
        SimkitError: k is negative.

    Reference: M. Hochbruck, A. Ostermann, Acta Numer. 19, 209 (2010), eq. (2.10), doi:10.1017/S0962492910000048.
    """
    if k < 0:
        raise SimkitError(f"expected φ_k with k >= 0, found k = {k}")
    name = "exp" if k == 0 else f"φ_{k}"
    return ScalarFunction(
        name, lambda z: phi_values(k, z), lambda matrix: phi_of_matrix(k, matrix), entire=True, order=k
    )


def analytic(name: str, values: Callable[[ndarray], ndarray]) -> ScalarFunction:
    """Any function that is analytic on the spectrum, from its values at complex numbers."""
    return ScalarFunction(name, values, lambda matrix: _by_schur(name, values, matrix))


def _by_schur(name: str, values: Callable[[ndarray], ndarray], matrix: ndarray) -> ndarray:
    """By the Schur-Parlett recurrence, which tells how far its result may be wrong."""
    found, error = scipy.linalg.funm(matrix, values, disp=False)
    if not error < 1e-6:
        raise SimkitError(
            f"{name} of a matrix of {len(matrix)} rows cannot be had from its Schur form (relative error {error:.1g}): "
            "its eigenvalues lie too close together. Use a method with poles, e.g. method='poles'"
        )
    return found


def _inverse(matrix: ndarray) -> ndarray:
    return np.linalg.inv(matrix)


def _inverse_sqrt(matrix: ndarray) -> ndarray:
    return np.linalg.inv(scipy.linalg.sqrtm(matrix))


EXP = phi(0)
INVERSE = ScalarFunction("inverse", lambda z: 1 / z, _inverse)
SQRT = ScalarFunction("sqrt", np.sqrt, scipy.linalg.sqrtm)
INVERSE_SQRT = ScalarFunction("inverse sqrt", lambda z: 1 / np.sqrt(z), _inverse_sqrt)
LOG = ScalarFunction("log", np.log, scipy.linalg.logm)
IDENTITY = ScalarFunction("identity", lambda z: z, lambda matrix: matrix)
