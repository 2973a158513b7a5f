"""Whether samples are those of an ensemble: kinetic energies of one run, energies or volumes of two.

Reference: M. R. Shirts, J. Chem. Theory Comput. 9, 909 (2013), doi:10.1021/ct300688p; P. T. Merz, M. R. Shirts, PLoS
ONE 13, e0202764 (2018), doi:10.1371/journal.pone.0202764.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from simkit.units import BOLTZMANN


def independent(series: ArrayLike) -> np.ndarray:
    """Samples of time series with the shape (times, systems), thinned until they are not correlated in time.

    The stride is the statistical inefficiency ``1 + 2 Σ ρ(t)``, summed until the autocorrelation, averaged over the
    systems, falls below 0.05.
    """
    values = np.asarray(series, dtype=float)
    deviations = values - values.mean()
    inefficiency = 1.0
    for lag in range(1, len(values) // 4):
        correlation = (deviations[lag:] * deviations[:-lag]).mean() / deviations.var()
        if correlation < 0.05:
            break
        inefficiency += 2 * correlation
    return values[:: int(np.ceil(inefficiency))].ravel()


def kinetic_energy_probability(kinetic: ArrayLike, degrees_of_freedom: int, temperature: float) -> float:
    """Probability (Kolmogorov-Smirnov) that kinetic energies deviate this much from ``Γ(f/2, k_B T)`` by chance.

    Args:
        kinetic: independent kinetic energies in eV.
        degrees_of_freedom: momentum components f.
        temperature: in K.
    """
    expected = stats.gamma(degrees_of_freedom / 2, scale=BOLTZMANN * temperature)
    return float(stats.kstest(np.asarray(kinetic, dtype=float), expected.cdf).pvalue)


def slope_of_log_ratio(first: ArrayLike, second: ArrayLike) -> tuple[float, float]:
    """Slope b of ``ln p₂(x)/p₁(x) = a + b x`` and its standard error, by maximum likelihood.

    For potential energies at two temperatures of the canonical ensemble ``b = 1/k_B T₁ - 1/k_B T₂``, for volumes at two
    pressures ``b = (P₁ - P₂)/k_B T``, whatever the potential is. The two distributions must overlap.

    Args:
        first: independent samples of one run.
        second: independent samples of the other.
    """
    both = [np.ravel(np.asarray(values, dtype=float)) for values in (first, second)]
    samples, labels = np.concatenate(both), np.repeat([0.0, 1.0], [values.size for values in both])
    centre, width = samples.mean(), samples.std()
    design = np.stack([np.ones_like(samples), (samples - centre) / width], axis=1)
    coefficients = np.zeros(2)
    for _ in range(50):
        probability = 1 / (1 + np.exp(-design @ coefficients))
        hessian = (design * (probability * (1 - probability))[:, None]).T @ design
        step = np.linalg.solve(hessian, design.T @ (labels - probability))
        coefficients += step
        if np.abs(step).max() < 1e-10:
            break
    return float(coefficients[1] / width), float(np.sqrt(np.linalg.inv(hessian)[1, 1]) / width)


def assert_slope(first: ArrayLike, second: ArrayLike, expected: float, *, relative_error: float = 0.05) -> None:
    """The slope is the expected one within three standard errors, and the error is small enough to tell."""
    slope, error = slope_of_log_ratio(first, second)
    assert error < relative_error * abs(expected), f"the slope {slope:g} ± {error:g} is too uncertain to be a test"
    assert abs(slope - expected) < 3 * error, f"expected a slope of {expected:g}, found {slope:g} ± {error:g}"
