"""The whole way from trained potentials to an ensemble of samples, its files and its diagnostics."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
import torch

from simkit.datasets.base import Frame, Labels
from simkit.datasets.combine import MemoryDataset
from simkit.errors import Interrupted, SimkitError, SimkitWarning
from simkit.potentials.lennard_jones import LennardJones
from simkit.potentials.model_file import load_model, save_model
from simkit.uncertainty.chains import ChainSettings
from simkit.uncertainty.ensemble import Ensemble
from simkit.uncertainty.posterior import Posterior, PosteriorSettings, Scales
from simkit.uncertainty.potential_chain import SamplingSettings
from simkit.uncertainty.samplers import BAOA, HMC, PSGLD
from simkit.uncertainty.sampling import sample_posterior
from tests.training.examples import CUTOFF, EPSILON, SIGMA, guess, triangles
from tests.training.running import small_painn

NOISE = (0.002, 0.05)
FIXED = PosteriorSettings(scales="fixed", energy_scale=NOISE[0], forces_scale=NOISE[1])


def noisy_triangles(count: int) -> MemoryDataset:
    generator = torch.Generator().manual_seed(7)
    frames = []
    for frame in triangles(count):
        assert frame.labels.energy is not None
        assert frame.labels.forces is not None
        energy = frame.labels.energy + 3 * NOISE[0] * torch.randn(1, generator=generator)
        forces = frame.labels.forces + NOISE[1] * torch.randn((3, 3), generator=generator)
        frames.append(Frame(frame.system, Labels(energy, forces), frame.name))
    return MemoryDataset(frames)


def starts(count: int) -> list[LennardJones]:
    return [LennardJones(EPSILON + 0.002 * index, SIGMA, CUTOFF) for index in range(count)]


def parameters(ensemble: Ensemble) -> torch.Tensor:
    return torch.stack([torch.cat([p.detach().flatten() for p in member.parameters()]) for member in ensemble.members])


def test_the_samples_of_lennard_jones_have_the_covariance_of_its_posterior(tmp_path: Path) -> None:
    """Two parameters and much data: the posterior is Gaussian with the Hessian of U as its precision."""
    data = noisy_triangles(12)
    settings = SamplingSettings(posterior=FIXED, chain=ChainSettings(steps=180, kept=60), sampler=BAOA(friction=300.0))
    ensemble = sample_posterior(starts(2), data, settings, tmp_path)
    assert ensemble.n_members == 120
    scales = Scales(torch.tensor(NOISE), sampled=False)
    posterior = Posterior(guess(), data, FIXED, scales)
    samples = parameters(ensemble)
    centre, step = samples.mean(0), 1e-5
    rows = [
        (posterior.evaluate(centre + shift, 0)[1] - posterior.evaluate(centre - shift, 0)[1]) / (2 * step)
        for shift in step * torch.eye(2)
    ]
    found = torch.linalg.eigvals(torch.stack(rows) @ torch.cov(samples.T)).real
    assert found.min() > 0.6
    assert found.max() < 1.6
    diagnostics = json.loads((tmp_path / "diagnostics.json").read_text())
    assert diagnostics["is_posterior"]
    assert diagnostics["predicted_energies"]["r_hat_max"] < 1.1
    assert diagnostics["predicted_energies"]["effective_samples_min"] > 20
    assert diagnostics["chains"][0]["kinetic_temperature"] == pytest.approx(1.0, abs=0.3)
    assert ensemble.provenance.method == "sg-mcmc baoa, 2 chains, T = 1"
    assert not ensemble.provenance.calibrated


def test_the_ensemble_is_in_a_file_and_continues_bit_for_bit(tmp_path: Path) -> None:
    data = noisy_triangles(4)
    settings = SamplingSettings(chain=ChainSettings(steps=12, kept=4, temperature=0.5))
    potentials = [small_painn(), small_painn()]
    with torch.no_grad():
        for parameter in potentials[1].parameters():
            parameter.add_(0.01)
    before = parameters(Ensemble(*potentials))
    files = []
    for index, potential in enumerate(potentials):
        files.append(tmp_path / f"model-{index}.simkit")
        save_model(files[-1], potential)

    with pytest.warns(SimkitWarning, match="chains disagree"):
        ensemble = sample_posterior(potentials, data, settings, tmp_path / "whole")
    assert torch.equal(parameters(Ensemble(*potentials)), before)
    assert ensemble.n_members == 8
    prediction = ensemble.predict(data[0].system, outputs=("energy", "forces"), samples=8)
    assert prediction.energy_std is not None
    assert float(prediction.energy_std) > 0
    loaded = load_model(tmp_path / "whole" / "ensemble.simkit")
    assert isinstance(loaded, Ensemble)
    again = loaded.predict(data[0].system, outputs=("energy", "forces"), samples=8)
    assert torch.equal(again.energy, prediction.energy)
    assert torch.equal(again.forces_cov, prediction.forces_cov)
    assert loaded.provenance == ensemble.provenance

    calls = 0
    original = Posterior.evaluate

    def stopping(self, position, step):
        nonlocal calls
        calls += 1
        if calls == 50:
            os.kill(os.getpid(), signal.SIGINT)
        return original(self, position, step)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Posterior, "evaluate", stopping)
        with pytest.raises(Interrupted, match="of 12 steps"):
            sample_posterior(files, data, settings, tmp_path / "parts")
    with pytest.warns(SimkitWarning, match="chains disagree"):
        continued = sample_posterior(files, data, settings, tmp_path / "parts")
    assert torch.equal(parameters(continued), parameters(ensemble))


def test_small_minibatches_are_not_called_the_posterior(tmp_path: Path) -> None:
    hot = FIXED.model_copy(update={"batch_size": 2})
    settings = SamplingSettings(posterior=hot, chain=ChainSettings(steps=12, kept=4), sampler=BAOA(friction=30.0))
    with pytest.warns(SimkitWarning) as caught:
        ensemble = sample_posterior(starts(2), noisy_triangles(12), settings, tmp_path)
    assert any("do not call these samples the posterior" in str(one.message) for one in caught)
    assert "heated by minibatches" in ensemble.provenance.method
    assert not json.loads((tmp_path / "diagnostics.json").read_text())["is_posterior"]


def test_one_chain_is_warned_of(tmp_path: Path) -> None:
    settings = SamplingSettings(posterior=FIXED, chain=ChainSettings(steps=6, kept=2))
    with pytest.warns(SimkitWarning, match="one chain stays near"):
        sample_posterior(starts(1), noisy_triangles(4), settings, tmp_path)


def test_other_samplers_groups_and_control_variates(tmp_path: Path) -> None:
    chain, data = ChainSettings(steps=9, kept=2), noisy_triangles(6)
    controlled = FIXED.model_copy(update={"batch_size": 5, "control_variates": True})
    for index, settings in enumerate(
        (
            SamplingSettings(posterior=FIXED, chain=chain, sampler=HMC()),
            SamplingSettings(posterior=controlled, chain=chain, sampler=PSGLD()),
            SamplingSettings(posterior=PosteriorSettings(), chain=chain, groups=(("epsilon",), ("sigma",))),
        )
    ):
        ensemble = sample_posterior(starts(2), data, settings, tmp_path / str(index))
        assert settings.sampler.kind in ensemble.provenance.method
        assert parameters(ensemble).unique(dim=0).shape[0] > 1
    assert "structured" in ensemble.provenance.method


def test_other_starts_do_not_continue_a_folder(tmp_path: Path) -> None:
    settings, data = SamplingSettings(posterior=FIXED, chain=ChainSettings(steps=6, kept=2)), noisy_triangles(4)
    sample_posterior(starts(2), data, settings, tmp_path)
    with pytest.raises(SimkitError, match="start: "):
        sample_posterior([guess(), guess()], data, settings, tmp_path)
    with pytest.raises(SimkitError, match="at least one trained potential"):
        sample_posterior([], data, settings, tmp_path)
