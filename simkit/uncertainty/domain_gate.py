"""A gate that tells structures within the domain of a score from those outside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from simkit.errors import SimkitError
from simkit.system import System

Reduction = Literal["mean", "max"]


@dataclass(frozen=True)
class DomainGate:
    """Structures whose score exceeds that of almost all calibration frames are out of the domain.

    Attributes:
        threshold: largest score within the domain.
        quantile: fraction of the calibration frames within it.
        reduction: the score of a structure is the mean, or the largest, of its atoms'.
    """

    threshold: float
    quantile: float
    reduction: Reduction = "mean"

    @classmethod
    def fit(cls, scores: Float[Tensor, " frames"], quantile: float = 0.99, reduction: Reduction = "mean") -> DomainGate:
        """Put the threshold at a quantile of the scores of calibration frames, which the model was not trained on.

        The quantile is the ``⌈(n + 1) q⌉``-th smallest of n scores, so that a new frame of the same kind passes with a
        probability of at least q.

        Args:
            scores: of the frames, from :func:`system_scores`.
            quantile: fraction q of frames of the same kind that pass.
            reduction: that the scores were made with.

        Raises:
            SimkitError: too few frames for the quantile, or scores that are not finite.
        """
        if not 0 < quantile < 1:
            raise SimkitError(f"expected a quantile between 0 and 1, found {quantile}")
        if not bool(torch.isfinite(scores).all()):
            raise SimkitError(
                "expected finite scores of the calibration frames: they have elements that training lacked"
            )
        place = int(np.ceil((len(scores) + 1) * quantile - 1e-9))
        if place > len(scores):
            least = int(np.ceil(quantile / (1 - quantile) - 1e-9))
            raise SimkitError(
                f"expected at least {least} calibration frames for the quantile {quantile:g}, found {len(scores)}: "
                "give more frames or a smaller quantile"
            )
        return cls(float(scores.sort().values[place - 1]), quantile, reduction)

    def outside(self, scores: Float[Tensor, " atoms"], system: System) -> Bool[Tensor, " systems"]:
        """Whether each system is out of the domain, from the scores of its atoms."""
        return system_scores(scores, system, self.reduction) > self.threshold


def system_scores(
    scores: Float[Tensor, " atoms"], system: System, reduction: Reduction = "mean"
) -> Float[Tensor, " systems"]:
    """The mean or largest score of the atoms of each system; zero without atoms."""
    zeros = scores.new_zeros(system.n_systems)
    if reduction == "max":
        return zeros.scatter_reduce(0, system.batch, scores, "amax", include_self=False)
    return zeros.index_add(0, system.batch, scores) / system.counts.clamp(min=1)
