"""Conformal prediction: intervals that hold the truth with a promised probability, whatever the errors look like.

The promise holds for draws that are exchangeable with those of the calibration. Draws are configurations, trajectories
or solutions of an equation, never the atoms or points within one: those are correlated, so first reduce their scores to
one for each draw with :func:`draw_scores`. Everything here takes plain arrays.

References: V. Vovk, A. Gammerman, G. Shafer, Algorithmic Learning in a Random World, Springer (2005); J. Lei et al., J.
Am. Stat. Assoc. 113, 1094 (2018), doi:10.1080/01621459.2017.1307116.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float, Int, Shaped
from numpy import ndarray
from scipy import stats

from simkit.uncertainty.intervals import require_level
from simkit.uncertainty.residuals import CalibrationError, NotFiniteError, require_positive

Reduction = Literal["max", "quantile", "sample"]
"""Of the scores within a draw: the largest; their 95 % quantile; one of them at random."""

FEWEST_OF_A_GROUP = 50
"""Draws of a group that deserves a quantile of its own."""


def conformal_quantile(scores: Float[ndarray, " draws"], level: float) -> float:
    """The ``⌈(n+1) level⌉``-th smallest of n calibration scores: a new one is at most as large with this probability.

    Infinity where n is too small for the level: at least ``level / (1 - level)`` draws are needed.

    Raises:
        NotFiniteError: a score that is NaN.
        SimkitError: a level that is not within (0, 1).
    """
    require_level(level)
    _require_numbers(scores)
    position = _position(len(scores), level)
    return math.inf if position > len(scores) else float(np.partition(scores, position - 1)[position - 1])


def coverage_band(
    draws: int, level: float, probability: float = 0.9, *, tested: int | None = None
) -> tuple[float, float]:
    """Where the coverage lies with a probability, over all sets of calibration data: quantiles of Beta(k, n + 1 - k).

    The share of m test draws within intervals scatters more; m times it follows the beta-binomial distribution of the
    same k and n.

    Args:
        draws: n, of the calibration.
        level: promised coverage; ``k = ⌈(n+1) level⌉``.
        probability: of the central band.
        tested: m; infinitely many by default.
    """
    require_level(level)
    position = _position(draws, level)
    if position > draws:
        return 1.0, 1.0
    tail = 0.5 - 0.5 * probability
    parameters = (position, draws + 1 - position)
    if tested is None:
        low, high = stats.beta.ppf([tail, 1 - tail], *parameters).tolist()
    else:
        low, high = (stats.betabinom.ppf([tail, 1 - tail], tested, *parameters) / tested).tolist()
    return low, high


def group_quantiles(
    scores: Float[ndarray, " draws"],
    groups: Shaped[ndarray, " draws"],
    level: float,
    fewest: int = FEWEST_OF_A_GROUP,
) -> dict[object, float]:
    """A quantile for each group, such as an element, a phase or a range of sizes: the promise then holds in each.

    Raises:
        CalibrationError: a group of fewer than ``fewest`` draws.
    """
    found: dict[object, float] = {}
    for label in np.unique(groups):
        members = scores[groups == label]
        if len(members) < fewest:
            raise CalibrationError(
                f"expected at least {fewest} draws of each group for a quantile of its own, found {len(members)} of "
                f"{label.item()!r}: join it with another group, or add data"
            )
        found[label.item()] = conformal_quantile(members, level)
    return found


def draw_scores(
    scores: Float[ndarray, " rows"],
    draws: Int[ndarray, " rows"],
    reduction: Reduction | str = "max",
    *,
    quantile: float = 0.95,
    seed: int = 0,
) -> Float[ndarray, " draws"]:
    """One score for each draw, from those of its atoms, points or frames.

    With ``max`` an interval holds all rows of a draw at once, with ``quantile`` at least that share of them, and with
    ``sample`` a row chosen at random.

    Args:
        scores: of each row.
        draws: which draw a row belongs to.
        reduction: how they are joined.
        quantile: share of the rows, for ``quantile``.
        seed: of the choice, for ``sample``.

    Reference: R. Dunn, L. Wasserman, A. Ramdas, J. Am. Stat. Assoc. 118, 2491 (2023),
    doi:10.1080/01621459.2022.2060112 (one of each draw).
    """
    if reduction not in get_args(Reduction):
        raise CalibrationError(f"expected a reduction among {', '.join(get_args(Reduction))}; found {reduction!r}")
    _require_numbers(scores)
    order = np.argsort(draws, kind="stable")
    parts = np.split(scores[order], np.flatnonzero(np.diff(draws[order])) + 1)
    if reduction == "max":
        return np.array([part.max() for part in parts])
    if reduction == "quantile":
        return np.array([np.quantile(part, quantile, method="inverted_cdf") for part in parts])
    random = np.random.default_rng(seed)
    return np.array([part[random.integers(len(part))] for part in parts])


def field_scores(
    errors: Float[ndarray, "draws ..."], sigmas: Float[ndarray, "*shape"] | float, share: float = 1.0
) -> Float[ndarray, " draws"]:
    """Scores of fields: the largest ``|u - û|/σ`` over the points, or a quantile of it.

    With the quantile q of these scores, ``û ± q σ`` holds a whole new field (``share`` 1), or this share of its points.
    For a rollout, let time be one of the axes, or score each time on its own.

    Args:
        errors: of fields û, for draws of the initial condition or the parameters.
        sigmas: of the shape of the errors, or broadcast to it.
        share: of the points.

    Raises:
        CalibrationError: a share that is not within (0, 1].
    """
    if not 0 < share <= 1:
        raise CalibrationError(f"expected a share of the points within (0, 1], found {share}")
    require_positive(np.asarray(sigmas, dtype=np.float64))
    flat = (np.abs(errors) / sigmas).reshape(len(errors), -1)
    draws = np.repeat(np.arange(len(errors)), flat.shape[1])
    return draw_scores(flat.ravel(), draws, "quantile", quantile=share)


def mahalanobis_scores(
    errors: Float[ndarray, "rows d"], covariances: Float[ndarray, "rows d d"], floor: float = 0.0
) -> Float[ndarray, " rows"]:
    """``√(rᵀ (C + floor² 1)⁻¹ r)``, which knows in which directions an error is likely.

    Args:
        errors: r.
        covariances: C; those of few members have directions without any spread, so give a floor.
        floor: standard deviation that is added in all directions.
    """
    widened = covariances + floor**2 * np.eye(errors.shape[1])
    try:
        solved = np.linalg.solve(widened, errors[..., None])[..., 0]
    except np.linalg.LinAlgError as error:
        raise CalibrationError(
            "expected covariances with a spread in all directions, found singular ones: give a floor, such as 1 % of "
            "the typical deviation"
        ) from error
    return np.sqrt((errors * solved).sum(1).clip(min=0))


@dataclass(frozen=True)
class AdaptiveLevel:
    """Adaptive conformal inference: the level follows how often intervals have missed, so coverage holds under shifts.

    ``α_{t+1} = α_t + γ (α - err_t)`` with err = 1 where the truth was missed. The share of misses over T steps differs
    from α by at most ``(max(α_1, 1 - α_1) + γ) / (γ T)``, whatever the data do.

    Attributes:
        level: wanted coverage, 1 - α.
        gamma: γ; larger follows faster and fluctuates more.
        miscoverage: α_t; the wanted one at the start.

    Reference: I. Gibbs, E. Candès, Adv. Neural Inf. Process. Syst. 34 (2021), arXiv:2106.00170.
    """

    level: float = 0.9
    gamma: float = 0.01
    miscoverage: float | None = None

    def __post_init__(self) -> None:
        require_level(self.level)
        if not self.gamma > 0:
            raise CalibrationError(f"expected a positive gamma, such as 0.01, found {self.gamma}")
        if self.miscoverage is None:
            object.__setattr__(self, "miscoverage", 1 - self.level)

    @property
    def current(self) -> float:
        """1 - α_t, the level to use now; it may leave [0, 1]."""
        assert self.miscoverage is not None
        return 1 - self.miscoverage

    def quantile(self, scores: Float[ndarray, " draws"]) -> float:
        """Quantile of calibration scores at the present level: infinite above 1, minus infinity (nothing) below 0."""
        if self.current >= 1:
            return math.inf
        return -math.inf if self.current <= 0 else conformal_quantile(scores, self.current)

    def after(self, missed: bool) -> AdaptiveLevel:
        """The level after an interval that missed the truth, or held it."""
        assert self.miscoverage is not None
        return replace(self, miscoverage=self.miscoverage + self.gamma * (1 - self.level - float(missed)))


def _position(draws: int, level: float) -> int:
    """``⌈(n+1) level⌉``, where rounding of the product must not count."""
    return max(1, math.ceil((draws + 1) * level - 1e-9))


def _require_numbers(scores: ndarray | Sequence[float]) -> None:
    values = np.asarray(scores)
    if len(values) == 0:
        raise CalibrationError("expected conformal scores of at least one draw, found none")
    if np.isnan(values).any():
        raise NotFiniteError(
            f"expected conformal scores that are numbers, found NaN in {int(np.isnan(values).sum())} of {len(values)}: "
            "leave out what is not labelled, and rows without error and uncertainty"
        )
