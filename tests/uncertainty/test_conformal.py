"""Conformal prediction keeps its promise: exact laws of the coverage, on scores whose distribution is known."""

import math

import numpy as np
import pytest
from scipy import stats

from simkit.errors import SimkitError
from simkit.uncertainty.conformal import (
    AdaptiveLevel,
    conformal_quantile,
    coverage_band,
    draw_scores,
    field_scores,
    group_quantiles,
    mahalanobis_scores,
)
from simkit.uncertainty.residuals import CalibrationError, NotFiniteError, ZeroSigmaError

REPEATS = 400


@pytest.mark.parametrize(("draws", "level"), [(50, 0.9), (200, 0.9), (99, 0.5)])
def test_coverage_follows_its_beta_distribution(draws: int, level: float) -> None:
    """The coverage of a quantile of uniform scores is the quantile itself."""
    random = np.random.default_rng(0)
    coverage = np.array([conformal_quantile(random.random(draws), level) for _ in range(REPEATS)])
    position = math.ceil(round((draws + 1) * level, 9))
    law = stats.beta(position, draws + 1 - position)
    assert law.mean() == pytest.approx(position / (draws + 1))
    assert abs(coverage.mean() - law.mean()) < 3 * law.std() / math.sqrt(REPEATS)
    assert coverage.var() == pytest.approx(law.var(), rel=0.2)
    low, high = coverage_band(draws, level)
    assert ((coverage > low) & (coverage < high)).mean() == pytest.approx(0.9, abs=0.045)


@pytest.mark.parametrize(("draws", "band"), [(50, (0.826, 0.960)), (200, (0.864, 0.933)), (1000, (0.884, 0.915))])
def test_band_of_the_coverage(draws: int, band: tuple[float, float]) -> None:
    assert coverage_band(draws, 0.9) == pytest.approx(band, abs=1.5e-3)


def test_band_of_the_share_of_few_test_draws() -> None:
    """Nine of ten shares, or more because shares are discrete, lie within; those of many draws as the coverage does."""
    random = np.random.default_rng(2)
    shares = np.array([np.mean(random.random(10) <= conformal_quantile(random.random(50), 0.9)) for _ in range(2000)])
    low, high = coverage_band(50, 0.9, tested=10)
    assert ((shares >= low) & (shares <= high)).mean() > 0.9
    assert (shares < low).mean() < 0.05
    assert low < coverage_band(50, 0.9)[0]
    assert high == 1.0
    assert coverage_band(50, 0.9, tested=100_000) == pytest.approx(coverage_band(50, 0.9), abs=1e-3)


def test_promise_on_new_draws() -> None:
    random = np.random.default_rng(1)
    held = []
    for _ in range(REPEATS):
        scores = random.standard_t(3, 40) ** 2  # heavy tails do not matter
        quantile = conformal_quantile(scores[:-1], 0.8)
        held.append(scores[-1] <= quantile)
    assert np.mean(held) == pytest.approx(0.8, abs=3 * math.sqrt(0.16 / REPEATS))


def test_too_few_draws_promise_nothing() -> None:
    scores = np.arange(1.0, 9.0)
    assert conformal_quantile(scores, 0.9) == math.inf
    assert conformal_quantile(np.arange(1.0, 10.0), 0.9) == 9.0
    assert conformal_quantile(np.arange(1.0, 20.0), 0.9) == 18.0  # 20 · 0.9 is a little more in floating point
    assert coverage_band(8, 0.9) == (1.0, 1.0)


def test_quantiles_grow_with_the_level_and_follow_monotone_maps() -> None:
    scores = np.random.default_rng(2).exponential(size=73)
    levels = np.linspace(0.02, 0.98, 49)
    quantiles = np.array([conformal_quantile(scores, level) for level in levels])
    assert (np.diff(quantiles) >= 0).all()
    mapped = np.array([conformal_quantile(np.log1p(scores) ** 3, level) for level in levels])
    np.testing.assert_allclose(mapped, np.log1p(quantiles) ** 3, rtol=1e-12)


