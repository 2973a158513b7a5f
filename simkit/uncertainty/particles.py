"""Sequential Monte Carlo over the parameters of a model, batch after batch of data."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from simkit.errors import SimkitError
from simkit.progress import Progress, Silent

CITATIONS = (
    "N. Chopin, Biometrika 89, 539 (2002), doi:10.1093/biomet/89.3.539",
    "Z. Zhao, S. Mair, T. B. Schön, J. Sjölund, AISTATS 2024, arXiv:2310.19608",
)


class BatchedLikelihood(ABC):
    """A model whose data come in batches, for many vectors of parameters (particles) at once."""

    @property
    @abstractmethod
    def n_batches(self) -> int:
        """Number of batches."""

    @abstractmethod
    def log_prior(self, particles: Float[Tensor, "particles parameters"]) -> Float[Tensor, " particles"]:
        """``log p(φ)``."""

    @abstractmethod
    def log_likelihood(
        self, particles: Float[Tensor, "particles parameters"], batch: int
    ) -> Float[Tensor, " particles"]:
        """``log p(batch | φ)``, with all its constants."""


@dataclass(frozen=True)
class Particles:
    """Weighted draws of the parameters.

    Attributes:
        positions: φ of each.
        log_weights: normalised.
        log_evidence: ``log p(batches so far)``.
        effective: ``1/Σw²`` after each batch, before resampling.
        acceptance: mean of the rejuvenation moves, after each resampling.
    """

    positions: Float[Tensor, "particles parameters"]
    log_weights: Float[Tensor, " particles"]
    log_evidence: float = 0.0
    effective: tuple[float, ...] = field(default=())
    acceptance: tuple[float, ...] = field(default=())

    @classmethod
    def equal(cls, positions: Float[Tensor, "particles parameters"]) -> Particles:
        """Draws from the prior."""
        return cls(positions, torch.full_like(positions[:, 0], -math.log(len(positions))))

    @property
    def weights(self) -> Float[Tensor, " particles"]:
        """Their sum is 1."""
        return self.log_weights.exp()

    def reweighted(self, increment: Float[Tensor, " particles"]) -> Particles:
        """After a batch with these logarithms of likelihoods.

        Raises:
            SimkitError: all likelihoods vanish or one is NaN.
        """
        joint = self.log_weights + increment
        total = joint.logsumexp(0)
        if not bool(torch.isfinite(total)):
            raise SimkitError(
                "the likelihood of a batch is zero or NaN for all particles: use more of them, smaller batches or "
                "larger error scales"
            )
        weights = joint - total
        effective = float(1 / weights.exp().square().sum())
        evidence = self.log_evidence + float(total)
        return replace(
            self, log_weights=weights, log_evidence=evidence, effective=(*self.effective, min(effective, len(joint)))
        )

    def chosen(self, count: int, generator: torch.Generator) -> Int[Tensor, " count"]:
        """Indices of a stratified resampling: one uniform number in each of ``count`` equal parts of [0, 1]."""
        parts = torch.arange(count, dtype=torch.float64)
        points = (parts + torch.rand(count, generator=generator, dtype=torch.float64)) / count
        cumulative = self.weights.double().cumsum(0)
        return torch.searchsorted(cumulative / cumulative[-1], points).clamp(max=len(cumulative) - 1)

    def resampled(self, generator: torch.Generator) -> Particles:
        """As many particles of equal weight."""
        positions = self.positions[self.chosen(len(self.positions), generator)]
        return replace(Particles.equal(positions), **self._record())

    def covariance(self) -> Float[Tensor, "parameters parameters"]:
        """Weighted covariance."""
        return torch.cov(self.positions.T, aweights=self.weights, correction=0).reshape(2 * self.positions.shape[1:])

    def _record(self) -> dict:
        return {"log_evidence": self.log_evidence, "effective": self.effective, "acceptance": self.acceptance}


def iterated_batches(
    likelihood: BatchedLikelihood,
    particles: Particles,
    generator: torch.Generator,
    *,
    moves: int = 5,
    progress: Progress | None = None,
) -> Particles:
    """Iterated batch importance sampling: exact in the limit of many particles.

    After each batch particles are weighted by its likelihood. When fewer than half of them are effective they are
    resampled and moved by random-walk Metropolis steps that leave the posterior of all batches so far unchanged, with
    proposals of ``2.38²/d`` times the covariance of the particles, shortened or lengthened by the acceptance.

    Args:
        likelihood: the model.
        particles: draws from the prior.
        generator: of all draws.
        moves: Metropolis steps after each resampling.
        progress: where the effective number is shown.

    Raises:
        SimkitError: the likelihood of a batch vanishes for all particles.

    Reference: N. Chopin, Biometrika 89, 539 (2002), doi:10.1093/biomet/89.3.539.
    """
    count = len(particles.positions)
    with (progress or Silent()).task("batches of data", likelihood.n_batches) as task:
        for batch in range(likelihood.n_batches):
            particles = particles.reweighted(likelihood.log_likelihood(particles.positions, batch))
            if particles.effective[-1] < count / 2:
                spread = particles.covariance()
                particles = _rejuvenated(likelihood, particles.resampled(generator), spread, batch, generator, moves)
            task.advance(1, f"{particles.effective[-1]:.0f} of {count} effective")
    return particles


def _rejuvenated(
    likelihood: BatchedLikelihood,
    particles: Particles,
    spread: Float[Tensor, "parameters parameters"],
    last: int,
    generator: torch.Generator,
    moves: int,
) -> Particles:
    """Metropolis steps under the posterior of batches 0 to ``last``."""
    positions = particles.positions
    size = positions.shape[1]
    jitter = 1e-10 * spread.diagonal().mean().clamp(min=1e-300) * torch.eye(size, dtype=positions.dtype)
    factor = torch.linalg.cholesky(spread + jitter)
    scale, rates = 2.38 / math.sqrt(size), []
    density = _log_posterior(likelihood, positions, last)
    for _ in range(moves):
        noise = torch.randn(positions.shape, generator=generator, dtype=positions.dtype)
        proposals = positions + scale * noise @ factor.T
        proposed = _log_posterior(likelihood, proposals, last)
        taken = _accepted(proposed - density, generator)
        positions = torch.where(taken[:, None], proposals, positions)
        density = torch.where(taken, proposed, density)
        rates.append(float(taken.double().mean()))
        scale *= math.exp(rates[-1] - 0.3)
    mean = sum(rates) / max(1, len(rates))
    return replace(particles, positions=positions, acceptance=(*particles.acceptance, mean))


def _accepted(change: Tensor, generator: torch.Generator) -> Bool[Tensor, " particles"]:
    drawn = torch.rand(change.shape, generator=generator, dtype=torch.float64).to(change)
    return drawn.log() < change


def _log_posterior(likelihood: BatchedLikelihood, positions: Tensor, last: int) -> Tensor:
    density = likelihood.log_prior(positions)
    for batch in range(last + 1):
        density = density + likelihood.log_likelihood(positions, batch)
    return density


def open_horizon(
    likelihood: BatchedLikelihood,
    particles: Particles,
    generator: torch.Generator,
    *,
    walk: float = 1e-4,
    epochs: int = 10,
    improve: Callable[[Particles, int], None] | None = None,
    progress: Progress | None = None,
) -> Particles:
    """Sequential Monte Carlo without end: particles take a random walk before each batch, and nothing corrects it.

    ``φ ← φ + √walk ξ``, then weights by the batch's likelihood, and resampling when fewer than half are effective.
    Cheap, but *the walk sets the spread*: calibrate what comes out. The evidence
    means nothing over several epochs.

    Args:
        likelihood: the model.
        particles: the first ones.
        generator: of all draws.
        walk: variance of a step of each parameter.
        epochs: passes over the batches.
        improve: changes what is not sampled, after each batch.
        progress: where the effective number is shown.

    Reference: Z. Zhao, S. Mair, T. B. Schön, J. Sjölund, AISTATS 2024, arXiv:2310.19608.
    """
    count = len(particles.positions)
    with (progress or Silent()).task("batches of data", epochs * likelihood.n_batches) as task:
        for step in range(epochs * likelihood.n_batches):
            batch = step % likelihood.n_batches
            noise = torch.randn(particles.positions.shape, generator=generator, dtype=particles.positions.dtype)
            particles = replace(particles, positions=particles.positions + math.sqrt(walk) * noise)
            particles = particles.reweighted(likelihood.log_likelihood(particles.positions, batch))
            if improve is not None:
                improve(particles, batch)
            if particles.effective[-1] < count / 2:
                particles = particles.resampled(generator)
            task.advance(1, f"{particles.effective[-1]:.0f} of {count} effective")
    return particles
