"""Partial Bayesian networks: a few parameters of a potential sampled by sequential Monte Carlo, the rest fixed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from copy import deepcopy
from typing import Literal

import torch
from jaxtyping import Float
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor

from simkit.datasets.base import Batch, Dataset
from simkit.errors import SimkitError
from simkit.evaluation import Prediction
from simkit.potential import Potential
from simkit.progress import Progress, Silent
from simkit.settings import Settings
from simkit.training.loss import TERMS, residuals
from simkit.uncertainty.ensemble import Ensemble
from simkit.uncertainty.parameters import ParameterVector
from simkit.uncertainty.particles import CITATIONS, BatchedLikelihood, Particles, iterated_batches, open_horizon
from simkit.uncertainty.posterior import PosteriorSettings, Scales, frames_loader, start_scales
from simkit.uncertainty.side_by_side import require_one_architecture, side_by_side

TOGETHER = 64
"""Most particles in one evaluation."""


class SequentialSettings(Settings):
    """Which parameters are sampled, and how.

    ``ibis`` converges to the posterior of the sampled parameters. ``open-horizon`` is cheaper and also trains the
    others, but its spread is set by ``walk`` and needs calibration.
    """

    sampled: tuple[str, ...] = Field(default=("*readout*",), description="patterns of names of sampled parameters")
    method: Literal["ibis", "open-horizon"] = "ibis"
    posterior: PosteriorSettings = PosteriorSettings(scales="fixed")
    particles: PositiveInt = 200
    members: PositiveInt = Field(default=16, description="draws that become members of the ensemble")
    batch_size: PositiveInt = 5
    prior_width: PositiveFloat = Field(
        default=0.1, description="standard deviation of the prior about the trained parameters"
    )
    moves: PositiveInt = Field(default=5, description="Metropolis steps after each resampling")
    walk: PositiveFloat = Field(default=1e-4, description="variance of the steps of open-horizon")
    epochs: PositiveInt = Field(default=10, description="passes of open-horizon over the data")
    learning_rate: NonNegativeFloat = Field(default=0.0, description="of the other parameters in open-horizon")


class PotentialLikelihood(BatchedLikelihood):
    """Gaussian errors of labelled frames, as a function of some of a potential's parameters.

    The prior is Gaussian about the potential's own values. The frames are always in the same order.

    Args:
        potential: conservative; what is not sampled is as in it.
        dataset: labelled frames.
        settings: which parameters, and batches.
        scales: of the errors, fixed.
        seed: of the order of the frames.

    Raises:
        SimkitError: a potential that is not conservative, or a pattern that matches nothing.
    """

    def __init__(
        self, potential: Potential, dataset: Dataset, settings: SequentialSettings, scales: Scales, seed: int = 0
    ) -> None:
        require_one_architecture([potential])
        self.potential, self.settings, self.scales = potential, settings, scales
        self.vector = ParameterVector(potential)
        self.names = self.vector.matching(settings.sampled)
        self.indices = self.vector.indices(self.names)
        self.centre = self.vector.read()[self.indices]
        loader = frames_loader(potential, dataset, settings.batch_size, shuffle=True, seed=seed)
        self.batches: Sequence[Batch] = tuple(batch.to(potential.device) for batch in loader)
        self.optimiser = self._optimiser()

    @property
    def n_batches(self) -> int:
        """Number of batches."""
        return len(self.batches)

    def prior(self, count: int, generator: torch.Generator) -> Particles:
        """Draws from the prior."""
        noise = torch.randn((count, len(self.centre)), generator=generator, dtype=torch.float64)
        return Particles.equal(self.centre + self.settings.prior_width * noise.to(self.centre))

    def log_prior(self, particles: Float[Tensor, "particles parameters"]) -> Float[Tensor, " particles"]:
        """Gaussian about the potential's own values."""
        width = self.settings.prior_width
        constant = particles.shape[1] * math.log(width * math.sqrt(2 * math.pi))
        return -((particles - self.centre) / width).square().sum(1) / 2 - constant

    def log_likelihood(
        self, particles: Float[Tensor, "particles parameters"], batch: int
    ) -> Float[Tensor, " particles"]:
        """``-Σ r²/(2s²) - n log(s√(2π))`` over energies per atom, forces and stress that are labelled."""
        parts = particles.split(TOGETHER)
        return torch.cat([self._log_likelihood(part, self.batches[batch], False) for part in parts])

    def improve(self, particles: Particles, batch: int) -> None:
        """One Adam step of the parameters that are not sampled, along ``(N/n) Σ_s w_s ∇ log p(batch | φ_s)``."""
        if self.optimiser is None:
            return
        loss = torch.zeros((), dtype=torch.float64, device=particles.positions.device)
        for part, share in zip(particles.positions.split(TOGETHER), particles.weights.split(TOGETHER), strict=True):
            loss = loss - (share * self._log_likelihood(part, self.batches[batch], True)).sum()
        self.optimiser.zero_grad()
        (self.n_batches * loss).backward()
        self.optimiser.step()

    def members(self, particles: Float[Tensor, "members parameters"]) -> list[Potential]:
        """A potential for each particle."""
        whole = self.vector.read().repeat(len(particles), 1)
        whole[:, self.indices] = particles
        return self.vector.copies(whole)

    def _log_likelihood(self, particles: Tensor, batch: Batch, differentiated: bool) -> Tensor:
        outputs = [label for label in self.settings.posterior.labels if getattr(batch.labels, label) is not None]
        found = side_by_side(
            self.potential, self._stacked(particles), batch.system, batch.neighbours, outputs, differentiated
        )
        return torch.stack([self._of_one(prediction, batch) for prediction in found])

    def _of_one(self, prediction: Prediction, batch: Batch) -> Tensor:
        total = torch.zeros((), dtype=torch.float64, device=batch.system.device)
        errors = residuals(prediction, batch, self.settings.posterior.free_atoms_only)
        for label, scale in zip(self.settings.posterior.labels, self.scales.values.tolist(), strict=True):
            error = errors[TERMS.index(label)]
            if error is not None:
                total = total - error.square().sum() / (2 * scale**2)
                total = total - error.numel() * math.log(scale * math.sqrt(2 * math.pi))
        return total

    def _stacked(self, particles: Tensor) -> dict[str, Tensor]:
        """Parameters of a potential for each particle; those that are not sampled stay attached."""
        own = dict(self.potential.named_parameters())
        stacked = {name: value[None].expand(len(particles), *value.shape) for name, value in own.items()}
        parts = particles.split([own[name].numel() for name in self.names], dim=1)
        for name, part in zip(self.names, parts, strict=True):
            stacked[name] = part.to(own[name]).reshape(-1, *own[name].shape)
        return stacked

    def _optimiser(self) -> torch.optim.Optimizer | None:
        named = zip(self.vector.names, self.vector.parameters, strict=True)
        others = [parameter for name, parameter in named if name not in self.names]
        if not others or self.settings.method == "ibis" or self.settings.learning_rate == 0:
            return None
        return torch.optim.Adam(others, lr=self.settings.learning_rate)


