"""A chain of samples of a potential's parameters, begun at the potential."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from simkit.datasets.base import Dataset
from simkit.errors import SimkitError
from simkit.potential import Potential
from simkit.potentials.model_file import load_model
from simkit.progress import Progress
from simkit.settings import Settings
from simkit.uncertainty.chains import Chain, ChainSettings, ChainState
from simkit.uncertainty.posterior import Posterior, PosteriorSettings, Scales
from simkit.uncertainty.sampler import Move, Sampler
from simkit.uncertainty.samplers import BAOA, AnySampler
from simkit.uncertainty.structured import parameter_groups
from simkit.uncertainty.target import ControlVariate, Target, gradient_noise, largest_curvature


class SamplingSettings(Settings):
    """Posterior, chains and sampler; ``groups`` of parameters by name patterns make the sampling structured."""

    posterior: PosteriorSettings = PosteriorSettings()
    chain: ChainSettings = ChainSettings()
    sampler: AnySampler = BAOA()
    groups: tuple[tuple[str, ...], ...] = Field(
        default=(), description="patterns of names of parameters in each group that is sampled as if independent"
    )


class PotentialChain:
    """One chain, its step chosen from the curvature of the posterior at its start.

    Args:
        potential: where it starts; its parameters are changed.
        dataset: labelled frames.
        settings: of posterior, chain and sampler.
        scales: of the errors.
        seed: of the noise and of the order of minibatches.

    Raises:
        SimkitError: a step that is not stable, or what :class:`Posterior` refuses.
    """

    def __init__(
        self, potential: Potential, dataset: Dataset, settings: SamplingSettings, scales: Scales, seed: int
    ) -> None:
        self.settings, self.seed = settings, seed
        self.posterior = Posterior(potential, dataset, settings.posterior, scales, seed)
        self.start = self.posterior.start()
        self.target: Target = self.posterior
        if settings.posterior.control_variates:
            everything = settings.posterior.model_copy(update={"batch_size": None, "control_variates": False})
            full = Posterior(potential, dataset, everything, scales)
            self.target = ControlVariate(self.posterior, full, self.start)
        self.sampler = self._tuned()

    def _tuned(self) -> Sampler:
        sampler, temperature = self.settings.sampler, self.settings.chain.temperature
        move = Move(0, temperature, torch.Generator().manual_seed(self.seed), adapting=True)
        units = sampler.scaling(sampler.start(self.start, self.target, move))
        return sampler.tuned(largest_curvature(self.target, self.start, units))

    def run(self, path: Path, progress: Progress, title: str) -> ChainState:
        """All steps that are left, with a checkpoint at ``path``."""
        start, groups = self.start, self.settings.groups
        vector = self.posterior.vector
        beyond = len(start) - vector.size
        chain = Chain(
            self.target,
            self.sampler,
            start,
            self.settings.chain,
            seed=self.seed,
            path=path,
            identity=self._identity(),
            groups=parameter_groups(vector, groups, beyond) if groups else (),
        )
        return chain.run(progress, title)

    def members(self, state: ChainState) -> list[Potential]:
        """A potential for each kept sample."""
        return self.posterior.vector.copies(state.samples[:, : self.posterior.vector.size])

    def report(self, state: ChainState) -> dict[str, Any]:
        """What the diagnostics say of this chain alone."""
        chain = self.settings.chain
        noise = gradient_noise(self.target, state.sampler.position)
        factor = torch.ones_like(noise)
        if chain.temperature > 0:
            factor = self.sampler.heating(state.sampler, noise, chain.temperature)
        heats = state.heats[chain.burning :]
        labels = self.posterior.settings.labels
        scales = torch.stack([self.posterior.split(row)[1] for row in state.samples]).mean(0)
        return {
            "step": self.sampler.size,
            "energy_first": float(state.energies[0]),
            "energy_last": float(state.energies[-1]),
            "kinetic_temperature": None if state.sampler.momentum is None else float(heats.mean()),
            "acceptance": None if state.sampler.acceptance is None else float(heats.mean()),
            "temperature_factor_max": float(factor.max()),
            "temperature_factor_median": float(factor.median()),
            "error_scales": dict(zip(labels, scales.tolist(), strict=True)),
        }

    def _identity(self) -> dict[str, Any]:
        posterior = self.posterior
        return {
            "start": _hash(self.start),
            "posterior": self.settings.posterior.model_dump(mode="json"),
            "scales": posterior.scales.values.tolist(),
            "groups": [list(one) for one in self.settings.groups],
            "frames": posterior.size,
        }


def loaded(potentials: Sequence[Potential | str | os.PathLike[str]]) -> list[Potential]:
    """Copies of potentials, or those of model files.

    Raises:
        SimkitError: there are none.
    """
    if not potentials:
        raise SimkitError("expected at least one trained potential to start a chain from, found none")
    return [deepcopy(one) if isinstance(one, Potential) else load_model(one) for one in potentials]


def _hash(values: Float[Tensor, " parameters"]) -> str:
    return hashlib.sha256(values.cpu().numpy().tobytes()).hexdigest()[:16]
