"""Errors of correlated series against processes whose correlations are known."""

import numpy as np
import pytest

from simkit.analysis.statistics import autocorrelation, average, blocking, statistical_inefficiency
from simkit.errors import DataError


def autoregressive(phi, count, rng):
    """AR(1): ``x_{i+1} = φ x_i + noise`` of unit variance, so ρ(k) = φ^k."""
    noise = rng.normal(size=count) * np.sqrt(1 - phi**2)
    series = np.empty(count)
    series[0] = rng.normal()
    for i in range(1, count):
        series[i] = phi * series[i - 1] + noise[i]
    return series


def test_autocorrelation_is_the_direct_sum():
    series = np.random.default_rng(0).normal(size=(17, 2, 3))
    direct = np.array([(series[: 17 - k] * series[k:]).mean(0) for k in range(17)])
    np.testing.assert_allclose(autocorrelation(series), direct, atol=1e-13)


@pytest.mark.parametrize("phi", [0.0, 0.5, 0.9])
def test_correlation_time_of_ar1(phi):
    series = autoregressive(phi, 100_000, np.random.default_rng(1))
    assert statistical_inefficiency(series) == pytest.approx((1 + phi) / (1 - phi), rel=0.1)


@pytest.mark.parametrize("phi", [0.0, 0.9])
def test_blocking_gives_the_error_of_ar1(phi):
    count = 2**16
    series = autoregressive(phi, count, np.random.default_rng(2))
    expected = np.sqrt((1 + phi) / (1 - phi) / count)
    found = blocking(series)
    assert found.converged
    assert found.error == pytest.approx(expected, rel=0.1)
    # without blocks, correlated values would look independent
    assert found.errors[0] == pytest.approx(1 / np.sqrt(count), rel=0.02)


def test_the_error_covers_the_true_mean_as_often_as_it_says():
    rng = np.random.default_rng(3)
    inside = [abs(one.mean) < one.error for one in (average(autoregressive(0.8, 4096, rng)) for _ in range(100))]
    assert np.mean(inside) == pytest.approx(0.683, abs=0.14)  # three binomial deviations


def test_a_series_shorter_than_its_correlations_is_not_converged():
    assert not average(np.linspace(0, 1, 64)).converged


def test_a_few_independent_values_are_not_converged():
    rng = np.random.default_rng(4)
    found = [average(autoregressive(0.98, 256, rng)) for _ in range(50)]  # each is worth three independent values
    assert sum(one.converged for one in found) <= 5
    found = [average(autoregressive(0.98, 16384, rng)) for _ in range(10)]
    assert all(one.converged for one in found)


def test_a_constant_has_no_error():
    found = average(np.full(16, 3.0) + 1e-15 * np.arange(16))
    assert (found.mean, found.error, found.inefficiency, found.converged) == (pytest.approx(3), 0.0, 1.0, True)


def test_numbers_that_are_not_finite_are_refused():
    with pytest.raises(DataError, match="of which 4 are finite"):
        average(np.array([1.0, 2.0, np.nan, 3.0, 4.0]))
