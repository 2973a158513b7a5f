"""Metrics against quadrature, independent implementations and their values for a perfect prediction."""

import math

import numpy as np
import pytest
from scipy import integrate, stats

from simkit.uncertainty import metrics
from simkit.uncertainty.bootstrap import block_bootstrap
from simkit.uncertainty.intervals import StudentT
from simkit.uncertainty.residuals import CalibrationError, Residuals, TooFewGroupsError


def perfect(rows: int, spread: float = 0.6, components: int = 1, seed: int = 0) -> Residuals:
    """Errors drawn from standard deviations whose logarithms have this spread."""
    random = np.random.default_rng(seed)
    sigmas = 0.05 * np.exp(spread * random.standard_normal(rows))
    errors = sigmas[:, None] * random.standard_normal((rows, components))
    return Residuals.of(errors, sigmas, vectors=True)


def averaged(metric, rows: int = 3900, repeats: int = 10, **options) -> float:
    return float(np.mean([metric(perfect(rows, seed=seed, **options)) for seed in range(repeats)]))


@pytest.mark.parametrize(("error", "sigma"), [(0.3, 0.5), (-2.0, 0.4), (0.0, 1.0), (0.1, 3.0)])
def test_crps_is_the_integral_over_distributions(error: float, sigma: float) -> None:
    below = integrate.quad(lambda x: stats.norm.cdf(x / sigma) ** 2, -np.inf, error)[0]
    above = integrate.quad(lambda x: stats.norm.sf(x / sigma) ** 2, error, np.inf)[0]
    found = metrics.crps(Residuals.of(np.array([error]), sigma))
    assert found == pytest.approx(below + above, rel=1e-7)


def test_likelihood_of_vectors_is_that_of_their_components() -> None:
    data = perfect(200, components=3)
    expected = -stats.norm.logpdf(data.errors, scale=data.sigmas[:, None]).mean()
    assert metrics.nll(data) == pytest.approx(expected, rel=1e-12)


def test_values_of_a_perfect_prediction() -> None:
    assert averaged(metrics.miscalibration_area) == pytest.approx(0.0050, abs=0.0015)
    assert averaged(metrics.ence) == pytest.approx(0.040, abs=0.005)
    assert averaged(metrics.z_std) == pytest.approx(1, abs=0.01)
    assert averaged(lambda data: metrics.coverage(data, 0.9)) == pytest.approx(0.9, abs=0.005)
    assert averaged(lambda data: metrics.coverage(data, 0.9), components=3) == pytest.approx(0.9, abs=0.005)


@pytest.mark.parametrize(("spread", "correlation", "area"), [(0.3, 0.30, 0.81), (0.6, 0.52, 0.92), (1.0, 0.70, 0.96)])
def test_perfect_ranking_depends_on_the_spread(spread: float, correlation: float, area: float) -> None:
    assert averaged(metrics.spearman, spread=spread) == pytest.approx(correlation, abs=0.012)
    assert averaged(metrics.large_error_auroc, spread=spread) == pytest.approx(area, abs=0.012)
    assert metrics.spearman_ceiling(perfect(3900, spread)) == pytest.approx(correlation, abs=0.02)


def test_ceiling_is_what_vectors_reach() -> None:
    data = perfect(3000, 0.5, components=3)
    assert metrics.spearman(data) == pytest.approx(metrics.spearman_ceiling(data), abs=0.03)
    assert metrics.spearman_ceiling(data) > metrics.spearman_ceiling(perfect(3000, 0.5)) + 0.1


def test_rankings_against_scipy() -> None:
    data = perfect(500)
    rounded = Residuals.of(data.errors[:, 0].round(2), np.maximum(data.sigmas.round(2), 0.01))
    expected = stats.spearmanr(rounded.norms, rounded.sigmas).statistic
    assert metrics.spearman(rounded) == pytest.approx(expected, rel=1e-12)
    positive = metrics.large_errors(data)
    assert positive.sum() == 25
    mann_whitney = stats.mannwhitneyu(data.sigmas[positive], data.sigmas[~positive]).statistic
    assert metrics.large_error_auroc(data) == pytest.approx(mann_whitney / (25 * 475), rel=1e-12)


def test_miscalibration_area_is_the_integral() -> None:
    data = perfect(37).with_sigmas(0.6 * perfect(37).sigmas)
    grid = (np.arange(200_000) + 0.5) / 200_000
    expected = np.abs(metrics.reliability(data, grid) - grid).mean()
    assert metrics.miscalibration_area(data) == pytest.approx(expected, rel=1e-4)


def test_miscalibration_of_wrong_scales() -> None:
    """σ too small by a factor k: coverage is ``2 Φ(Φ⁻¹((1+p)/2)/k) - 1``."""
    data = perfect(20_000)
    small = data.with_sigmas(0.5 * data.sigmas)
    expected = integrate.quad(lambda p: p - (2 * stats.norm.cdf(0.5 * stats.norm.ppf(0.5 + 0.5 * p)) - 1), 0, 1)[0]
    assert metrics.miscalibration_area(small) == pytest.approx(expected, abs=0.01)
    assert metrics.z_std(small) == pytest.approx(2, abs=0.03)
    assert metrics.ence(small) == pytest.approx(1, abs=0.06)


def test_student_intervals_cover_few_members() -> None:
    random = np.random.default_rng(1)
    members = random.standard_normal((40_000, 5))
    errors = members.mean(1) - random.standard_normal(40_000)
    data = Residuals.of(errors, members.std(1, ddof=1))
    assert metrics.coverage(data, 0.9) == pytest.approx(0.79, abs=0.01)
    assert metrics.coverage(data, 0.9, 4, math.sqrt(1.2)) == pytest.approx(0.9, abs=0.006)
    assert metrics.miscalibration_area(data, 4, math.sqrt(1.2)) < 0.006


