"""How good predicted standard deviations are: likelihood, calibration, ranking of errors.

Every metric takes :class:`~simkit.uncertainty.residuals.Residuals`: rows of errors r, with d components that share one
standard deviation σ each; d = 1 for energies and components, 3 for the force on an atom.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray
from scipy import stats

from simkit.uncertainty.residuals import CalibrationError, Residuals

BINS = 20
"""Bins of equal counts for the calibration error."""
LARGE_ERRORS = 0.05
"""Fraction of the rows whose errors count as large."""
FLAGGED = 0.01
"""Fraction of the rows that are flagged, for the precision."""
MOST_ROWS = 20_000
"""Rows for :func:`spearman_ceiling` and for error bars; more are thinned out evenly."""


def rmse(residuals: Residuals) -> float:
    """``√⟨r²⟩`` of components."""
    return float(np.sqrt(np.square(residuals.errors).mean()))


def mae(residuals: Residuals) -> float:
    """``⟨|r|⟩`` of components."""
    return float(np.abs(residuals.errors).mean())


def z_std(residuals: Residuals) -> float:
    """``√⟨r²/σ²⟩``: 1 if the sizes of σ and errors agree, more if σ is too small."""
    return float(np.sqrt(np.square(residuals.z).mean()))


def sharpness(residuals: Residuals) -> float:
    """``√⟨σ²⟩``: of two calibrated predictions the one with the smaller value says more."""
    return float(np.sqrt(np.square(residuals.sigmas).mean()))


def nll(residuals: Residuals) -> float:
    """``⟨½ r²/σ² + ln σ + ½ ln 2π⟩``: Gaussian negative log likelihood of a component; smaller is better."""
    logs = np.log(residuals.sigmas).mean() + 0.5 * math.log(2 * math.pi)
    return float(0.5 * np.square(residuals.z).mean() + logs)


def crps(residuals: Residuals) -> float:
    """``⟨σ [z (2Φ(z) - 1) + 2φ(z) - 1/√π]⟩``, z = r/σ: continuous ranked probability score; smaller is better.

    Reference: T. Gneiting, A. E. Raftery, J. Am. Stat. Assoc. 102, 359 (2007), doi:10.1198/016214506000001437.
    """
    z = residuals.z
    score = z * (2 * stats.norm.cdf(z) - 1) + 2 * stats.norm.pdf(z) - 1 / math.sqrt(math.pi)
    return float((residuals.sigmas[:, None] * score).mean())


def probability_levels(residuals: Residuals, dof: float = math.inf, widening: float = 1.0) -> Float[ndarray, " rows"]:
    """The level of the smallest central interval, or ball, that holds each error: uniform if calibrated.

    Args:
        residuals: errors and standard deviations; that of a vector is the root of the mean variance of its components.
        dof: degrees of freedom of the variance of a component; infinite for Gaussian intervals.
        widening: factor on the standard deviations, as in :class:`~simkit.uncertainty.intervals.StudentT`.
    """
    d = residuals.components
    squares = np.square(residuals.z).sum(1) / widening**2
    return stats.chi2.cdf(squares, d) if math.isinf(dof) else stats.f.cdf(squares / d, d, d * dof)


def coverage(residuals: Residuals, level: float, dof: float = math.inf, widening: float = 1.0) -> float:
    """Fraction of the errors within their intervals of this level."""
    return float((probability_levels(residuals, dof, widening) <= level).mean())


def reliability(
    residuals: Residuals, levels: Float[ndarray, " levels"], dof: float = math.inf, widening: float = 1.0
) -> Float[ndarray, " levels"]:
    """Coverage at each of the levels."""
    found = np.sort(probability_levels(residuals, dof, widening))
    return np.searchsorted(found, levels, side="right") / len(found)


def miscalibration_area(residuals: Residuals, dof: float = math.inf, widening: float = 1.0) -> float:
    """``∫ |coverage(p) - p| dp`` over all levels p, exactly; 0 if calibrated, 1/2 at most.

    Of n independent errors from σ it is about ``0.31/√n``.
    """
    found = np.sort(probability_levels(residuals, dof, widening))
    edges = np.concatenate([[0.0], found, [1.0]])
    steps = np.arange(len(found) + 1) / len(found)
    low, high = edges[:-1] - steps, edges[1:] - steps
    whole = 0.5 * np.abs(high**2 - low**2)
    crossing = 0.5 * (low**2 + high**2)
    return float(np.where(low * high < 0, crossing, whole).sum())


def calibration_bins(residuals: Residuals, bins: int = BINS) -> tuple[ndarray, ndarray]:
    """``√⟨σ²⟩`` and root-mean-square error in bins of equal counts, in order of σ.

    Raises:
        CalibrationError: fewer rows than bins.
    """
    if len(residuals.sigmas) < bins:
        raise CalibrationError(f"expected at least {bins} errors for {bins} bins, found {len(residuals.sigmas)}")
    order = np.argsort(residuals.sigmas, kind="stable")
    parts = np.array_split(order, bins)
    predicted = np.array([np.sqrt(np.square(residuals.sigmas[part]).mean()) for part in parts])
    found = np.array([np.sqrt(np.square(residuals.errors[part]).mean()) for part in parts])
    return predicted, found


def ence(residuals: Residuals, bins: int = BINS) -> float:
    """Expected normalised calibration error ``⟨|RMSE_b - √⟨σ²⟩_b| / √⟨σ²⟩_b⟩`` over bins b of equal counts.

    Of n independent scalar errors from σ it is about ``0.56 √(bins/n)``.

    Raises:
        CalibrationError: fewer rows than bins.

    Reference: D. Levi et al., Sensors 22, 5540 (2022), doi:10.3390/s22155540.
    """
    predicted, found = calibration_bins(residuals, bins)
    return float((np.abs(found - predicted) / predicted).mean())


def spearman(residuals: Residuals) -> float:
    """Rank correlation of ``‖r‖`` and σ; NaN where one of them is constant."""
    return _rank_correlation(_ranks(residuals.norms), _ranks(residuals.sigmas))


def spearman_ceiling(residuals: Residuals, repeats: int = 20, seed: int = 0) -> float:
    """The rank correlation that errors drawn from a Gaussian of these σ would have: no σ of this spread reaches more.

    Args:
        residuals: whose standard deviations are taken.
        repeats: simulated sets of errors.
        seed: of the simulation.
    """
    sigmas = residuals.sigmas[:: 1 + len(residuals.sigmas) // MOST_ROWS]
    ranks = _ranks(sigmas)
    lengths = np.random.default_rng(seed).chisquare(residuals.components, (repeats, len(sigmas)))
    return float(np.mean([_rank_correlation(_ranks(sigmas * np.sqrt(one)), ranks) for one in lengths]))


def auroc(positive: Bool[ndarray, " rows"], scores: Float[ndarray, " rows"]) -> float:
    """Probability that a positive row has a larger score than another one, ties counted as one half.

    NaN if all rows are positive, or none.
    """
    count = int(positive.sum())
    others = len(positive) - count
    if count == 0 or others == 0:
        return math.nan
    return float((_ranks(scores)[positive].sum() - 0.5 * count * (count + 1)) / (count * others))


def large_errors(residuals: Residuals, fraction: float = LARGE_ERRORS) -> Bool[ndarray, " rows"]:
    """The rows with the largest ``‖r‖``, at least one."""
    norms = residuals.norms
    count = max(1, round(fraction * len(norms)))
    return norms >= np.partition(norms, len(norms) - count)[len(norms) - count]


def large_error_auroc(residuals: Residuals, fraction: float = LARGE_ERRORS) -> float:
    """How well σ finds the largest errors: 1/2 if not at all, 1 if perfectly."""
    return auroc(large_errors(residuals, fraction), residuals.sigmas)


def precision(residuals: Residuals, flagged: float = FLAGGED, fraction: float = LARGE_ERRORS) -> float:
    """The share of large errors among the rows of the largest σ; rows of equal σ count in part."""
    count = max(1.0, flagged * len(residuals.sigmas))
    positive = large_errors(residuals, fraction)
    values, first = np.unique(-residuals.sigmas, return_inverse=True)
    sizes = np.bincount(first, minlength=len(values))
    hits = np.bincount(first, weights=positive, minlength=len(values))
    before = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    taken = np.clip((count - before) / sizes, 0, 1)
    return float((taken * hits).sum() / count)


def sparsification(
    residuals: Residuals, fractions: Float[ndarray, " fractions"]
) -> tuple[Float[ndarray, " fractions"], Float[ndarray, " fractions"]]:
    """Root-mean-square error of what is left when fractions of the rows are taken away.

    Args:
        residuals: errors and standard deviations.
        fractions: taken away, in [0, 1).

    Returns:
        In order of the largest σ, and in order of the largest errors: the best there is.
    """
    squares = np.square(residuals.errors).mean(1)
    kept = np.maximum(1, np.round((1 - fractions) * len(squares)).astype(int))
    by_sigma = np.cumsum(squares[np.argsort(residuals.sigmas, kind="stable")])
    by_error = np.cumsum(np.sort(squares))
    return np.sqrt(by_sigma[kept - 1] / kept), np.sqrt(by_error[kept - 1] / kept)


def _ranks(values: ndarray) -> ndarray:
    return stats.rankdata(values)


def _rank_correlation(first: ndarray, second: ndarray) -> float:
    first, second = first - first.mean(), second - second.mean()
    scale = math.sqrt(float((first**2).sum() * (second**2).sum()))
    return float((first * second).sum() / scale) if scale > 0 else math.nan