def test_groups_have_the_promise_each() -> None:
    """Two groups of different errors: one quantile covers 90 % on average, but not in each."""
    random = np.random.default_rng(3)
    groups = np.array(["H", "O"] * 400)

    def scores() -> np.ndarray:
        return np.abs(random.standard_normal(800)) * np.where(groups == "H", 1.0, 3.0)

    calibration, new = scores(), scores()
    quantiles = group_quantiles(calibration, groups, 0.9)
    assert set(quantiles) == {"H", "O"}
    for label, quantile in quantiles.items():
        low, high = coverage_band(400, 0.9, 0.999)
        assert low - 0.05 < (new[groups == label] <= quantile).mean() < high + 0.05
    joint = conformal_quantile(calibration, 0.9)
    assert (new[groups == "H"] <= joint).mean() > 0.99
    assert (new[groups == "O"] <= joint).mean() < 0.85


def test_small_groups_are_refused() -> None:
    with pytest.raises(CalibrationError, match=r"at least 50 draws of each group .* found 49 of 8"):
        group_quantiles(np.ones(149), np.repeat([1, 8], [100, 49]), 0.9)


def test_scores_of_a_draw() -> None:
    scores = np.array([1.0, 5.0, 2.0, 4.0, 3.0])
    draws = np.array([0, 1, 0, 1, 1])
    assert draw_scores(scores, draws).tolist() == [2, 5]
    assert draw_scores(scores, draws, "quantile", quantile=0.5).tolist() == [1, 4]
    chosen = np.array([draw_scores(scores, draws, "sample", seed=seed) for seed in range(60)])
    assert set(chosen[:, 0]) == {1, 2}
    assert set(chosen[:, 1]) == {3, 4, 5}
    with pytest.raises(CalibrationError, match="max, quantile, sample"):
        draw_scores(scores, draws, "mean")


def test_pooling_correlated_atoms_breaks_the_law_and_draws_keep_it() -> None:
    """Atoms of a frame share an error: the coverage of pooled atoms varies more than the law of so many scores."""
    random = np.random.default_rng(4)
    frames, atoms = 20, 39
    draws = np.repeat(np.arange(frames), atoms)
    pooled, one_each = [], []
    for seed in range(REPEATS):
        shared = np.repeat(random.standard_normal(frames), atoms)
        scores = np.abs(math.sqrt(0.5) * (shared + random.standard_normal(frames * atoms)))
        pooled.append(2 * stats.norm.cdf(conformal_quantile(scores, 0.9)) - 1)
        one_each.append(
            2 * stats.norm.cdf(conformal_quantile(draw_scores(scores, draws, "sample", seed=seed), 0.9)) - 1
        )
    independent = stats.beta(*(lambda k, n: (k, n + 1 - k))(703, frames * atoms)).std()
    assert np.std(pooled) > 2 * independent
    law = stats.beta(19, 2)
    assert abs(np.mean(one_each) - law.mean()) < 3 * law.std() / math.sqrt(REPEATS)
    assert np.var(one_each) == pytest.approx(law.var(), rel=0.2)


def fields(random: np.random.Generator, draws: int) -> tuple[np.ndarray, np.ndarray]:
    """Smooth errors on a line, larger on its right, and deviations that know so up to a factor."""
    x = np.linspace(0, 1, 32)
    waves = np.sin(np.pi * np.outer(np.arange(1, 5), x))
    errors = random.standard_normal((draws, 4)) @ waves * (0.2 + x)
    return errors, np.broadcast_to(0.1 * (0.2 + x), errors.shape)


def test_bands_hold_whole_fields() -> None:
    random = np.random.default_rng(5)
    errors, sigmas = fields(random, 200)
    quantile = conformal_quantile(field_scores(errors, sigmas), 0.9)
    new, deviations = fields(random, 2000)
    held = (np.abs(new) <= quantile * deviations).all(1).mean()
    low, high = coverage_band(200, 0.9, 0.99)
    assert low - 0.02 < held < high + 0.02


def test_bands_hold_a_share_of_the_points() -> None:
    random = np.random.default_rng(6)
    errors, sigmas = fields(random, 200)
    quantile = conformal_quantile(field_scores(errors, sigmas, 0.8), 0.9)
    assert quantile < conformal_quantile(field_scores(errors, sigmas), 0.9)
    new, deviations = fields(random, 2000)
    enough = ((np.abs(new) <= quantile * deviations).mean(1) >= 0.8).mean()
    low, high = coverage_band(200, 0.9, 0.99)
    assert low - 0.02 < enough < high + 0.02


