"""Calibration maps recover factors that are known, and refuse what cannot be calibrated."""

import math

import numpy as np
import pytest
from scipy import integrate, stats

from simkit.errors import SimkitWarning
from simkit.uncertainty.calibration_fits import fit_map
from simkit.uncertainty.calibration_maps import GlobalMap, Isotonic, PowerLaw, map_from_config
from simkit.uncertainty.residuals import (
    CalibrationError,
    NotFiniteError,
    TooFewGroupsError,
    ZeroResidualsError,
    ZeroSigmaError,
)

GLOBAL = ("nll", "mae", "crps", "ratio")


def committee(members: int, alpha: float, count: int = 200_000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Errors of the mean of a committee whose true spread is ``alpha`` times that of its members, and their std.

    Mean and variance of Gaussian members are independent: ``N(0, σ²/M)`` and ``σ² χ²_{M-1}/(M-1)``.
    """
    random = np.random.default_rng(seed)
    sigma = np.exp(0.4 * random.standard_normal(count))
    errors = np.sqrt(alpha**2 + 1 / members) * sigma * random.standard_normal(count)
    return errors, sigma * np.sqrt(random.chisquare(members - 1, count) / (members - 1))


def factor(kind: str, errors: np.ndarray, sigmas: np.ndarray | float, members: int | None = None) -> float:
    found = fit_map(kind, errors, sigmas, members=members)
    assert isinstance(found, GlobalMap)
    return found.alpha


@pytest.mark.parametrize("members", [4, 5, 8])
def test_finite_committee_recovers_the_factor(members: int) -> None:
    errors, sigmas = committee(members, 2.0, 400_000)
    found = factor("finite-committee", errors, sigmas, members=members)
    assert found == pytest.approx(2.0, rel=0.03)
    assert factor("nll", errors, sigmas) > 1.15 * found


def test_ratio_holds_the_error_of_the_mean() -> None:
    errors, sigmas = committee(5, 2.0)
    assert factor("ratio", errors, sigmas) == pytest.approx(math.sqrt(4 + 1 / 5), rel=0.01)


@pytest.mark.parametrize("kind", ["finite-committee", "ratio"])
def test_intervals_of_few_members_are_students(kind: str) -> None:
    errors, sigmas = committee(5, 1.0)
    found = fit_map(kind, errors, sigmas, members=5)
    half = found.rule(4).factor(0.9) * found(sigmas)
    assert (np.abs(errors) < half).mean() == pytest.approx(0.9, abs=0.01)
    gaussian = stats.norm.ppf(0.95) * sigmas
    assert (np.abs(errors) < gaussian).mean() == pytest.approx(0.79, abs=0.01)


def test_gaussian_maps_recover_the_factor() -> None:
    random = np.random.default_rng(1)
    sigmas = np.exp(0.5 * random.standard_normal(100_000))
    errors = 1.7 * sigmas * random.standard_normal(100_000)
    for kind in GLOBAL:
        found = fit_map(kind, errors, sigmas)
        assert isinstance(found, GlobalMap)
        assert found.alpha == pytest.approx(1.7, rel=0.015)
        assert found.rule(4).factor(0.9) == pytest.approx(stats.norm.ppf(0.95) if kind != "ratio" else 2.131847)


def test_each_map_minimises_its_loss() -> None:
    random = np.random.default_rng(2)
    sigmas = np.exp(0.5 * random.standard_normal(300))
    errors = sigmas * random.standard_t(4, 300)

    def nll(alpha: float) -> float:
        return float(-stats.norm.logpdf(errors, scale=alpha * sigmas).sum())

    def crps(alpha: float) -> float:
        scale = alpha * sigmas
        z = errors / scale
        return float(
            (scale * (z * (2 * stats.norm.cdf(z) - 1) + 2 * stats.norm.pdf(z))).sum() - scale.sum() / np.sqrt(np.pi)
        )

    for kind, loss in (("nll", nll), ("crps", crps)):
        found = factor(kind, errors, sigmas)
        slope = (loss(found * 1.0001) - loss(found / 1.0001)) / 2e-4
        curved = (loss(found * 1.1) + loss(found / 1.1) - 2 * loss(found)) / 0.1**2
        assert curved > 0
        assert abs(slope) < 1e-4 * curved


def test_factors_scale_with_units() -> None:
    errors, sigmas = committee(5, 2.0, 500)
    for kind in (*GLOBAL, "finite-committee"):
        one = fit_map(kind, errors, sigmas, members=5)
        other = fit_map(kind, 23.06 * errors, 0.5 * sigmas, members=5)
        assert other(0.5 * sigmas) == pytest.approx(
            23.06 * one(sigmas), rel=1e-9 if kind != "finite-committee" else 0.05
        )


def test_power_law_recovers_its_numbers() -> None:
    random = np.random.default_rng(3)
    scores = np.exp(random.standard_normal(100_000))
    errors = 0.3 * scores**0.6 * random.standard_normal(100_000)
    found = fit_map("power-law", errors, scores)
    assert isinstance(found, PowerLaw)
    assert found.prefactor == pytest.approx(0.3, rel=0.01)
    assert found.exponent == pytest.approx(0.6, abs=0.01)
    # scores of other units: the same calibrated values
    rescaled = fit_map("power-law", errors, 1e6 * scores)
    assert rescaled(1e6 * scores[:10]) == pytest.approx(found(scores[:10]), rel=1e-6)


def test_power_law_of_scores_that_mislead_is_a_constant() -> None:
    random = np.random.default_rng(4)
    scores = np.exp(random.standard_normal(2000))
    found = fit_map("power-law", random.standard_normal(2000) / scores, scores)
    assert isinstance(found, PowerLaw)
    assert found.exponent == pytest.approx(0, abs=1e-6)


def test_isotonic_follows_any_increasing_map() -> None:
    random = np.random.default_rng(5)
    scores = random.uniform(0.1, 3, 60_000)
    truth = np.where(scores < 1, 0.2, 0.2 + (scores - 1) ** 2)
    errors = truth * random.standard_normal(len(scores))
    found = fit_map("isotonic", errors, scores)
    assert isinstance(found, Isotonic)
    assert (np.diff(found.values) >= 0).all()
    assert len(found.knots) < 600  # of 3000 bins, those at the ends of pooled blocks
    inside = np.linspace(0.2, 2.8, 50)
    expected = np.where(inside < 1, 0.2, 0.2 + (inside - 1) ** 2)
    assert found(inside) == pytest.approx(expected, rel=0.35)
    assert np.abs(found(inside) / expected - 1).mean() < 0.06
    assert found(np.array([6.0]))[0] == pytest.approx(found.values[-1] * 6 / found.knots[-1])
    assert found(np.array([0.001]))[0] == found.values[0]


def test_isotonic_needs_enough_values() -> None:
    with pytest.raises(CalibrationError, match="at least 40 values"):
        fit_map("isotonic", np.ones(30), np.ones(30))


@pytest.mark.parametrize("kind", [*GLOBAL, "finite-committee", "power-law", "isotonic"])
def test_configuration_rebuilds_the_same_map(kind: str) -> None:
    errors, sigmas = committee(6, 1.3, 2000)
    found = fit_map(kind, errors, sigmas, members=6)
    again = map_from_config(found.config())
    assert again == found
    assert again.identifier == found.identifier
    assert (again(sigmas) == found(sigmas)).all()
    other = fit_map(kind, 1.01 * errors, sigmas, members=6)
    assert other.identifier != found.identifier


def test_fields_are_calibrated_over_draws() -> None:
    random = np.random.default_rng(6)
    sigmas = np.exp(random.standard_normal((40, 8, 8)))
    errors = 1.5 * sigmas * random.standard_normal((40, 8, 8))
    assert factor("nll", errors, sigmas) == pytest.approx(1.5, rel=0.05)
    assert factor("nll", errors, sigmas.mean((1, 2))) == pytest.approx(
        np.sqrt(np.square(errors / sigmas.mean((1, 2))[:, None, None]).mean()), rel=1e-12
    )


def test_vectors_share_the_sigma_of_their_atom() -> None:
    random = np.random.default_rng(7)
    sigmas = np.exp(random.standard_normal(500))
    errors = sigmas[:, None] * random.standard_normal((500, 3))
    assert factor("nll", errors, sigmas) == pytest.approx(
        np.sqrt(np.square(errors / sigmas[:, None]).mean()), rel=1e-12
    )


def test_unusable_data_are_refused() -> None:
    good = np.ones(20)
    with pytest.raises(ZeroResidualsError, match="compared with"):
        fit_map("nll", np.zeros(20), good)
    with pytest.raises(ZeroSigmaError, match="1 of 20"):
        fit_map("nll", good, np.r_[np.ones(19), 0.0])
    with pytest.raises(NotFiniteError, match="first in row 3"):
        fit_map("nll", np.r_[1.0, 1.0, 1.0, np.nan, np.ones(16)], good)
    with pytest.raises(NotFiniteError, match="standard deviations"):
        fit_map("nll", good, np.r_[np.inf, np.ones(19)])
    with pytest.raises(TooFewGroupsError, match="independent trajectories"):
        fit_map("nll", good, good, np.zeros(20))
    with pytest.raises(TooFewGroupsError):  # one frame of a field
        fit_map("nll", np.ones((1, 64)), 1.0)
    with pytest.raises(CalibrationError, match="at least one draw"):
        fit_map("nll", np.zeros(0), np.zeros(0))
    with pytest.raises(CalibrationError, match="one group for each of 20"):
        fit_map("nll", good, good, np.zeros(3))
    with pytest.raises(CalibrationError, match="shape of the errors"):
        fit_map("nll", good, np.ones(7))
    with pytest.raises(CalibrationError, match="expected a map among"):
        fit_map("platt", good, good)
    with pytest.raises(CalibrationError, match="kind global"):
        map_from_config({"kind": "other"})


def test_finite_committees_have_limits() -> None:
    errors, sigmas = committee(5, 1.0, 1000)
    for members in (None, 3):
        with pytest.raises(CalibrationError, match="at least 4 members"):
            fit_map("finite-committee", errors, sigmas, members=members)
    assert factor("ratio", 1e-3 * errors, sigmas) < 1e-2
    with pytest.raises(CalibrationError, match="smaller than the spread"):
        fit_map("finite-committee", 1e-3 * errors, sigmas, members=5)


def test_mostly_zero_errors_have_no_crps_map() -> None:
    errors = np.r_[np.zeros(90), np.ones(10)]
    with pytest.raises(CalibrationError, match="too many zeros"):
        fit_map("crps", errors, np.ones(100))


def test_few_trajectories_are_warned_of() -> None:
    errors, sigmas = committee(5, 1.0, 400)
    with pytest.warns(SimkitWarning, match="3 independent groups"):
        fit_map("nll", errors, sigmas, ["a", "b", "c", "a"] * 100)


def test_the_crps_map_minimises_the_integral_that_defines_the_score() -> None:
    """The condition of the CRPS map is the derivative of the integral that defines the score."""
    errors, sigmas = np.array([0.3, -1.2, 0.7]), np.array([0.5, 1.0, 0.8])

    def score(alpha: float) -> float:
        total = 0.0
        for error, sigma in zip(errors, alpha * sigmas, strict=True):
            below = integrate.quad(lambda x, s=sigma: stats.norm.cdf(x / s) ** 2, -20, error)[0]
            above = integrate.quad(lambda x, s=sigma: stats.norm.sf(x / s) ** 2, error, 20)[0]
            total += below + above
        return total

    with pytest.warns(SimkitWarning):
        found = factor("crps", errors, sigmas)
    assert (score(1.001 * found) - score(found / 1.001)) == pytest.approx(0, abs=1e-7)
