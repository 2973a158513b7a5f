"""Sparse variational inference: criteria against draws, and a target whose best subspace is known."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from simkit.errors import SimkitError
from simkit.potentials.model_file import load_model, save_model
from simkit.uncertainty.ensemble import Ensemble
from simkit.uncertainty.parameters import ParameterVector
from simkit.uncertainty.posterior import PosteriorSettings
from simkit.uncertainty.sparse_variational import (
    SparseSettings,
    fit_sparse,
    mean_size,
    signal_to_noise,
    sparse_ensemble,
)
from simkit.uncertainty.target import Density
from tests.training.examples import triangles
from tests.training.running import small_painn


def test_criteria_are_the_moments_of_draws() -> None:
    mean, std = torch.tensor([0.0, 0.3, -1.0, 2.0]), torch.tensor([1.0, 0.5, 2.0, 0.2])
    sizes = (mean + std * torch.randn(1_000_000, 4)).abs()
    assert torch.allclose(mean_size(mean, std), sizes.mean(0), rtol=3e-3)
    assert torch.allclose(signal_to_noise(mean, std), sizes.mean(0) / sizes.std(0), rtol=3e-3)


def test_a_mean_of_zero_has_a_signal_to_noise_of_its_own() -> None:
    found = signal_to_noise(torch.zeros(1), torch.tensor([0.7]))
    assert float(found) == pytest.approx(math.sqrt(2 / (math.pi - 2)), rel=1e-12)
    assert float(found) == pytest.approx(1.3236, abs=1e-4)


def test_it_finds_the_weights_that_matter_and_their_deviations() -> None:
    """``U = Σ λ (θ - b)²/2`` with five large b: these are among the six active ones, with deviations ``1/√λ``."""
    best = torch.zeros(20)
    best[[2, 5, 11, 13, 19]] = torch.tensor([2.0, -3.0, 2.5, 3.5, -2.0])
    precision = torch.linspace(20, 60, 20)
    start = torch.zeros(20)
    start[:5] = 1.0
    settings = SparseSettings(density=0.3, steps=1500, every=20, learning_rate=0.02, start_std=0.1)
    target = Density(lambda position: 0.5 * (precision * (position - best).square()).sum())
    found = fit_sparse(target, start, settings, torch.Generator().manual_seed(0))
    right = best != 0
    assert bool(found.active[right].all())
    assert int(found.active.sum()) == 6
    assert torch.allclose(found.mean[right], best[right], atol=0.06)
    assert torch.allclose(found.std[right], precision[right].rsqrt(), rtol=0.25)


@pytest.mark.parametrize("criterion", ["signal-to-noise", "size"])
def test_the_number_of_active_weights_stays(criterion: str) -> None:
    for steps in (1, 11, 25):
        settings = SparseSettings(density=0.3, steps=steps, every=5, criterion=criterion, fixed_after=1.0)
        target = Density(lambda position: (position - 1).square().sum())
        found = fit_sparse(target, torch.randn(50), settings, torch.Generator().manual_seed(0))
        assert int(found.active.sum()) == 15
        assert float(found.at(torch.randn(50))[~found.active].abs().sum()) == 0


def test_an_ensemble_of_draws(tmp_path: Path) -> None:
    potential, data = small_painn(), triangles(4)
    posterior = PosteriorSettings(scales="fixed", batch_size=2)
    settings = SparseSettings(density=0.6, steps=10, every=4, draws=3, posterior=posterior)
    ensemble = sparse_ensemble(potential, data, settings)
    vectors = torch.stack([ParameterVector(member).read() for member in ensemble.potentials])
    size = vectors.shape[1]
    assert ((vectors != 0).sum(1) == round(0.6 * size)).all()
    assert f"{round(0.6 * size)} of {size} weights" in ensemble.provenance.method
    prediction = ensemble.predict(data[0].system)
    save_model(tmp_path / "sparse.simkit", ensemble)
    again = load_model(tmp_path / "sparse.simkit")
    assert isinstance(again, Ensemble)
    assert torch.equal(again.predict(data[0].system).forces_cov, prediction.forces_cov)
    with pytest.raises(SimkitError, match="at least two draws"):
        sparse_ensemble(potential, data, settings.model_copy(update={"draws": 1}))
