"""Any method from its settings."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from simkit.datasets.base import Dataset
from simkit.errors import SimkitError
from simkit.potential import Potential
from simkit.progress import Progress
from simkit.uncertainty.abnn import AbnnSettings, adapt
from simkit.uncertainty.base import UncertainPotential
from simkit.uncertainty.chains import ChainSettings
from simkit.uncertainty.ensemble import Ensemble
from simkit.uncertainty.laplace import Laplace
from simkit.uncertainty.latent_distance import LatentDistance
from simkit.uncertainty.llpr import LLPR
from simkit.uncertainty.posterior import PosteriorSettings
from simkit.uncertainty.potential_chain import SamplingSettings
from simkit.uncertainty.sampling import sample_posterior
from simkit.uncertainty.sequential import SequentialSettings, sample_readout
from simkit.uncertainty.settings import (
    AbnnMethod,
    EnsembleMethod,
    LaplaceMethod,
    LatentDistanceMethod,
    LLPRMethod,
    MethodSettings,
    PosteriorOptions,
    SequentialMethod,
    SgMcmcMethod,
    SparseMethod,
    SwagMethod,
)
from simkit.uncertainty.sparse_variational import SparseSettings, sparse_ensemble
from simkit.uncertainty.swag import SwagSettings, swag


def fit_method(
    settings: MethodSettings,
    models: Sequence[Potential],
    dataset: Dataset | None = None,
    *,
    folder: str | os.PathLike[str],
    seed: int = 0,
    progress: Progress | None = None,
) -> UncertainPotential:
    """Give trained models an uncertainty.

    Args:
        settings: of the method.
        models: one, or the members of an ensemble, or the starts of several chains.
        dataset: the frames that they were trained on, for methods that are fitted.
        folder: for checkpoints of methods that take long.
        seed: of random numbers.
        progress: where progress is shown.

    Raises:
        SimkitError: a number of models that the method cannot use, no training frames, or models that do not suit it.
    """
    if isinstance(settings, EnsembleMethod):
        ensemble = Ensemble(*models)
        ensemble.require_spread()
        return ensemble
    frames = _frames(dataset, settings.kind)
    common: dict[str, Any] = {"seed": seed, "progress": progress}
    if isinstance(settings, SgMcmcMethod | SwagMethod):
        starts = [_trainable(model) for model in models]
        if isinstance(settings, SwagMethod):
            return swag(starts, frames, swag_settings(settings), Path(folder), **common)
        return sample_posterior(starts, frames, sampling_settings(settings), Path(folder), **common)
    potential = _one(models, settings.kind)
    if isinstance(settings, LLPRMethod):
        options = settings.model_dump(include={"terms", "draws", "exact", "jitter"})
        return LLPR.fit(potential, frames, scales=settings.scales, **options, **common)
    if isinstance(settings, LaplaceMethod):
        options = settings.model_dump(include={"terms", "draws", "prior", "parameters"})
        return Laplace.fit(_trainable(potential), frames, scales=settings.scales, **options, **common)
    if isinstance(settings, LatentDistanceMethod):
        return LatentDistance.fit(potential, frames, **settings.model_dump(exclude={"kind"}), **common)
    if isinstance(settings, AbnnMethod):
        return adapt(_trainable(potential), frames, abnn_settings(settings), **common)
    if isinstance(settings, SparseMethod):
        return sparse_ensemble(_trainable(potential), frames, sparse_settings(settings), **common)
    ensemble, _ = sample_readout(_trainable(potential), frames, sequential_settings(settings), **common)
    return ensemble


def sampling_settings(settings: SgMcmcMethod) -> SamplingSettings:
    """Posterior, chain and sampler."""
    chain = settings.model_dump(include={"steps", "burn_in", "kept", "temperature"})
    sampler = {"kind": settings.sampler, "step": settings.step}
    return SamplingSettings(
        posterior=_posterior(settings.posterior),
        chain=ChainSettings(**chain),
        sampler=sampler,  # type: ignore[arg-type]
        groups=settings.groups,
    )


def swag_settings(settings: SwagMethod) -> SwagSettings:
    """The same, as the method takes them."""
    return SwagSettings(posterior=_posterior(settings.posterior), **_own(settings))


def abnn_settings(settings: AbnnMethod) -> AbnnSettings:
    """The same, as the method takes them."""
    return AbnnSettings(posterior=_posterior(settings.posterior), **_own(settings))


def sequential_settings(settings: SequentialMethod) -> SequentialSettings:
    """The same, as the method takes them."""
    return SequentialSettings(posterior=_posterior(settings.posterior), **_own(settings))


def sparse_settings(settings: SparseMethod) -> SparseSettings:
    """The same, as the method takes them."""
    return SparseSettings(posterior=_posterior(settings.posterior), **_own(settings))


def _own(settings: SwagMethod | AbnnMethod | SequentialMethod | SparseMethod) -> dict[str, Any]:
    return settings.model_dump(exclude={"kind", "posterior"})


def _posterior(options: PosteriorOptions) -> PosteriorSettings:
    return PosteriorSettings(**options.model_dump())


def _trainable(potential: Potential) -> Potential:
    """Models that were opened for inference have parameters that nothing changes."""
    return potential.requires_grad_(True)


def _one(models: Sequence[Potential], kind: str) -> Potential:
    if len(models) != 1:
        raise SimkitError(f"the method {kind} takes one model, found {len(models)}: several are an ensemble")
    return models[0]


def _frames(dataset: Dataset | None, kind: str) -> Dataset:
    if dataset is None:
        raise SimkitError(
            f"the method {kind} is fitted to the frames that the model was trained on: give them (train: in a workflow "
            "file, --train on the command line)"
        )
    return dataset
