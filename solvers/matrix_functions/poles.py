"""Sums over poles: ``f(z) ≈ Σ_s w_s / (z_s - z)``, so that ``f(A) b`` is a few shifted linear solves."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import numpy as np
from jaxtyping import Complex, Float, Inexact
from numpy import ndarray
from scipy.interpolate import AAA

from simkit.errors import SimkitError
from simkit.solvers.matrix_functions.scalar_functions import ScalarFunction

SAMPLES, MOST_POLES = 600, 60


@dataclass(frozen=True)
class PoleExpansion:
    """``f(z) ≈ constant + Re Σ_s w_s / (z_s - z)`` for real z in an interval, or near a contour's inside.

    Of complex conjugate pairs only one is kept, with twice its weight: matrices and vectors are real, and the real part
    is taken at the end.

    Attributes:
        poles: z_s.
        weights: w_s.
        constant: what the expansion tends to far away.
        error: largest deviation from f where the eigenvalues are; NaN if not known.
    """

    poles: Complex[ndarray, " poles"]
    weights: Complex[ndarray, " poles"]
    constant: float
    error: float

    def __call__(self, z: Inexact[ndarray, "*shape"]) -> Complex[ndarray, "*shape"]:
        """The approximation at points; at complex ones, that for real matrices with such eigenvalues."""
        z = np.asarray(z, dtype=complex)[..., None]
        above = (self.weights / (self.poles - z)).sum(-1)
        below = (self.weights.conj() / (self.poles.conj() - z)).sum(-1)
        return self.constant + 0.5 * (above + below)


def on_interval(function: ScalarFunction, lower: float, upper: float, tolerance: float) -> PoleExpansion:
    """Poles by the AAA algorithm on samples of f, their weights refitted by least squares.

    The partial fractions of AAA's barycentric form lose most digits; least-squares weights at the same poles do not.

    Args:
        function: f, real on the interval.
        lower: end of the interval that holds all eigenvalues.
        upper: the other end.
        tolerance: largest error relative to the largest value of f there.

    Raises:
        SimkitError: f has no finite values there, or cannot be approximated that well.

    Reference: Y. Nakatsukasa, O. Sète, L. N. Trefethen, SIAM J. Sci. Comput. 40, A1494 (2018), doi:10.1137/16M1106122.
    """
    points = interval_samples(lower, upper, SAMPLES)
    with np.errstate(all="ignore"):
        values = function.values(points.astype(complex))
    if not np.isfinite(values).all() or np.abs(values.imag).max() > 1e-12 * np.abs(values).max():
        raise SimkitError(
            f"expected {function.name} to be real and finite for the eigenvalues, between {lower:.3g} and {upper:.3g}: "
            "it is not. Shift the matrix, or choose another function"
        )
    scale = float(np.abs(values).max())
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*(Froissart|AAA)", category=RuntimeWarning)
        found = AAA(points, values.real, rtol=min(tolerance, 1e-6) * 1e-2, max_terms=MOST_POLES)
    poles = _usable(found.poles(), lower, upper)
    expansion = _fitted(function, poles, points, values.real)
    between = interval_samples(lower, upper, 3 * SAMPLES + 1)
    error = float(np.abs(expansion(between) - function.values(between.astype(complex))).max())
    if not error <= tolerance * scale:
        raise SimkitError(
            f"{len(poles)} poles approximate {function.name} between {lower:.3g} and {upper:.3g} within "
            f"{error / scale:.1e} of its largest value only, {tolerance:.1e} was asked for: ask for less"
        )
    return PoleExpansion(expansion.poles, expansion.weights, expansion.constant, error)


def deviation(expansion: PoleExpansion, function: ScalarFunction, real: tuple[float, float], imaginary: float) -> float:
    """Largest ``|r(z) - f(z)|`` on the rectangle ``real ± i imaginary``; infinite if one of the poles is inside.

    The difference is analytic, so that it is largest on the boundary.
    """
    lower, upper = real
    poles = expansion.poles
    if bool(((poles.real >= lower) & (poles.real <= upper) & (np.abs(poles.imag) <= imaginary)).any()):
        return math.inf
    along = interval_samples(lower, upper, SAMPLES) + 1j * imaginary
    across = np.linspace(0, imaginary, SAMPLES) * 1j
    points = np.concatenate([along, lower + across, upper + across])
    return float(np.abs(expansion(points) - function.values(points)).max())


def slope_deviation(expansion: PoleExpansion, function: ScalarFunction, lower: float, upper: float) -> float:
    """Largest ``|r'(z) - f'(z)|`` on an interval relative to the largest ``|f'|``, by steps into the complex plane.

    Derivatives by a symmetric matrix with eigenvalues there are wrong by as much.
    """
    step = 1e-20 * max(abs(lower), abs(upper), 1e-280)
    points = interval_samples(lower, upper, SAMPLES) + 1j * step
    slopes, found = function.values(points).imag / step, expansion(points).imag / step
    return float(np.abs(found - slopes).max() / np.abs(slopes).max())


def interval_samples(lower: float, upper: float, count: int) -> Float[ndarray, " samples"]:
    """Points of an interval, dense at both ends on all scales down to 1e-16 of its length or its distance from zero."""
    length = upper - lower
    if length <= 0:
        return np.full(1, lower)
    smallest = max(1e-16 * max(abs(lower), abs(upper)), 1e-6 * min(abs(lower), abs(upper)), 1e-300)
    near = np.geomspace(min(smallest, 0.1 * length), 0.5 * length, count // 2)
    return np.unique(np.concatenate([[lower], lower + near, upper - near, [upper]]))


def talbot(function: ScalarFunction, nodes: int) -> PoleExpansion:
    """Trapezoidal rule on Talbot's contour, for exp and ``φ_k`` of matrices whose spectrum is near the negative axis.

    ``φ_k(A) = 1/(2πi) ∮ e^z z^{-k} (z - A)^{-1} dz`` on ``z(θ) = N (0.5017 θ cot(0.6407 θ) - 0.6122 + 0.2645 i θ)``;
    the error on the negative axis falls as 3.89^{-N}.

    Args:
        function: the exponential or ``φ_k``.
        nodes: N, an even number; half of them are poles.

    Raises:
        SimkitError: another function.

    Reference: J. A. C. Weideman, SIAM J. Numer. Anal. 44, 2342 (2006), doi:10.1137/050625837.
    """
    if function.order is None:
        raise SimkitError(f"contours are there for exp and φ_k, not for {function.name}: use method='poles'")
    theta = np.pi * np.arange(1, nodes, 2) / nodes
    cot = 1 / np.tan(0.6407 * theta)
    z = nodes * (0.5017 * theta * cot - 0.6122 + 0.2645j * theta)
    slope = nodes * (0.5017 * cot - 0.5017 * 0.6407 * theta / np.sin(0.6407 * theta) ** 2 + 0.2645j)
    weights = -2j / nodes * np.exp(z) * slope / z**function.order
    return PoleExpansion(z, weights, 0.0, math.nan)


def _usable(poles: ndarray, lower: float, upper: float) -> ndarray:
    """One of each conjugate pair, without poles on the interval itself."""
    margin = 1e-13 * max(abs(lower), abs(upper))
    on_axis = np.abs(poles.imag) <= 1e-10 * np.abs(poles)
    inside = on_axis & (poles.real > lower - margin) & (poles.real < upper + margin)
    poles, on_axis = poles[~inside], on_axis[~inside]
    poles = np.where(on_axis, poles.real, poles)
    return poles[poles.imag >= 0]


def _fitted(function: ScalarFunction, poles: ndarray, points: ndarray, values: ndarray) -> PoleExpansion:
    """Least-squares weights and constant; columns are scaled to equal norms."""
    kernels = 1 / (poles - points[:, None])
    complex_pair = poles.imag > 0
    columns = np.hstack([kernels.real, -kernels.imag[:, complex_pair], np.ones((len(points), 1))])
    norms = np.linalg.norm(columns, axis=0)
    solution = np.linalg.lstsq(columns / norms, values, rcond=1e-15)[0] / norms
    count = len(poles)
    weights = solution[:count].astype(complex)
    weights[complex_pair] += 1j * solution[count:-1]
    if not math.isfinite(float(np.abs(solution).max())):
        raise SimkitError(f"the weights of the poles of {function.name} are not finite: ask for a larger tolerance")
    return PoleExpansion(poles, weights, float(solution[-1]), 0.0)
