"""Means and errors of correlated series: autocorrelation, statistical inefficiency, blocking."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.fft
from jaxtyping import Float
from numpy import ndarray

from simkit.errors import DataError

CONSTANT = 1e-12
"""Deviation of a series, relative to its size, that is rounding."""

LEAST_BLOCKS = 8
"""Fewer blocks do not tell whether they are independent: the spread of seven is itself uncertain by 29 %."""

SOKAL = 5.0
"""Width of the window, in integrated correlation times, where the sum over the autocorrelation ends."""


def autocorrelation(series: Float[ndarray, "frames ..."]) -> Float[ndarray, "frames ..."]:
    """``C(k) = 1/(n-k) Σ_i x_i x_{i+k}`` of each column for all lags k, by FFT in ``O(n log n)``; no mean is
    subtracted.

    Reference: E. Kestemont, J. Van Craen, J. Comput. Phys. 22, 451 (1976), doi:10.1016/0021-9991(76)90042-7.
    """
    count = series.shape[0]
    length = scipy.fft.next_fast_len(2 * count, real=True)
    spectrum = scipy.fft.rfft(series, length, axis=0)
    sums = scipy.fft.irfft(spectrum.real**2 + spectrum.imag**2, length, axis=0)[:count]
    return sums / (count - np.arange(count)).reshape(-1, *(1,) * (series.ndim - 1))


def statistical_inefficiency(series: Float[ndarray, " frames"]) -> float:
    """``g = 1 + 2 Σ_k (1 - k/n) ρ(k)``: so many values of the series are worth one independent value.

    The sum ends at the first lag that is ``5 g/2`` or more, where noise would take over. For an exponential
    autocorrelation ``ρ(k) = exp(-k/τ)`` it is ``coth(1/2τ)``, about 2τ. A constant series has g = 1.

    Reference: N. Madras, A. D. Sokal, J. Stat. Phys. 50, 109 (1988), doi:10.1007/BF01022990.
    """
    _require_series(series, 2)
    if is_constant(series):
        return 1.0
    covariance = autocorrelation(series - series.mean())
    count = len(series)
    rho = covariance / covariance[0] * (1 - np.arange(count) / count)
    sums = 2 * np.cumsum(rho) - 1
    enough = np.flatnonzero(np.arange(count) >= SOKAL * sums / 2)
    return float(max(sums[enough[0]] if len(enough) else sums.max(), 1 / count))


@dataclass(frozen=True)
class Blocking:
    """Standard errors of a mean, as they grow with the length of blocks until those are independent.

    Attributes:
        sizes: number of values in a block: 1, 2, 4 ...
        errors: standard error of the mean from blocks of each size.
        uncertainties: standard error of each of the errors.
        chosen: index of the size that is taken.
        converged: whether eight blocks or more are left at that size; if not, the series is too short for its
            correlations, and the error is the largest of all sizes, which may still be too small.
    """

    sizes: ndarray
    errors: Float[ndarray, " levels"]
    uncertainties: Float[ndarray, " levels"]
    chosen: int
    converged: bool

    @property
    def error(self) -> float:
        """Standard error of the mean."""
        return float(self.errors[self.chosen])


def blocking(series: Float[ndarray, " frames"]) -> Blocking:
    """Standard error of the mean of a correlated series by averaging pairs of values again and again.

    At each level ``σ² = s²/(m-1)`` with the variance ``s²`` of the m blocks, uncertain by ``σ/sqrt(2(m-1))``. The size
    B of blocks is the smallest with ``B³ > 2 n (σ_B/σ_1)⁴``, which balances the correlation left against the
    uncertainty. It must leave eight blocks, as otherwise a small σ_B may be chance: else the largest error counts.

    References: H. Flyvbjerg, H. G. Petersen, J. Chem. Phys. 91, 461 (1989), doi:10.1063/1.457480; R. M. Lee et al.,
    Phys. Rev. E 83, 066706 (2011), doi:10.1103/PhysRevE.83.066706 (choice of the size).
    """
    _require_series(series, 4)
    sizes, errors, uncertainties = [], [], []
    blocks, size = series - series.mean(), 1
    while len(blocks) >= 2:
        error = float(blocks.std() / np.sqrt(len(blocks) - 1))
        sizes.append(size)
        errors.append(error)
        uncertainties.append(error / np.sqrt(2 * (len(blocks) - 1)))
        even = len(blocks) // 2 * 2
        blocks, size = 0.5 * (blocks[:even:2] + blocks[1:even:2]), 2 * size
    levels = np.array(errors)
    if is_constant(series):
        return Blocking(np.array(sizes), 0 * levels, 0 * levels, 0, True)
    enough = len(series) // np.array(sizes) >= LEAST_BLOCKS
    good = np.flatnonzero(enough & (np.array(sizes) ** 3.0 > 2 * len(series) * (levels / levels[0]) ** 4))
    chosen = int(good[0]) if len(good) else int(levels.argmax())
    return Blocking(np.array(sizes), levels, np.array(uncertainties), chosen, len(good) > 0)


@dataclass(frozen=True)
class Average:
    """Mean of a correlated series.

    Attributes:
        mean: of the values.
        error: standard error of the mean.
        deviation: standard deviation of the values.
        inefficiency: values of the series that are worth one independent value.
        values: length of the series.
        converged: whether the series is long enough for its correlations.
    """

    mean: float
    error: float
    deviation: float
    inefficiency: float
    values: int
    converged: bool


def average(series: Float[ndarray, " frames"]) -> Average:
    """Mean and standard error by :func:`blocking`, with the :func:`statistical_inefficiency`."""
    blocks = blocking(series)
    return Average(
        mean=float(series.mean()),
        error=blocks.error,
        deviation=float(series.std(ddof=1)),
        inefficiency=statistical_inefficiency(series),
        values=len(series),
        converged=blocks.converged,
    )


def is_constant(series: Float[ndarray, " frames"]) -> bool:
    """Whether all values are the same, but for rounding."""
    return bool(np.ptp(series) <= CONSTANT * np.abs(series).max())


def mean_and_error(samples: Float[ndarray, "blocks ..."]) -> tuple[ndarray, ndarray]:
    """Mean and standard error over independent blocks (the first axis); NaN as error of a single one."""
    mean = np.asarray(samples.mean(0))
    if len(samples) < 2:
        return mean, np.full_like(mean, np.nan)
    return mean, np.asarray(samples.std(0, ddof=1) / np.sqrt(len(samples)))


def _require_series(series: ndarray, least: int) -> None:
    if len(series) < least or not np.isfinite(series).all():
        raise DataError(
            f"expected at least {least} finite numbers, found {len(series)}, of which "
            f"{int(np.isfinite(series).sum())} are finite"
        )
