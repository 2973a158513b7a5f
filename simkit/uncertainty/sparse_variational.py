"""Sparse subspace variational inference (SSVI): a Gaussian over a few weights, which are chosen while it is fitted."""

from __future__ import annotations

import math
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Bool, Float
from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor

from simkit.datasets.base import Dataset
from simkit.errors import SimkitError
from simkit.potential import Potential
from simkit.progress import Progress, Silent
from simkit.settings import Settings
from simkit.uncertainty.ensemble import Ensemble
from simkit.uncertainty.posterior import Posterior, PosteriorSettings, start_scales
from simkit.uncertainty.target import Target

CITATION = "J. Li, Z. Miao, Q. Qiu, R. Zhang, ICML 2024, arXiv:2402.11025"
BETAS, SMALL = (0.9, 0.999), 1e-8
"""Of Adam."""


class SparseSettings(Settings):
    """How many weights are not zero, and how they are found."""

    density: float = Field(default=0.5, gt=0, le=1, description="fraction of the weights that are active")
    steps: PositiveInt = 2000
    every: PositiveInt = Field(default=100, description="steps between two changes of the active weights")
    exchanged: float = Field(default=0.3, ge=0, lt=1, description="first fraction that is exchanged; it falls to zero")
    fixed_after: float = Field(default=0.75, gt=0, le=1, description="part of the steps after which nothing changes")
    criterion: Literal["signal-to-noise", "size"] = "signal-to-noise"
    learning_rate: PositiveFloat = 1e-3
    start_std: PositiveFloat = 6e-4
    temperature: PositiveFloat = 1.0
    posterior: PosteriorSettings = PosteriorSettings(scales="fixed", batch_size=5)
    draws: PositiveInt = 16


@dataclass(frozen=True)
class SparseGaussian:
    """Independent normal weights, of which those that are not active are zero.

    Attributes:
        mean: of each weight.
        std: of each weight.
        active: whether it differs from zero.
    """

    mean: Float[Tensor, " parameters"]
    std: Float[Tensor, " parameters"]
    active: Bool[Tensor, " parameters"]

    def at(self, noise: Float[Tensor, "*draws parameters"]) -> Float[Tensor, "*draws parameters"]:
        """Weights for standard normal numbers."""
        return torch.where(self.active, self.mean + self.std * noise, 0)


def mean_size(mean: Float[Tensor, " n"], std: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """``E|w| = s√(2/π) exp(-m²/2s²) + m (1 - 2Φ(-m/s))`` for normal w."""
    ratio = mean / std
    return std * math.sqrt(2 / math.pi) * torch.exp(-0.5 * ratio.square()) + mean * torch.erf(ratio / math.sqrt(2))


def signal_to_noise(mean: Float[Tensor, " n"], std: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """``E|w| / √(m² + s² - (E|w|)²)`` for normal w."""
    size = mean_size(mean, std)
    return size / (mean.square() + std.square() - size.square()).clamp(min=1e-300).sqrt()


def fit_sparse(
    target: Target, start: Float[Tensor, " parameters"], settings: SparseSettings, generator: torch.Generator
) -> SparseGaussian:
    """Lower ``⟨U⟩_q - T Σ log s`` over the means and deviations of the active weights, by Adam.

    Now and then the active weights that score lowest are dropped and as many others activated, those with the largest
    derivative of U, with mean zero and the mean deviation of the active ones.

    Args:
        target: minus the logarithm of the posterior.
        start: first means; the largest ones are active at first.
        settings: of the fit.
        generator: of the draws.

    Reference: J. Li et al., ICML 2024, arXiv:2402.11025.
    """
    count = max(1, round(settings.density * len(start)))
    active = torch.zeros(len(start), dtype=torch.bool)
    active[start.abs().topk(count).indices] = True
    found = SparseGaussian(start.clone(), torch.full_like(start, settings.start_std), active)
    moments = start.new_zeros(2, 2, len(start))
    for step in range(settings.steps):
        noise = torch.randn(start.shape, generator=generator, dtype=start.dtype)
        _, gradient = target.evaluate(found.at(noise), step)
        done = step / (settings.fixed_after * settings.steps)
        if step and step % settings.every == 0 and done < 1:
            found = _exchanged(found, gradient, settings, 0.5 * (1 + math.cos(math.pi * done)))
            moments[..., ~active | ~found.active] = 0
            active = found.active
        # log s is what is changed, so that s stays positive
        slopes = torch.stack([gradient, gradient * noise * found.std - settings.temperature]) * active
        moments[0] = BETAS[0] * moments[0] + (1 - BETAS[0]) * slopes
        moments[1] = BETAS[1] * moments[1] + (1 - BETAS[1]) * slopes.square()
        first, second = (moments[i] / (1 - beta ** (step + 1)) for i, beta in enumerate(BETAS))
        change = settings.learning_rate * first / (second.sqrt() + SMALL)
        found = replace(found, mean=found.mean - change[0], std=found.std * torch.exp(-change[1]))
    return found


def _exchanged(
    found: SparseGaussian, gradient: Float[Tensor, " parameters"], settings: SparseSettings, share: float
) -> SparseGaussian:
    """Drop some active weights and activate as many others."""
    inactive = int((~found.active).sum())
    count = min(int(settings.exchanged * share * int(found.active.sum())), inactive)
    if count == 0:
        return found
    score = signal_to_noise if settings.criterion == "signal-to-noise" else mean_size
    scores = torch.where(found.active, score(found.mean, found.std), math.inf)
    dropped = scores.topk(count, largest=False).indices
    added = torch.where(found.active, -1, gradient.abs()).topk(count).indices
    active, mean, std = found.active.clone(), found.mean.clone(), found.std.clone()
    std[added] = std[found.active].mean()
    mean[added], mean[dropped] = 0.0, 0.0
    active[dropped], active[added] = False, True
    return SparseGaussian(mean, std, active)


def sparse_ensemble(
    potential: Potential,
    dataset: Dataset,
    settings: SparseSettings,
    *,
    seed: int = 0,
    progress: Progress | None = None,
) -> Ensemble:
    """Draws of a sparse Gaussian over the weights of a potential, whose other weights become zero.

    Args:
        potential: trained; it is not changed.
        dataset: the training frames.
        settings: of the fit.
        seed: of all draws and of the minibatches.
        progress: where the fraction of active weights is said.

    Raises:
        SimkitError: nothing to train, or fewer than two draws.

    Reference: J. Li et al., ICML 2024, arXiv:2402.11025.
    """
    if settings.draws < 2:
        raise SimkitError(f"expected at least two draws, whose spread is the uncertainty, found {settings.draws}")
    fixed = settings.posterior.model_copy(update={"scales": "fixed"})
    scales = start_scales([potential], dataset, fixed)
    posterior = Posterior(deepcopy(potential), dataset, fixed, scales, seed)
    generator = torch.Generator().manual_seed(seed)
    found = fit_sparse(posterior, posterior.start(), settings, generator)
    active = int(found.active.sum())
    (progress or Silent()).say(f"{active} of {len(found.active)} weights are active")
    noise = torch.randn((settings.draws, len(found.mean)), generator=generator, dtype=found.mean.dtype)
    members = posterior.vector.copies(found.at(noise))
    name = f"SSVI, {active} of {len(found.active)} weights, {settings.draws} draws"
    return Ensemble(*members, method=name, citations=(CITATION,))
