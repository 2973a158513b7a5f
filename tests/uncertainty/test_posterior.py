"""The posterior against the same sums written out, differences, and its own minibatches."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from simkit.datasets.base import collate
from simkit.datasets.combine import MemoryDataset
from simkit.errors import DataError, SimkitError
from simkit.evaluation import evaluate
from simkit.potentials.lennard_jones import LennardJones
from simkit.uncertainty.posterior import Posterior, PosteriorSettings, Scales, start_scales
from tests.training.examples import CUTOFF, crystals, guess, triangles, without
from tests.training.running import small_painn

SCALES = Scales(torch.tensor([0.01, 0.1]), sampled=True)
FIXED = replace(SCALES, sampled=False)


def by_hand(epsilon: float, sigma: float, s_energy: float, s_forces: float, std: float) -> float:
    """Minus the logarithm of a Gaussian likelihood and prior, without the constants."""
    total = (epsilon**2 + sigma**2) / (2 * std**2)
    for frame in triangles(5):
        prediction = evaluate(LennardJones(epsilon, sigma, CUTOFF), frame.system)
        assert frame.labels.energy is not None
        error = float((prediction.energy - frame.labels.energy)[0]) / 3
        total += error**2 / (2 * s_energy**2) + math.log(s_energy)
        assert prediction.forces is not None
        errors = prediction.forces - frame.labels.forces
        total += float(errors.square().sum()) / (2 * s_forces**2) + 9 * math.log(s_forces)
    return total


def test_fixed_scales() -> None:
    posterior = Posterior(guess(), triangles(5), PosteriorSettings(scales="fixed", prior_std=2.0), FIXED)
    energy, _ = posterior.evaluate(torch.tensor([0.23, 2.35]), 0)
    assert float(energy) == pytest.approx(by_hand(0.23, 2.35, 0.01, 0.1, 2.0), rel=1e-10)
    assert posterior.exact
    assert posterior.size == 5


def test_sampled_scales_have_an_exponential_prior() -> None:
    posterior = Posterior(guess(), triangles(5), PosteriorSettings(prior_std=2.0), SCALES)
    position = torch.tensor([0.23, 2.35, math.log(0.02), math.log(0.3)])
    expected = by_hand(0.23, 2.35, 0.02, 0.3, 2.0) + 0.02 / 0.01 + 0.3 / 0.1 - math.log(0.02) - math.log(0.3)
    assert float(posterior.evaluate(position, 0)[0]) == pytest.approx(expected, rel=1e-10)
    assert torch.allclose(posterior.start(), torch.tensor([0.2, 2.4, math.log(0.01), math.log(0.1)]))


@pytest.mark.parametrize("batch_size", [None, 2])
def test_the_gradient_is_that_of_the_energy(batch_size: int | None) -> None:
    posterior = Posterior(guess(), triangles(5), PosteriorSettings(batch_size=batch_size), SCALES)
    position = torch.tensor([0.23, 2.35, -4.0, -1.5])
    gradient = posterior.evaluate(position, 1)[1]
    for index in range(4):
        shift = torch.zeros(4)
        shift[index] = 1e-6
        above, below = (posterior.evaluate(position + sign * shift, 1)[0] for sign in (1, -1))
        assert float(gradient[index]) == pytest.approx(float(above - below) / 2e-6, rel=1e-6)


def test_minibatches_are_unbiased() -> None:
    """The mean over the batches of an epoch of equal size is the value for all frames."""
    data, position = triangles(6), torch.tensor([0.23, 2.35, -4.0, -1.5])
    energy, gradient = Posterior(guess(), data, PosteriorSettings(), SCALES).evaluate(position, 0)
    posterior = Posterior(guess(), data, PosteriorSettings(batch_size=2), SCALES, seed=3)
    assert not posterior.exact
    for first in (0, 3):
        parts = [posterior.evaluate(position, step) for step in range(first, first + 3)]
        assert torch.allclose(torch.stack([part[0] for part in parts]).mean(), energy, rtol=1e-12)
        assert torch.allclose(torch.stack([part[1] for part in parts]).mean(0), gradient, rtol=1e-9)
    assert not torch.equal(parts[0][1], posterior.evaluate(position, 0)[1])


def test_frames_without_a_label_count_for_what_they_have() -> None:
    frames = list(triangles(5))
    energies_only = MemoryDataset([without(frame, "forces") for frame in frames])
    posterior = Posterior(guess(), energies_only, PosteriorSettings(scales="fixed"), FIXED)
    position = torch.tensor([0.23, 2.35])
    batch = collate(frames, CUTOFF)
    prediction = evaluate(LennardJones(0.23, 2.35, CUTOFF), batch.system, batch.neighbours)
    errors = (prediction.energy - batch.labels.energy) / 3
    expected = errors.square().sum() / 2e-4 + 5 * math.log(0.01) + position.square().sum() / 2
    assert float(posterior.evaluate(position, 0)[0]) == pytest.approx(float(expected), rel=1e-10)


def test_start_scales_are_the_errors_of_all_starts_together() -> None:
    data, settings = triangles(5), PosteriorSettings(forces_scale=0.7)
    pair = [guess(), LennardJones(0.3, 2.3, CUTOFF)]
    squares = []
    for frame in data:
        for potential in pair:
            assert frame.labels.energy is not None
            difference = evaluate(potential, frame.system, outputs=("energy",)).energy - frame.labels.energy
            squares.append((difference / 3).square())
    expected = torch.cat(squares).mean().sqrt()
    assert torch.allclose(start_scales(pair, data, settings).values, torch.tensor([float(expected), 0.7]))


def test_stress() -> None:
    settings = PosteriorSettings(labels=("energy", "forces", "stress"), scales="fixed")
    potential, data = guess(), crystals(2)
    scales = start_scales([potential], data, settings)
    posterior = Posterior(potential, data, settings, scales)
    energy, _ = posterior.evaluate(posterior.start(), 0)
    counts: Tensor = torch.tensor([2.0, 24.0, 18.0])
    expected = (counts / 2 + counts * scales.values.log()).sum() + (0.2**2 + 2.4**2) / 2
    assert float(energy) == pytest.approx(float(expected), rel=1e-9)


def test_float32_potentials_are_sampled_in_float64() -> None:
    data = triangles(4)
    potential = small_painn().float()
    posterior = Posterior(potential, data, PosteriorSettings(), SCALES)
    energy, gradient = posterior.evaluate(posterior.start(), 0)
    assert energy.dtype == gradient.dtype == torch.float64


def test_what_cannot_be_sampled_is_named() -> None:
    data = triangles(3)
    with pytest.raises(DataError, match="uses stress, but no frame"):
        start_scales([guess()], data, PosteriorSettings(labels=("energy", "stress")))
    frozen = guess().requires_grad_(False)
    with pytest.raises(SimkitError, match="nothing to sample"):
        Posterior(frozen, data, PosteriorSettings(), SCALES)
    with pytest.raises(ValidationError, match="give batch_size"):
        PosteriorSettings(control_variates=True)
    with pytest.raises(ValidationError, match="at least one of energy"):
        PosteriorSettings(labels=())
