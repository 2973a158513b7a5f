"""Sequential Monte Carlo against a conjugate model, and on the readout of a potential."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from simkit.errors import SimkitError
from simkit.potentials.model_file import load_model, save_model
from simkit.uncertainty.ensemble import Ensemble
from simkit.uncertainty.particles import BatchedLikelihood, Particles, iterated_batches, open_horizon
from simkit.uncertainty.posterior import Posterior, PosteriorSettings, Scales
from simkit.uncertainty.sequential import PotentialLikelihood, SequentialSettings, sample_readout
from tests.training.examples import guess, triangles
from tests.training.running import small_painn


class LinearModel(BatchedLikelihood):
    """``y = X φ + 0.3 ξ`` with a standard normal prior."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(4)
        self.inputs = torch.randn(100, 3, generator=generator)
        truth = torch.tensor([1.0, -0.5, 0.3])
        self.values = self.inputs @ truth + 0.3 * torch.randn(100, generator=generator)

    @property
    def n_batches(self) -> int:
        return 10

    def prior(self, count: int, generator: torch.Generator) -> Particles:
        return Particles.equal(torch.randn(count, 3, generator=generator))

    def log_prior(self, particles: Tensor) -> Tensor:
        return -particles.square().sum(1) / 2 - 1.5 * math.log(2 * math.pi)

    def log_likelihood(self, particles: Tensor, batch: int) -> Tensor:
        rows = slice(10 * batch, 10 * batch + 10)
        errors = particles @ self.inputs[rows].T - self.values[rows]
        return -(errors / 0.3).square().sum(1) / 2 - 10 * math.log(0.3 * math.sqrt(2 * math.pi))

    @property
    def covariance(self) -> Tensor:
        return torch.linalg.inv(self.inputs.T @ self.inputs / 0.09 + torch.eye(3))

    @property
    def log_evidence(self) -> float:
        normal = torch.distributions.MultivariateNormal(
            torch.zeros(100), 0.09 * torch.eye(100) + self.inputs @ self.inputs.T
        )
        return float(normal.log_prob(self.values))


@pytest.fixture(scope="module")
def sampled() -> tuple[LinearModel, Particles]:
    model, generator = LinearModel(), torch.Generator().manual_seed(0)
    return model, iterated_batches(model, model.prior(1000, generator), generator)


def test_ibis_finds_posterior_and_evidence(sampled: tuple[LinearModel, Particles]) -> None:
    model, particles = sampled
    spectrum = torch.linalg.eigvals(torch.linalg.solve(model.covariance, particles.covariance())).real
    assert spectrum.min() > 0.8
    assert spectrum.max() < 1.25
    mean = model.covariance @ model.inputs.T @ model.values / 0.09
    found = particles.weights @ particles.positions
    assert torch.allclose(found, mean, atol=float(3 * model.covariance.diagonal().sqrt().max() / 10))
    assert abs(particles.log_evidence - model.log_evidence) < 1


def test_weights_and_effective_numbers(sampled: tuple[LinearModel, Particles]) -> None:
    _, particles = sampled
    assert float(particles.weights.sum()) == pytest.approx(1.0, abs=1e-12)
    assert len(particles.effective) == 10
    assert all(1 <= effective <= 1000 for effective in particles.effective)
    assert all(0.05 < rate < 0.8 for rate in particles.acceptance)


def test_stratified_resampling_keeps_proportions() -> None:
    weights = torch.tensor([0.5, 0.25, 0.125, 0.125])
    particles = Particles(torch.arange(4.0)[:, None], weights.log())
    counts = torch.bincount(particles.chosen(800, torch.Generator().manual_seed(0)), minlength=4)
    assert (counts - 800 * weights).abs().max() <= 1
    assert torch.allclose(particles.resampled(torch.Generator()).weights, torch.full((4,), 0.25))


def test_the_walk_of_an_open_horizon_sets_the_spread() -> None:
    model = LinearModel()
    spread = []
    for walk in (1e-2, 1e-4):
        generator = torch.Generator().manual_seed(0)
        particles = open_horizon(model, model.prior(1000, generator), generator, walk=walk, epochs=4)
        spread.append(float(particles.covariance().trace() / model.covariance.trace()))
    assert spread[0] > 3 * spread[1]
    assert spread[0] > 1.5


def test_impossible_data_are_named() -> None:
    with pytest.raises(SimkitError, match="zero or NaN for all particles"):
        Particles.equal(torch.zeros(5, 1)).reweighted(torch.full((5,), -math.inf))


def test_the_likelihood_of_a_potential_is_that_of_its_posterior() -> None:
    """Particles under vmap against one evaluation for each set of parameters."""
    data, potential = triangles(5), small_painn()
    settings = SequentialSettings(batch_size=5, sampled=("readout.2.*", "messages.0.scalar.0.*"))
    scales = Scales(torch.tensor([0.05, 0.5]), sampled=False)
    likelihood = PotentialLikelihood(potential, data, settings, scales)
    particles = likelihood.prior(3, torch.Generator().manual_seed(0)).positions
    found = likelihood.log_likelihood(particles, 0)
    posterior = Posterior(small_painn(), data, PosteriorSettings(scales="fixed", prior_std=1e6), scales)
    for row, value in zip(particles, found, strict=True):
        position = posterior.start()
        position[likelihood.indices] = row
        energy, _ = posterior.evaluate(position, 0)
        assert float(value) == pytest.approx(-float(energy) - 50 * 0.5 * math.log(2 * math.pi), rel=1e-9)


@pytest.mark.parametrize("method", ["ibis", "open-horizon"])
def test_the_readout_of_a_potential(method: str, tmp_path: Path) -> None:
    data, potential = triangles(6), small_painn()
    settings = SequentialSettings(
        method=method, particles=24, members=6, batch_size=3, moves=2, epochs=2, learning_rate=1e-3
    )
    ensemble, particles = sample_readout(potential, data, settings, seed=2)
    assert len(particles.effective) == (2 if method == "ibis" else 4)
    assert ensemble.n_members == 6
    others = [dict(member.named_parameters())["embedding.weight"] for member in ensemble.members]
    assert all(torch.equal(one, others[0]) for one in others)
    assert torch.equal(others[0], potential.embedding.weight) == (method == "ibis")
    prediction = ensemble.predict(data[0].system)
    assert float(prediction.energy_std) > 0
    save_model(tmp_path / "smc.simkit", ensemble)
    again = load_model(tmp_path / "smc.simkit")
    assert isinstance(again, Ensemble)
    assert method in again.provenance.method
    assert torch.equal(again.predict(data[0].system).forces_cov, prediction.forces_cov)


def test_bad_requests() -> None:
    data = triangles(3)
    with pytest.raises(SimkitError, match="at least as many particles as members, found 4 and 16"):
        sample_readout(small_painn(), data, SequentialSettings(particles=4))
    with pytest.raises(SimkitError, match=r"no trained parameter is called like '\*readout\*'"):
        sample_readout(guess(), data, SequentialSettings())