def sample_readout(
    potential: Potential,
    dataset: Dataset,
    settings: SequentialSettings,
    *,
    seed: int = 0,
    progress: Progress | None = None,
) -> tuple[Ensemble, Particles]:
    """Sample some parameters of a trained potential, by default those of its readouts.

    Args:
        potential: trained; a copy is changed.
        dataset: labelled frames.
        settings: which parameters, and the method.
        seed: of all draws.
        progress: where the effective number of particles is shown.

    Returns:
        An ensemble of draws by weight, and the particles with the evidence and the effective numbers.

    Raises:
        SimkitError: a potential that is not conservative, a pattern that matches nothing, more members than particles,
            or a batch whose likelihood vanishes for all particles.

    Reference: Z. Zhao, S. Mair, T. B. Schön, J. Sjölund, AISTATS 2024, arXiv:2310.19608.
    """
    if settings.members > settings.particles:
        raise SimkitError(
            f"expected at least as many particles as members, found {settings.particles} and {settings.members}"
        )
    progress, generator = progress or Silent(), torch.Generator().manual_seed(seed)
    scales = Scales(start_scales([potential], dataset, settings.posterior).values, sampled=False)
    likelihood = PotentialLikelihood(deepcopy(potential), dataset, settings, scales, seed)
    particles = likelihood.prior(settings.particles, generator)
    if settings.method == "ibis":
        particles = iterated_batches(likelihood, particles, generator, moves=settings.moves, progress=progress)
    else:
        particles = open_horizon(
            likelihood,
            particles,
            generator,
            walk=settings.walk,
            epochs=settings.epochs,
            improve=likelihood.improve,
            progress=progress,
        )
    drawn = particles.positions[particles.chosen(settings.members, generator)]
    name = f"partial BNN by SMC ({settings.method}), {settings.particles} particles"
    return Ensemble(*likelihood.members(drawn), method=name, citations=CITATIONS), particles
