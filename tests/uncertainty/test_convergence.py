"""R-hat and effective sample sizes of series whose correlations are known."""

from __future__ import annotations

import numpy as np
import pytest

from simkit.errors import SimkitError
from simkit.uncertainty.convergence import convergence, effective_sample_size, r_hat


def autoregressive(rho: float, chains: int, length: int) -> np.ndarray:
    random = np.random.default_rng(0)
    noise = random.normal(size=(chains, length)) * np.sqrt(1 - rho**2)
    values = np.empty_like(noise)
    values[:, 0] = random.normal(size=chains)
    for step in range(1, length):
        values[:, step] = rho * values[:, step - 1] + noise[:, step]
    return values


def test_chains_of_one_distribution_agree() -> None:
    assert r_hat(autoregressive(0.5, 4, 500)) < 1.02


@pytest.mark.parametrize("distance", [3.0, 10.0])
def test_separate_modes_are_flagged(distance: float) -> None:
    chains = autoregressive(0.0, 4, 200)
    chains[2:] += distance
    assert r_hat(chains) > 1.5


def test_a_drift_within_chains_is_flagged() -> None:
    assert r_hat(autoregressive(0.0, 4, 200) + np.linspace(0, 6, 200)) > 1.5


def test_another_spread_is_flagged() -> None:
    chains = autoregressive(0.0, 4, 400)
    chains[0] *= 20
    assert r_hat(chains) > 1.1


def test_r_hat_of_normal_values_is_the_textbook_formula_on_their_ranks() -> None:
    """Large samples: the rank-normalised value tends to that of the values themselves."""
    chains = autoregressive(0.0, 4, 4000)
    chains[0] += 0.5
    halves = np.concatenate([chains[:, :2000], chains[:, 2000:]])
    within = halves.var(1, ddof=1).mean()
    expected = np.sqrt((within * 1999 / 2000 + halves.mean(1).var(ddof=1)) / within)
    assert r_hat(chains) == pytest.approx(expected, abs=2e-3)


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
def test_effective_samples_of_an_autoregressive_series(rho: float) -> None:
    found = effective_sample_size(autoregressive(rho, 4, 5000))
    assert found == pytest.approx(20000 * (1 - rho) / (1 + rho), rel=0.12)


def test_chains_that_do_not_move() -> None:
    still = convergence(np.ones((4, 10)))
    assert still.r_hat == 1.0
    apart = np.repeat(np.arange(4.0)[:, None], 10, axis=1)
    assert r_hat(apart) == np.inf


def test_short_chains_are_refused() -> None:
    with pytest.raises(SimkitError, match="4 samples at least"):
        r_hat(np.zeros((4, 3)))