def test_students_balls_cover_vectors_of_few_members() -> None:
    """The mean variance of three components of five members has twelve degrees of freedom."""
    random = np.random.default_rng(2)
    members = random.standard_normal((20_000, 5, 3))
    errors = members.mean(1) - random.standard_normal((20_000, 3))
    sigmas = np.sqrt(members.var(1, ddof=1).mean(1))
    data = Residuals.of(errors, sigmas, vectors=True)
    rule = StudentT(4, math.sqrt(1.2))
    for level in (0.5, 0.9):
        assert metrics.coverage(data, level, rule.dof, rule.widening) == pytest.approx(level, abs=0.01)
        held = np.linalg.norm(errors, axis=1) <= rule.radius(level, 3) * sigmas
        assert held.mean() == pytest.approx(metrics.coverage(data, level, rule.dof, rule.widening), abs=1e-12)


def test_change_of_units() -> None:
    data = perfect(1000, components=3)
    other = Residuals.of(1000 * data.errors, 1000 * data.sigmas, vectors=True)
    same = (
        metrics.z_std, metrics.miscalibration_area, metrics.ence, metrics.spearman, metrics.spearman_ceiling,
        metrics.large_error_auroc, metrics.precision, lambda one: metrics.coverage(one, 0.5),
    )  # fmt: skip
    for metric in same:
        assert metric(other) == pytest.approx(metric(data), rel=1e-9)
    for metric in (metrics.rmse, metrics.mae, metrics.crps, metrics.sharpness):
        assert metric(other) == pytest.approx(1000 * metric(data), rel=1e-9)
    assert metrics.nll(other) == pytest.approx(metrics.nll(data) + math.log(1000), rel=1e-9)


def test_turning_vectors_changes_nothing() -> None:
    data = perfect(300, components=3)
    turn = np.linalg.qr(np.random.default_rng(0).standard_normal((3, 3)))[0]
    turned = Residuals.of(data.errors @ turn, data.sigmas, vectors=True)
    for metric in (metrics.nll, metrics.miscalibration_area, metrics.spearman, metrics.precision, metrics.ence):
        assert metric(turned) == pytest.approx(metric(data), rel=1e-9)


def test_constant_uncertainties_rank_nothing() -> None:
    data = Residuals.of(perfect(1000).errors[:, 0], 0.1)
    assert metrics.large_error_auroc(data) == 0.5
    assert metrics.precision(data) == pytest.approx(0.05)
    assert math.isnan(metrics.spearman(data))
    assert math.isnan(metrics.spearman_ceiling(data))


def test_precision_counts_large_errors_among_the_flagged() -> None:
    errors = np.zeros(200)
    sigmas = np.linspace(1, 2, 200)
    errors[[199, 10, 11, 12, 13, 14, 15, 16, 17, 18]] = 1.0
    data = Residuals.of(errors, sigmas)
    assert metrics.precision(data) == 0.5  # two flagged rows, of which one has a large error
    assert metrics.precision(data, flagged=0.005) == 1.0


def test_sparsification_curves() -> None:
    data = perfect(4000)
    fractions = np.array([0.0, 0.3, 0.9])
    left, oracle = metrics.sparsification(data, fractions)
    assert left[0] == pytest.approx(metrics.rmse(data))
    assert oracle[0] == pytest.approx(metrics.rmse(data))
    assert (np.diff(left) < 0).all()
    assert (oracle <= left + 1e-12).all()
    kept = data.rows(np.argsort(data.sigmas)[:2800])
    assert left[1] == pytest.approx(metrics.rmse(kept))


def test_bins_need_rows() -> None:
    with pytest.raises(CalibrationError, match="at least 20 errors"):
        metrics.ence(perfect(19))


def test_auroc_needs_both_classes() -> None:
    assert math.isnan(metrics.auroc(np.ones(3, bool), np.arange(3.0)))
    assert metrics.auroc(np.array([False, True]), np.array([1.0, 2.0])) == 1.0


def test_bootstrap_of_independent_rows_is_the_standard_error() -> None:
    values = np.random.default_rng(0).standard_normal(400)
    found = block_bootstrap(lambda rows: np.array([values[rows].mean()]), np.arange(400), repeats=400)
    assert found.error[0] == pytest.approx(values.std() / 20, rel=0.12)
    low, high = found.interval(0.9)[:, 0]
    assert high - low == pytest.approx(2 * 1.645 * values.std() / 20, rel=0.15)


def test_bootstrap_keeps_trajectories_together() -> None:
    """Rows that repeat within a group say nothing new: the error is that of the groups."""
    random = np.random.default_rng(0)
    groups = random.permutation(np.repeat(np.arange(50), 40))
    means = random.standard_normal(50)
    values = means[groups]

    def mean(rows: np.ndarray) -> np.ndarray:
        return np.array([values[rows].mean(), np.nan])

    found = block_bootstrap(mean, groups)
    assert found.error[0] == pytest.approx(means.std() / math.sqrt(50), rel=0.15)
    alone = block_bootstrap(mean, np.arange(2000))
    assert alone.error[0] < 0.3 * found.error[0]
    assert math.isnan(found.error[1])


def test_bootstrap_needs_groups() -> None:
    with pytest.raises(TooFewGroupsError, match="two independent groups"):
        block_bootstrap(lambda rows: np.zeros(1), np.zeros(10, dtype=int))
