"""Gaussian posteriors from the path of a training at a constant learning rate (SWAG)."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor

from simkit.datasets.base import Dataset
from simkit.errors import SimkitError
from simkit.potential import Potential
from simkit.progress import Progress, Silent
from simkit.settings import Settings
from simkit.uncertainty.chains import ChainSettings
from simkit.uncertainty.ensemble import Ensemble
from simkit.uncertainty.langevin import PSGLD
from simkit.uncertainty.posterior import PosteriorSettings, start_scales
from simkit.uncertainty.potential_chain import PotentialChain, SamplingSettings, loaded

CITATION = "W. J. Maddox et al., Adv. Neural Inf. Process. Syst. 32 (2019), arXiv:1902.02476"


class SwagSettings(Settings):
    """How long the path is, and how many draws are made of the Gaussian.

    The path is RMSprop with a constant step on minibatches of the posterior with fixed error scales, one iterate after
    each epoch.
    """

    posterior: PosteriorSettings = PosteriorSettings(scales="fixed", batch_size=5)
    epochs: PositiveInt = 40
    burn_in: float = Field(default=0.25, ge=0, lt=1, description="first part of the epochs, which is not used")
    step: PositiveFloat | None = Field(default=None, description="ε of RMSprop; chosen from the curvature by default")
    rank: PositiveInt = Field(default=20, description="most deviations in the low-rank part")
    draws: PositiveInt = Field(default=20, description="draws, and so members, for each potential")
    scale: PositiveFloat = Field(default=1.0, description="factor of the covariance")


@dataclass(frozen=True)
class SwagMoments:
    """First and second moments of iterates, with the last deviations from their running mean.

    Attributes:
        mean: of the iterates.
        variance: of each parameter.
        deviations: of each of the last iterates from the mean of those up to it.
    """

    mean: Float[Tensor, " parameters"]
    variance: Float[Tensor, " parameters"]
    deviations: Float[Tensor, "rank parameters"]

    @classmethod
    def of(cls, iterates: Float[Tensor, "iterates parameters"], rank: int) -> SwagMoments:
        """Moments of iterates in their order.

        Raises:
            SimkitError: fewer than three iterates, or a rank below two.
        """
        if len(iterates) < 3 or rank < 2:
            raise SimkitError(
                f"expected at least 3 iterates and a rank of 2, found {len(iterates)} and {rank}: train for more epochs"
            )
        counts = torch.arange(1, len(iterates) + 1, dtype=iterates.dtype, device=iterates.device)[:, None]
        running = iterates.cumsum(0) / counts
        return cls(running[-1], iterates.var(0, correction=0), (iterates - running)[-rank:])

    def draws(self, count: int, generator: torch.Generator, scale: float = 1.0) -> Float[Tensor, "draws parameters"]:
        """``θ̄ + √(s/2) (σ ∘ z + Dᵀ z'/√(K-1))`` with the K deviations D and normal z, z'."""
        rank, size = self.deviations.shape
        kind = self.mean.dtype
        diagonal = self.variance.sqrt() * torch.randn((count, size), generator=generator, dtype=kind).to(self.mean)
        low_rank = torch.randn((count, rank), generator=generator, dtype=kind).to(self.mean) @ self.deviations
        return self.mean + math.sqrt(scale / 2) * (diagonal + low_rank / math.sqrt(rank - 1))


def swag(
    potentials: Sequence[Potential | str | os.PathLike[str]],
    dataset: Dataset,
    settings: SwagSettings,
    folder: str | os.PathLike[str],
    *,
    seed: int = 0,
    progress: Progress | None = None,
) -> Ensemble:
    """Draws of a Gaussian around the path of a further training of each potential; several make MultiSWAG.

    Args:
        potentials: trained, or their model files.
        dataset: the training frames.
        settings: of the path and the draws.
        folder: receives a checkpoint for each path; the same call continues what was interrupted.
        seed: of minibatches and draws.
        progress: where bars are shown.

    Raises:
        SimkitError: no potentials, too few epochs, no minibatches, or a step that is not stable.

    Reference: W. J. Maddox et al., NeurIPS 2019, arXiv:1902.02476.
    """
    if settings.posterior.batch_size is None:
        raise SimkitError("SWAG lives on the noise of minibatches: give posterior.batch_size")
    starts, progress = loaded(potentials), progress or Silent()
    scales = start_scales(starts, dataset, settings.posterior)
    epoch = math.ceil(len(dataset) / settings.posterior.batch_size)
    burned = int(settings.epochs * settings.burn_in)
    sampling = SamplingSettings(
        posterior=settings.posterior.model_copy(update={"scales": "fixed"}),
        chain=ChainSettings(
            steps=settings.epochs * epoch,
            burn_in=burned / settings.epochs,
            kept=settings.epochs - burned,
            temperature=0.0,
        ),
        sampler=PSGLD(step=settings.step, freeze=False),
    )
    members: list[Potential] = []
    for index, potential in enumerate(starts):
        one = PotentialChain(potential, dataset, sampling, scales, seed + index)
        title = f"path {index + 1} of {len(starts)}"
        state = one.run(Path(folder) / f"path-{index}.safetensors", progress, title)
        moments = SwagMoments.of(state.samples, settings.rank)
        generator = torch.Generator().manual_seed(seed + index)
        members += one.posterior.vector.copies(moments.draws(settings.draws, generator, settings.scale))
    return Ensemble(
        *members, method=f"SWAG, {len(starts)} paths, {settings.draws} draws of each", citations=(CITATION,)
    )
