"""Error bars of statistics of correlated rows, by resampling whole trajectories."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from simkit.uncertainty.residuals import TooFewGroupsError

REPEATS = 200
"""Resamplings, enough for error bars that are known to about 5 %."""


@dataclass(frozen=True)
class Bootstrap:
    """Statistics of resampled data.

    Attributes:
        values: one set of statistics for each resampling; NaN where a statistic is not defined.
    """

    values: Float[ndarray, "repeats statistics"]

    @property
    def error(self) -> Float[ndarray, " statistics"]:
        """Standard errors."""
        return _over_known(self.values, lambda known: known.std(ddof=1, keepdims=True), 2, 1)[:, 0]

    def interval(self, level: float = 0.9) -> Float[ndarray, "2 statistics"]:
        """Quantiles that enclose this share of the resampled statistics."""
        tails = [0.5 - 0.5 * level, 0.5 + 0.5 * level]
        return _over_known(self.values, lambda known: np.quantile(known, tails), 1, 2).T


def block_bootstrap(
    statistics: Callable[[Int[ndarray, " rows"]], Float[ndarray, " statistics"]],
    groups: Int[ndarray, " rows"],
    repeats: int = REPEATS,
    seed: int = 0,
) -> Bootstrap:
    """Draw as many groups as there are, with replacement, and compute statistics of all their rows.

    Rows of one group, such as the atoms and frames of a trajectory, stay together: resampling them one by one would
    take them as independent and give error bars that are too small.

    Args:
        statistics: function of the indices of the chosen rows, some of which occur more than once.
        groups: of each row.
        repeats: how many resamplings.
        seed: of the random numbers.

    Raises:
        TooFewGroupsError: one group only.

    Reference: B. Efron, R. J. Tibshirani, An Introduction to the Bootstrap, Chapman & Hall (1993).
    """
    order = np.argsort(groups, kind="stable")
    blocks = np.split(order, np.flatnonzero(np.diff(groups[order])) + 1)
    if len(blocks) < 2:
        raise TooFewGroupsError(
            "expected rows of at least two independent groups to estimate errors from, found one: give the trajectory "
            "of each frame"
        )
    random = np.random.default_rng(seed)
    values = [
        statistics(np.concatenate([blocks[index] for index in random.integers(len(blocks), size=len(blocks))]))
        for _ in range(repeats)
    ]
    return Bootstrap(np.array(values, dtype=np.float64))


def _over_known(
    values: ndarray, function: Callable[[ndarray], ndarray], least: int, results: int
) -> Float[ndarray, "statistics results"]:
    """A function of the defined values of each column, NaN where there are fewer than ``least``."""
    columns = [column[np.isfinite(column)] for column in values.T]
    return np.array([function(column) if len(column) >= least else np.full(results, np.nan) for column in columns])
