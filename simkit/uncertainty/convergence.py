"""Whether several chains have sampled the same distribution, and how many independent samples they hold."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.special import ndtri
from scipy.stats import rankdata

from simkit.analysis.statistics import autocorrelation
from simkit.errors import SimkitError

SHORTEST = 4
"""Fewest samples of a chain that can be judged."""

CITATION = "A. Vehtari et al., Bayesian Anal. 16, 667 (2021), doi:10.1214/20-BA1221"


@dataclass(frozen=True)
class Convergence:
    """What the chains of one quantity tell.

    Attributes:
        r_hat: about 1 where chains agree; above 1.1 they do not, or are too short.
        effective_samples: number of independent samples that estimate the mean as well.
    """

    r_hat: float
    effective_samples: float


def convergence(chains: Float[ndarray, "chains samples"]) -> Convergence:
    """R-hat and effective sample size of one quantity."""
    return Convergence(r_hat(chains), effective_sample_size(chains))


def r_hat(chains: Float[ndarray, "chains samples"]) -> float:
    """Rank-normalised split R-hat: the larger one of that for the values and that for their distances to the median.

    Chains are halved. With the mean W of the variances within n samples and the variance B/n between their means,
    ``R² = (n-1)/n + B/(nW)``; values are first replaced by normal scores of their ranks. Infinite for chains that do
    not move and differ.

    Raises:
        SimkitError: chains of fewer than four samples.

    Reference: A. Vehtari et al., Bayesian Anal. 16, 667 (2021), doi:10.1214/20-BA1221.
    """
    halves = _halves(chains)
    folded = np.abs(halves - np.median(halves))
    return max(_basic_r_hat(_normal_scores(halves)), _basic_r_hat(_normal_scores(folded)))


def effective_sample_size(chains: Float[ndarray, "chains samples"]) -> float:
    """``C n / (1 + 2 Σ_k ρ(k))`` of rank-normalised half chains, where the sum ends by Geyer's monotone sequence.

    Raises:
        SimkitError: chains of fewer than four samples.

    Reference: A. Vehtari et al., Bayesian Anal. 16, 667 (2021), doi:10.1214/20-BA1221.
    """
    scores = _normal_scores(_halves(chains))
    count, length = scores.shape
    within, total = _variances(scores)
    if total == 0:
        return float(count * length)
    centred = scores - scores.mean(1, keepdims=True)
    covariance = autocorrelation(centred.T).T * (1 - np.arange(length) / length)
    rho = 1 - (within - covariance.mean(0) * length / (length - 1)) / total
    pairs = rho[: length - length % 2].reshape(-1, 2).sum(1)
    ends = np.flatnonzero(pairs < 0)
    positive = pairs[: ends[0]] if len(ends) else pairs
    time = max(2 * np.minimum.accumulate(positive).sum() - 1, 1 / math.log10(count * length))
    return float(count * length / time)


def _halves(chains: Float[ndarray, "chains samples"]) -> Float[ndarray, "halves shorter"]:
    if chains.ndim != 2 or chains.shape[1] < SHORTEST:
        raise SimkitError(
            f"expected chains of {SHORTEST} samples at least, found an array of shape {chains.shape}: keep more samples"
        )
    middle = chains.shape[1] // 2
    return np.concatenate([chains[:, :middle], chains[:, -middle:]])


def _normal_scores(values: ndarray) -> ndarray:
    ranks = rankdata(values, method="average").reshape(values.shape)
    return ndtri((ranks - 0.375) / (values.size + 0.25))


def _variances(chains: ndarray) -> tuple[float, float]:
    """Mean variance within chains, and the estimate of the variance of the whole."""
    length = chains.shape[1]
    within = float(chains.var(1, ddof=1).mean())
    return within, within * (length - 1) / length + float(chains.mean(1).var(ddof=1))


def _basic_r_hat(chains: ndarray) -> float:
    within, total = _variances(chains)
    if within == 0:
        return 1.0 if total == 0 else math.inf
    return math.sqrt(total / within)
