"""SWAG: draws with the moments they should have, and an ensemble from a path."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from simkit.errors import SimkitError
from simkit.potentials.model_file import load_model, save_model
from simkit.uncertainty.ensemble import Ensemble
from simkit.uncertainty.posterior import PosteriorSettings
from simkit.uncertainty.swag import CITATION, SwagMoments, SwagSettings, swag
from tests.training.examples import triangles
from tests.training.running import small_painn


def test_draws_have_half_the_diagonal_and_half_the_low_rank_covariance() -> None:
    iterates = torch.randn(40, 5) @ torch.randn(5, 5) + 3.0
    moments = SwagMoments.of(iterates, rank=10)
    assert torch.allclose(moments.mean, iterates.mean(0))
    assert torch.allclose(moments.deviations[-1], iterates[-1] - iterates.mean(0))
    assert torch.allclose(moments.deviations[0], iterates[30] - iterates[:31].mean(0))
    draws = moments.draws(200_000, torch.Generator().manual_seed(0), scale=2.0)
    low_rank = moments.deviations.T @ moments.deviations / 9
    expected = torch.diag(iterates.var(0, correction=0)) + low_rank
    assert torch.allclose(draws.mean(0), moments.mean, atol=0.05)
    assert torch.allclose(torch.cov(draws.T), expected, rtol=0.03, atol=0.1)


def test_too_few_iterates() -> None:
    with pytest.raises(SimkitError, match="at least 3 iterates and a rank of 2, found 2 and 5"):
        SwagMoments.of(torch.zeros(2, 4), rank=5)


def test_an_ensemble_of_draws(tmp_path: Path) -> None:
    data = triangles(4)
    settings = SwagSettings(
        epochs=5, draws=3, rank=4, posterior=PosteriorSettings(scales="fixed", batch_size=4, energy_scale=0.1)
    )
    one, two = (swag([small_painn(), small_painn()], data, settings, tmp_path / name) for name in ("a", "b"))
    assert one.n_members == 6
    system = data[0].system
    prediction = one.predict(system)
    assert float(prediction.energy_std) > 0
    assert torch.equal(two.predict(system).forces_cov, prediction.forces_cov)
    save_model(tmp_path / "swag.simkit", one)
    again = load_model(tmp_path / "swag.simkit")
    assert isinstance(again, Ensemble)
    assert again.provenance.method == "SWAG, 2 paths, 3 draws of each"
    assert CITATION in again.capabilities.citations
    assert torch.equal(again.predict(system).forces_cov, prediction.forces_cov)


def test_full_batches_are_refused(tmp_path: Path) -> None:
    settings = SwagSettings(posterior=PosteriorSettings(scales="fixed"))
    with pytest.raises(SimkitError, match=r"give posterior\.batch_size"):
        swag([small_painn()], triangles(3), settings, tmp_path)
