"""The checks of ensembles accept exact samples and notice small errors."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from simkit.units import BOLTZMANN
from tests.dynamics.ensemble_checks import assert_slope, independent, kinetic_energy_probability, slope_of_log_ratio

KT = BOLTZMANN * 300


def oscillator_energies(temperature: float, seed: int) -> np.ndarray:
    """Potential energies of ten harmonic oscillators in three dimensions."""
    return stats.gamma(15, scale=BOLTZMANN * temperature).rvs(20_000, random_state=seed)


def test_kinetic_energies() -> None:
    samples = stats.gamma(15, scale=KT).rvs(10_000, random_state=1)
    assert kinetic_energy_probability(samples, 30, 300) > 0.01
    assert kinetic_energy_probability(1.02 * samples, 30, 300) < 1e-6
    assert kinetic_energy_probability(samples, 31, 300) < 1e-6
    narrow = samples.mean() + 0.9 * (samples - samples.mean())
    assert kinetic_energy_probability(narrow, 30, 300) < 1e-3


def test_slope() -> None:
    low, high = oscillator_energies(300, 1), oscillator_energies(340, 2)
    expected = 1 / (BOLTZMANN * 300) - 1 / (BOLTZMANN * 340)
    assert_slope(low, high, expected)
    with pytest.raises(AssertionError, match="expected a slope"):
        assert_slope(low, oscillator_energies(350, 2), expected)
    with pytest.raises(AssertionError, match="uncertain"):
        assert_slope(low[:200], high[:200], expected)


def test_standard_error_of_the_slope() -> None:
    slopes, errors = np.transpose(
        [
            slope_of_log_ratio(oscillator_energies(300, 2 * k)[:500], oscillator_energies(340, 2 * k + 1)[:500])
            for k in range(60)
        ]
    )
    assert slopes.std() == pytest.approx(errors.mean(), rel=0.3)


def test_correlated_samples_are_thinned() -> None:
    rng = np.random.default_rng(0)
    series = np.zeros((4000, 5))
    for step in range(1, len(series)):
        series[step] = 0.9 * series[step - 1] + rng.normal(size=5)  # inefficiency (1 + 0.9) / (1 - 0.9) = 19
    assert len(independent(series)) == pytest.approx(4000 * 5 / 19, rel=0.3)
    assert len(independent(rng.normal(size=(4000, 5)))) == 20_000