def test_fields_of_any_shape() -> None:
    errors = np.random.default_rng(7).standard_normal((6, 3, 4, 5))
    assert field_scores(errors, 0.5) == pytest.approx(np.abs(errors).max((1, 2, 3)) / 0.5)
    assert field_scores(errors, np.full((4, 5), 2.0)) == pytest.approx(np.abs(errors).max((1, 2, 3)) / 2)
    with pytest.raises(CalibrationError, match="share of the points"):
        field_scores(errors, 1.0, share=0.0)
    with pytest.raises(ZeroSigmaError):
        field_scores(errors, np.zeros((4, 5)))


def test_mahalanobis_scores_know_directions() -> None:
    random = np.random.default_rng(8)
    roots = random.standard_normal((3000, 3, 3))
    errors = np.einsum("aij,aj->ai", roots, random.standard_normal((3000, 3)))
    scores = mahalanobis_scores(errors, roots @ roots.swapaxes(1, 2))
    assert stats.kstest(scores**2, stats.chi2(3).cdf).pvalue > 0.01
    turn = np.linalg.qr(random.standard_normal((3, 3)))[0]
    turned = turn @ roots
    again = mahalanobis_scores(errors @ turn.T, turned @ turned.swapaxes(1, 2))
    np.testing.assert_allclose(again, scores, rtol=1e-6)
    flat = np.zeros((1, 3, 3))
    with pytest.raises(CalibrationError, match="give a floor"):
        mahalanobis_scores(np.ones((1, 3)), flat)
    assert mahalanobis_scores(np.array([[0.0, 3.0, 4.0]]), flat, floor=0.5) == pytest.approx([10.0])


@pytest.mark.parametrize("shift", [1.0, 3.0, 0.2])
def test_adaptive_levels_keep_the_coverage_of_shifted_data(shift: float) -> None:
    random = np.random.default_rng(9)
    calibration = np.abs(random.standard_normal(300))
    state, missed = AdaptiveLevel(0.9, gamma=0.02), []
    for _ in range(3000):
        score = shift * abs(random.standard_normal())
        missed.append(score > state.quantile(calibration))
        state = state.after(missed[-1])
    bound = (0.9 + 0.02) / (0.02 * 3000)
    assert abs(np.mean(missed) - 0.1) <= bound
    fixed = shift * np.abs(random.standard_normal(3000)) > conformal_quantile(calibration, 0.9)
    if shift > 1:
        assert fixed.mean() > 0.5


def test_adaptive_levels_hold_against_any_sequence() -> None:
    """Scores that are always too large drive the level up until nothing is missed."""
    state, missed = AdaptiveLevel(0.9, gamma=0.05), []
    calibration = np.arange(1.0, 101.0)
    for _ in range(400):
        missed.append(state.quantile(calibration) < 1e9)
        state = state.after(missed[-1])
    assert abs(np.mean(missed) - 0.1) <= (0.9 + 0.05) / (0.05 * 400)
    assert AdaptiveLevel(0.9).after(True).current == pytest.approx(0.909)
    assert AdaptiveLevel(0.9).after(False).current == pytest.approx(0.899)
    assert AdaptiveLevel(0.9, miscoverage=-0.01).quantile(calibration) == math.inf
    assert AdaptiveLevel(0.9, miscoverage=1.0).quantile(calibration) == -math.inf


def test_bad_input() -> None:
    with pytest.raises(SimkitError, match="between 0 and 1"):
        conformal_quantile(np.ones(10), 90.0)
    with pytest.raises(NotFiniteError, match="NaN in 1 of 2"):
        conformal_quantile(np.array([1.0, np.nan]), 0.5)
    with pytest.raises(CalibrationError, match="at least one draw"):
        conformal_quantile(np.zeros(0), 0.5)
    with pytest.raises(CalibrationError, match="positive gamma"):
        AdaptiveLevel(gamma=0.0)
