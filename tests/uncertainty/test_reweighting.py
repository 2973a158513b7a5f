"""Reweighting on harmonic wells, where every average is known."""

from __future__ import annotations

import numpy as np
import pytest

from simkit.errors import DataError, SimkitWarning
from simkit.uncertainty.reweighting import MemberAverages, member_averages
from simkit.units import BOLTZMANN

TEMPERATURE = 300.0
KT = BOLTZMANN * TEMPERATURE
STIFFNESS = 1.0


def positions(frames: int, seed: int = 0) -> np.ndarray:
    """Independent canonical draws in the well ``k x²/2``."""
    return np.random.default_rng(seed).normal(0, np.sqrt(KT / STIFFNESS), frames)


def wells(x: np.ndarray, factors: np.ndarray) -> np.ndarray:
    return 0.5 * STIFFNESS * factors[:, None] * x**2


def averages(factors: np.ndarray, frames: int, seed: int = 0, **options) -> MemberAverages:
    x = positions(frames, seed)
    energies = 0.5 * STIFFNESS * x**2
    return member_averages(x**2, wells(x, factors), TEMPERATURE, energies=energies, **options)


def test_direct_is_exact_for_long_trajectories() -> None:
    """``⟨x²⟩ = k_B T / k`` of each member, with an error that falls as one over the root of the frames."""
    factors = np.array([0.8, 0.95, 1.1, 1.3])
    errors = []
    for frames in (1_000, 100_000):
        runs = [averages(factors, frames, seed, method="direct").averages for seed in range(6)]
        errors.append(np.sqrt(np.square(np.array(runs) * STIFFNESS / KT - 1 / factors).mean()))
    assert errors[1] < 0.006
    assert errors[0] / errors[1] == pytest.approx(10, rel=0.5)


def test_cumulant_is_exact_to_first_order() -> None:
    """Its error beside ``1/(1+x) = 1 - x + x² ...`` is the term in x²: four times smaller for half the step."""
    x = positions(400_000)
    steps = np.array([0.1, 0.2, 0.4])
    factors = np.concatenate([1 + steps, 1 - steps])
    found = averages(factors, 400_000, method="cumulant").averages
    exact = np.array(
        [(x**2 * w).sum() / w.sum() for w in np.exp(-(factors[:, None] - 1) * 0.5 * STIFFNESS * x**2 / KT)]
    )
    even = ((exact - found)[:3] + (exact - found)[3:]) / 2
    assert even[1] / even[0] == pytest.approx(4, rel=0.1)
    linear = (found[:3] - found[3:]) / (2 * steps)
    np.testing.assert_allclose(linear, -KT / STIFFNESS, rtol=0.02)


def test_rule_and_warning() -> None:
    """Direct for members near the trajectory's potential, cumulant for others, and a word where nothing helps."""
    factors = np.array([1.1, 1.9, 6.0])
    with pytest.warns(SimkitWarning, match="members 2 spread by more than 2 k_B T"):
        found = averages(factors, 5_000)
    assert found.methods == ("direct", "cumulant", "cumulant")
    assert found.hopeless == (2,)
    assert found.spread[0] < 0.5 < found.spread[1] < 2 < found.spread[2]
    assert ((found.effective_frames >= 1) & (found.effective_frames <= 5_000)).all()
    assert found.effective_frames[0] > found.effective_frames[1] > found.effective_frames[2]


@pytest.mark.parametrize("method", ["direct", "cumulant"])
def test_sampling_error_is_subtracted(method: str) -> None:
    """The spread over members is that of the wells, though short trajectories scatter far more than that."""
    factors = np.array([0.985, 0.995, 1.005, 1.015])
    truth = np.std(1 / factors, ddof=1) * KT
    raw, net = [], []
    for seed in range(60):
        found = averages(factors, 64, seed, method=method)
        raw.append(found.averages.var(ddof=1))
        net.append(raw[-1] - np.square(found.member_sampling_errors).sum() / 3)
        assert float(found.model_std) == pytest.approx(np.sqrt(max(net[-1], 0)), rel=1e-9, abs=1e-15)
    error = np.std(net) / np.sqrt(len(net))
    assert np.mean(net) == pytest.approx(truth**2, abs=3 * error)
    assert np.mean(raw) > np.mean(net)


def test_members_that_differ_by_a_constant_agree() -> None:
    x = positions(200)
    energies = wells(x, np.ones(3)) + np.array([[0.0], [5.0], [-700.0]])
    bins = np.stack([x, x**2, np.abs(x)], 1)
    found = member_averages(bins, energies, TEMPERATURE)
    assert found.averages.shape == (3, 3)
    np.testing.assert_allclose(found.averages, np.tile(bins.mean(0), (3, 1)), atol=1e-12)
    np.testing.assert_allclose(found.model_std, 0, atol=1e-12)
    np.testing.assert_allclose(found.effective_frames, 200)


def test_sampling_error_is_that_of_the_trajectory() -> None:
    means = [averages(np.array([0.9, 1.1]), 256, seed) for seed in range(100)]
    scatter = np.std([float(one.mean) for one in means])
    assert np.mean([float(one.sampling_error) for one in means]) == pytest.approx(scatter, rel=0.2)


def test_bad_input() -> None:
    x = positions(10)
    good = wells(x, np.array([0.9, 1.1]))
    with pytest.raises(DataError, match="expected energies of the 9 frames"):
        member_averages(x[:9], good, TEMPERATURE)
    with pytest.raises(DataError, match="at least 2 members"):
        member_averages(x, good[:1], TEMPERATURE)
    with pytest.raises(DataError, match="at least 2 members and 4 frames"):
        member_averages(x[:1], good[:, :1], TEMPERATURE)
    with pytest.raises(DataError, match="found NaN"):
        member_averages(np.full(10, np.nan), good, TEMPERATURE)
    with pytest.raises(DataError, match="positive temperature"):
        member_averages(x, good, 0.0)
