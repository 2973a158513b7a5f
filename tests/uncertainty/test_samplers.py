"""Samplers against Gaussian posteriors, whose covariance is known."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from jaxtyping import Float
from torch import Tensor

from simkit.errors import SimkitError
from simkit.uncertainty.samplers import BAOA, HMC, PSGLD, SGHMC, SGLD, Move, Sampler
from simkit.uncertainty.target import ControlVariate, Density, Target, gradient_noise, largest_curvature
from tests.uncertainty.densities import Gaussian, Regression

COPIES = 64


def precision(condition: float = 100.0) -> Tensor:
    """A full matrix with eigenvalues from 1 to ``condition``."""
    axes, _ = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(3)))
    return axes @ torch.diag(torch.logspace(0, math.log10(condition), 3)) @ axes.T


def run(
    sampler: Sampler,
    target: Target,
    start: Tensor,
    steps: int,
    burn_in: int,
    temperature: float = 1.0,
    freeze: bool = True,
) -> Float[Tensor, "steps parameters"]:
    generator = torch.Generator().manual_seed(0)
    state = sampler.start(start, target, Move(0, temperature, generator, adapting=True))
    kept = []
    for index in range(steps):
        state = sampler.advance(
            state, target, Move(index, temperature, generator, adapting=not freeze or index < burn_in)
        )
        if index >= burn_in:
            kept.append(state.position)
    return torch.stack(kept)


def spectrum(samples: Tensor, matrix: Tensor) -> Tensor:
    """Eigenvalues of ``C⁻¹ Ĉ``; ideal ones are 1."""
    rows = samples.reshape(-1, matrix.shape[0])
    return torch.linalg.eigvals(matrix @ (rows.T @ rows / len(rows))).real


def test_the_largest_curvature_is_that_of_the_matrix() -> None:
    matrix = precision()
    curvature = largest_curvature(Gaussian(matrix), torch.randn(3 * COPIES), iterations=40)
    assert curvature == pytest.approx(100, rel=0.01)
    scaling = torch.full((3 * COPIES,), 0.1)
    scaled = largest_curvature(Gaussian(matrix), torch.zeros(3 * COPIES), scaling, iterations=40)
    assert scaled == pytest.approx(1, rel=0.01)


def test_baoa_samples_a_correlated_gaussian() -> None:
    matrix = precision()
    sampler = BAOA().tuned(100.0)
    assert sampler.size == pytest.approx(0.1)
    samples = run(sampler, Gaussian(matrix, 128), torch.zeros(3 * 128), 1500, 400)
    found = spectrum(samples, matrix)
    assert found.min() > 0.85
    assert found.max() < 1.15


@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_the_covariance_is_proportional_to_the_temperature(temperature: float) -> None:
    matrix = precision(10.0)
    samples = run(BAOA(step=0.4), Gaussian(matrix, 256), torch.zeros(3 * 256), 500, 100, temperature)
    assert torch.allclose(spectrum(samples, matrix), torch.tensor(temperature), rtol=0.1)


def test_sgld_is_biased_in_proportion_to_the_step() -> None:
    excess = []
    for step in (0.8, 0.4):
        samples = run(SGLD(step=step), Gaussian(torch.eye(1), 2000), torch.zeros(2000), 600, 100)
        excess.append(float(samples.var()) - 1)
        assert excess[-1] == pytest.approx(1 / (1 - step / 4) - 1, abs=0.02)
    assert 1.6 < excess[0] / excess[1] < 2.8


def test_literal_sghmc_needs_a_small_step() -> None:
    with pytest.raises(SimkitError, match=r"must be below 0\.01"):
        SGHMC(step=0.02, friction=1.0).tuned(100.0)
    matrix = torch.tensor([[100.0]])
    samples = run(SGHMC(step=0.02, friction=1.0), Gaussian(matrix), torch.full((COPIES,), 0.1), 1000, 0)
    assert float(samples[-1].abs().max()) > 1e3
    stable = run(SGHMC().tuned(100.0), Gaussian(matrix, 1000), torch.zeros(1000), 800, 300)
    assert float(100 * stable.var()) == pytest.approx(1.0, abs=0.15)


def test_hmc_is_exact_at_a_coarse_step() -> None:
    matrix = precision()
    samples = run(HMC(step=0.12, leapfrog=16), Gaussian(matrix, 8), torch.zeros(24), 700, 100)
    found = spectrum(samples, matrix)
    assert found.min() > 0.9
    assert found.max() < 1.1


def test_hmc_adapts_its_step_to_the_acceptance() -> None:
    sampler, target = HMC(step=0.9, leapfrog=4), Gaussian(torch.eye(1), 200)
    generator = torch.Generator().manual_seed(0)
    state = sampler.start(torch.randn(200), target, Move(0, 1.0, generator))
    acceptances = []
    for index in range(400):
        state = sampler.advance(state, target, Move(index, 1.0, generator, adapting=index < 200))
        assert state.acceptance is not None
        acceptances.append(float(state.acceptance))
    assert np.mean(acceptances[200:]) == pytest.approx(0.8, abs=0.1)


def test_hmc_refuses_minibatches() -> None:
    with pytest.raises(SimkitError, match="energy of all data"):
        HMC(step=0.1).start(torch.zeros(3), Regression(20), Move(0, 1.0, torch.Generator()))


def test_psgld_with_a_frozen_preconditioner_is_sgld_in_rescaled_coordinates() -> None:
    matrix = precision(10.0)
    sampler = PSGLD(step=0.01)
    target = Gaussian(matrix, 1)
    theta = torch.tensor([1.0, -2.0, 0.5])
    state = sampler.start(theta, target, Move(0, 1.0, torch.Generator().manual_seed(5)))
    units = sampler.scaling(state)

    def rescaled(u: Tensor) -> Tensor:
        return target.evaluate(units * u, 0)[0]

    plain = run(SGLD(step=0.01), Density(rescaled), theta / units, 50, 0)
    generator = torch.Generator().manual_seed(0)
    for index, expected in enumerate(plain):
        state = sampler.advance(state, target, Move(index, 1.0, generator))
        assert torch.allclose(state.position, units * expected, rtol=1e-10, atol=1e-12)


def test_psgld_starts_with_the_gradients_of_equilibrium() -> None:
    """At the optimum, where the gradient vanishes, ``N² v`` is the diagonal of the Hessian."""
    target = Gaussian(torch.diag(torch.tensor([1.0, 30.0, 1000.0])), 1)
    state = PSGLD(step=0.01).start(torch.zeros(3), target, Move(0, 0.5, torch.Generator().manual_seed(0)))
    assert state.second_moment is not None
    assert torch.allclose(state.second_moment, torch.tensor([0.5, 15.0, 500.0]))


def test_the_correction_of_psgld_reduces_its_bias() -> None:
    """Without Γ the density is ``p/G``, which is too wide; with it the variance is 1."""

    def variance(correction: bool) -> float:
        sampler = PSGLD(step=0.02, beta=0.0, regulariser=0.5, correction=correction)
        start = torch.randn(4000, generator=torch.Generator().manual_seed(2))
        return float(run(sampler, Gaussian(torch.eye(1), 4000), start, 500, 200, freeze=False).square().mean())

    density = torch.linspace(-8, 8, 4001)
    weight = (0.5 + density.abs()) * torch.exp(-0.5 * density.square())
    biased = float((weight * density.square()).sum() / weight.sum())
    assert variance(False) == pytest.approx(biased, abs=0.05)
    assert variance(True) == pytest.approx(1.0, abs=0.05)


def test_minibatches_heat_as_predicted() -> None:
    """BAOA by minibatches of a tenth samples at the temperature that the noise of the gradient predicts."""
    target = Regression(20)
    optimum = target.optimum
    noise = gradient_noise(target, optimum, 200)
    sampler = BAOA(step=0.003, friction=10.0)
    state = sampler.start(optimum, target, Move(0, 1.0, torch.Generator()))
    predicted = sampler.heating(state, noise, 1.0)
    samples = run(sampler, target, optimum, 3000, 300) - optimum
    measured = spectrum(samples, target.precision)
    assert predicted.min() > 1.2
    assert float(measured.mean()) == pytest.approx(float(predicted.mean()), rel=0.35)


def test_control_variates_reduce_the_noise() -> None:
    target, full = Regression(20), Regression(None)
    optimum = full.optimum
    controlled = ControlVariate(target, full, optimum)
    near = optimum + 0.01
    assert torch.allclose(controlled.evaluate(optimum, 3)[1], torch.zeros(3), atol=1e-9)
    assert (gradient_noise(controlled, near, 50) < 0.1 * gradient_noise(target, near, 50)).all()
    mean = torch.stack([controlled.evaluate(near, step)[1] for step in range(400)]).mean(0)
    assert torch.allclose(mean, full.evaluate(near, 0)[1], rtol=0.05)


@pytest.mark.parametrize("make", [BAOA, SGLD, PSGLD, SGHMC, HMC])
def test_a_sampler_without_a_step_says_so(make: Callable[[], Sampler]) -> None:
    sampler, target = make(), Gaussian(torch.eye(1), 2)
    generator = torch.Generator().manual_seed(0)
    state = sampler.start(torch.zeros(2), target, Move(0, 1.0, generator))
    with pytest.raises(SimkitError, match="expected a step size"):
        sampler.advance(state, target, Move(0, 1.0, generator))
