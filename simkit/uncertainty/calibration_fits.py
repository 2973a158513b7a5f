"""Fits of calibration maps to errors on held-out data."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import cast, get_args

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy import optimize

from simkit.uncertainty.calibration_maps import CalibrationMap, GlobalKind, GlobalMap, Isotonic, MapKind, PowerLaw
from simkit.uncertainty.residuals import CalibrationError, Residuals, require_calibratable

FEWEST_MEMBERS = 4
"""Members of a committee for which the variance of ``r/σ`` is finite."""
EXPONENTS = (0.0, 5.0)
"""Range of the exponent of a power law."""
VALUES_PER_BIN = 20
"""Values that are averaged before an isotonic map is fitted."""


def fit_map(
    kind: str,
    errors: Float[ndarray, "draws ..."],
    sigmas: Float[ndarray, "*shape"] | float,
    groups: ndarray | Sequence[object] | None = None,
    *,
    members: int | None = None,
) -> CalibrationMap:
    """Fit a map to errors r on held-out data.

    With averages ⟨⟩ over all errors, the global factors are

    - ``nll``: ``α² = ⟨r²/σ²⟩``, the maximum of the Gaussian likelihood; best where Gaussian intervals are reported;
    - ``mae``: ``α = √(π/2) ⟨|r|/σ⟩``, less sensitive to outliers;
    - ``crps``: the minimum of the continuous ranked probability score;
    - ``ratio``: ``α² = ⟨r²⟩/⟨σ²⟩``, insensitive to tiny σ;
    - ``finite-committee``: ``α² = -1/M + (M-3)/(M-1) ⟨r²/σ²⟩``, the factor for infinitely many members, which the
      samples of a committee of M need; σ must be those of single components, not ``√(tr cov / 3)`` of vectors.

    ``power-law`` and ``isotonic`` maximise the Gaussian likelihood of ``σ_cal = a σ^b`` and of a non-decreasing map.

    Args:
        kind: which of them.
        errors: prediction minus reference; the first axis counts draws.
        sigmas: raw standard deviations, or scores for the local maps.
        groups: trajectory, or any other label of what is independent, of each draw; each draw its own if absent.
        members: M, for ``finite-committee``.

    Raises:
        CalibrationError: nothing can be fitted; its subclasses say why.

    Warns:
        SimkitWarning: fewer than five independent groups.

    References: F. Musil et al., J. Chem. Theory Comput. 15, 906 (2019), doi:10.1021/acs.jctc.8b00959; G. Imbalzano et
    al., J. Chem. Phys. 154, 074102 (2021), doi:10.1063/5.0036522 (finite committees).
    """
    known = get_args(MapKind)
    if kind not in known:
        raise CalibrationError(f"expected a map among {', '.join(known)}; found {kind!r}")
    residuals = Residuals.of(errors, sigmas, groups)
    require_calibratable(residuals)
    if kind == "power-law":
        return fit_power_law(residuals)
    if kind == "isotonic":
        return fit_isotonic(residuals)
    if kind == "finite-committee":
        return GlobalMap(finite_committee_factor(residuals, members), "finite-committee", members)
    return GlobalMap(GLOBAL[kind](residuals), cast(GlobalKind, kind))


def nll_factor(residuals: Residuals) -> float:
    """``α² = ⟨r²/σ²⟩``."""
    return float(np.sqrt(np.square(residuals.z).mean()))


def mae_factor(residuals: Residuals) -> float:
    """``α = √(π/2) ⟨|r|/σ⟩``."""
    return float(np.sqrt(0.5 * np.pi) * np.abs(residuals.z).mean())


def ratio_factor(residuals: Residuals) -> float:
    """``α² = ⟨r²⟩/⟨σ²⟩``."""
    return float(np.sqrt(np.square(residuals.errors).mean() / np.square(residuals.sigmas).mean()))


def crps_factor(residuals: Residuals) -> float:
    """The root of ``Σ σ [2 φ(r/(α σ)) - 1/√π] = 0``, where the continuous ranked probability score is smallest.

    Raises:
        CalibrationError: most errors are zero, so that the smallest score is at α = 0.
    """
    squares = np.square(residuals.z)
    weights = residuals.sigmas[:, None] / residuals.sigmas.mean()

    def slope(log_alpha: float) -> float:
        density = np.sqrt(2 / np.pi) * np.exp(-0.5 * squares * np.exp(-2 * log_alpha))
        return float((weights * (density - 1 / np.sqrt(np.pi))).mean())

    centre = math.log(nll_factor(residuals))
    low, high = centre - 1, centre + 1
    while slope(high) < 0:
        high += 1
    while slope(low) > 0 and low > centre - 50:
        low -= 1
    if slope(low) > 0:
        raise CalibrationError(
            "expected errors of which most are not zero, to minimise the CRPS; found too many zeros: use the map 'nll'"
        )
    return math.exp(float(optimize.brentq(slope, low, high, xtol=1e-13)))


def finite_committee_factor(residuals: Residuals, members: int | None) -> float:
    """``α² = -1/M + (M-3)/(M-1) ⟨r²/σ²⟩``.

    Raises:
        CalibrationError: M is not known or less than 4, or the spread of the members exceeds their errors so far that
            the right-hand side is not positive.
    """
    if members is None or members < FEWEST_MEMBERS:
        raise CalibrationError(
            f"the map 'finite-committee' needs at least {FEWEST_MEMBERS} members, found {members}: ⟨r²/σ²⟩ diverges "
            "below. Train more members, or use the map 'ratio'"
        )
    square = (members - 3) / (members - 1) * nll_factor(residuals) ** 2 - 1 / members
    if square <= 0:
        raise CalibrationError(
            f"the errors are smaller than the spread of {members} members explains (α² = {square:.3g}): use the map "
            "'ratio' or 'nll'"
        )
    return math.sqrt(square)


def fit_power_law(residuals: Residuals, exponents: tuple[float, float] = EXPONENTS) -> PowerLaw:
    """``σ_cal = a σ^b`` of largest Gaussian likelihood; for each b, ``a² = ⟨r²/σ^2b⟩``, which leaves one dimension.

    Args:
        residuals: errors and raw scores.
        exponents: range of b.
    """
    scores = np.log(residuals.sigmas)
    centre = float(scores.mean())
    squares = np.square(residuals.errors).mean(1)

    def variance(exponent: float) -> float:
        return float((squares * np.exp(-2 * exponent * (scores - centre))).mean())

    if np.ptp(scores) == 0:
        best = min(max(1.0, exponents[0]), exponents[1])
    else:
        # the logarithm of the variance is convex in b, so the minimum is the only one
        best = optimize.minimize_scalar(
            lambda exponent: math.log(variance(exponent)), bounds=exponents, method="bounded", options={"xatol": 1e-9}
        ).x
    return PowerLaw(math.exp(0.5 * math.log(variance(best)) - best * centre), float(best))


def fit_isotonic(residuals: Residuals, per_bin: int = VALUES_PER_BIN) -> Isotonic:
    """The non-decreasing variance of largest Gaussian likelihood, by pooling adjacent violators.

    Errors are first averaged over bins of ``per_bin`` neighbouring scores, so that its ends are not those of one error.

    Raises:
        CalibrationError: fewer values than two bins have, or a bin of smallest scores without errors.

    Reference: R. E. Barlow et al., Statistical Inference under Order Restrictions, Wiley (1972).
    """
    order = np.argsort(residuals.sigmas, kind="stable")
    bins = len(order) // per_bin
    if bins < 2:
        raise CalibrationError(
            f"an isotonic map needs at least {2 * per_bin} values, found {len(order)}: use the map 'power-law'"
        )
    parts = np.array_split(order, bins)
    scores = np.array([residuals.sigmas[part].mean() for part in parts])
    variances = np.array([np.square(residuals.errors[part]).mean() for part in parts])
    pooled = optimize.isotonic_regression(variances, weights=[len(part) for part in parts]).x
    if pooled[0] <= 0:
        raise CalibrationError(
            "an isotonic map needs errors at the smallest scores, found zeros alone: use the map 'power-law'"
        )
    knots, first = np.unique(scores, return_index=True)
    values = np.sqrt(pooled[first])
    steps = np.diff(values) > 0
    ends = np.concatenate([[True], steps]) | np.concatenate([steps, [True]])  # of pooled blocks
    return Isotonic(tuple(knots[ends].tolist()), tuple(values[ends].tolist()))


GLOBAL: Mapping[str, Callable[[Residuals], float]] = {
    "nll": nll_factor,
    "mae": mae_factor,
    "crps": crps_factor,
    "ratio": ratio_factor,
}
