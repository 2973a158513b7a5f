"""Bayesian networks made of a trained one by noise on its normalisation layers (ABNN)."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace

import torch
from jaxtyping import Float
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor

from simkit.datasets.base import Dataset, Frame
from simkit.datasets.combine import MemoryDataset
from simkit.potential import Potential
from simkit.progress import Progress, Silent
from simkit.settings import Settings
from simkit.uncertainty.ensemble import Ensemble
from simkit.uncertainty.gates import Gates, find_gates
from simkit.uncertainty.posterior import Posterior, PosteriorSettings, start_scales
from simkit.uncertainty.target import largest_curvature

CITATION = "G. Franchi et al., Make me a BNN, CVPR 2024, arXiv:2312.15297"
FALLS = (1, 4)
"""Epochs before which the learning rate falls to a tenth."""


class AbnnSettings(Settings):
    """Noise and fine-tuning.

    Copies are fine-tuned by gradient descent with momentum on the posterior with fixed error scales, in which frame i
    counts ``1 + diversity·η_i`` times with η_i exponential of mean 1, other numbers for each copy.
    """

    noise: NonNegativeFloat = Field(default=0.01, description="standard deviation of ε in gates of 1 + ε")
    copies: PositiveInt = Field(default=3, description="fine-tuned copies")
    draws: PositiveInt = Field(default=6, description="draws of the noise for each copy")
    layers: tuple[str, ...] | None = Field(
        default=None, description="patterns of names of linear layers with invariant outputs, where they are not known"
    )
    posterior: PosteriorSettings = PosteriorSettings(scales="fixed", batch_size=5)
    diversity: NonNegativeFloat = 1.0
    epochs: NonNegativeInt = Field(default=5, le=5)
    learning_rate: PositiveFloat = Field(default=0.1, description="in units of one over the largest curvature")
    momentum: float = Field(default=0.9, ge=0, lt=1)


def adapt(
    potential: Potential,
    dataset: Dataset,
    settings: AbnnSettings,
    *,
    seed: int = 0,
    progress: Progress | None = None,
) -> Ensemble:
    """Copies of a trained potential with noise in its scalar channels, each fine-tuned under the noise.

    The gates become part of the parameters (see :class:`~simkit.uncertainty.gates.Gates`), so every draw is a
    potential of its own, with the constants of the trained one. On regression its uncertainties rank errors poorly, so
    prefer an ensemble where one can be trained.

    Args:
        potential: trained; it is not changed.
        dataset: the training frames.
        settings: of noise and fine-tuning.
        seed: of noise, frame weights and minibatches.
        progress: where a bar is shown.

    Raises:
        SimkitError: no layers with scalar channels are known.

    Reference: G. Franchi et al., CVPR 2024, arXiv:2312.15297.
    """
    fixed = settings.posterior.model_copy(update={"scales": "fixed"})
    scales = start_scales([potential], dataset, fixed)
    members: list[Potential] = []
    with (progress or Silent()).task("fine-tuning copies", settings.copies) as task:
        for copy in range(settings.copies):
            generator = torch.Generator().manual_seed(seed + copy)
            own = deepcopy(potential)
            frames = _unequal(dataset, settings.diversity, generator)
            posterior = Posterior(own, frames, fixed, scales, seed + copy)
            gates = find_gates(posterior.vector, settings.layers)
            values = _fine_tuned(posterior, gates, settings, generator)
            factors = [_factors(gates, settings.noise, values, generator) for _ in range(settings.draws)]
            members += posterior.vector.copies(torch.stack(factors) * values)
            task.advance()
    name = f"ABNN, {settings.copies} copies, {settings.draws} draws of each, noise {settings.noise:g}"
    return Ensemble(*members, method=name, citations=(CITATION,))


def _fine_tuned(
    posterior: Posterior, gates: Gates, settings: AbnnSettings, generator: torch.Generator
) -> Float[Tensor, " parameters"]:
    """Parameters after the epochs; each step has one draw of the noise."""
    values = posterior.start()
    if settings.epochs == 0:
        return values
    rate = settings.learning_rate / largest_curvature(posterior, values)
    velocity = torch.zeros_like(values)
    steps = 1 if posterior.exact else len(posterior.loader)
    for epoch in range(settings.epochs):
        own = rate * 0.1 ** sum(epoch >= fall for fall in FALLS)
        for step in range(epoch * steps, (epoch + 1) * steps):
            factors = _factors(gates, settings.noise, values, generator)
            _, gradient = posterior.evaluate(factors * values, step)
            velocity = settings.momentum * velocity - own * factors * gradient
            values = values + velocity
    return values


def _factors(gates: Gates, noise: float, like: Tensor, generator: torch.Generator) -> Float[Tensor, " parameters"]:
    drawn = noise * torch.randn(gates.count, generator=generator, dtype=like.dtype)
    return gates.factors(drawn, len(like)).to(like.device)


def _unequal(dataset: Dataset, diversity: float, generator: torch.Generator) -> MemoryDataset:
    """The frames with random weights."""
    drawn = -torch.rand(len(dataset), generator=generator, dtype=torch.float64).log()
    frames: Sequence[Frame] = [
        replace(frame, weight=frame.weight * (1 + diversity * extra))
        for frame, extra in zip(dataset, drawn.tolist(), strict=True)
    ]
    return MemoryDataset(frames)
