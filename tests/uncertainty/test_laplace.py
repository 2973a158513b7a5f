"""The linearised Laplace approximation: exact for linear models, and the oracle of LLPR."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from scipy import stats
from scipy.optimize import minimize_scalar
from torch import Tensor

from simkit.errors import SimkitError
from simkit.evaluation import evaluate
from simkit.graph import make_graph
from simkit.neighbours import build_neighbours
from simkit.potential import Potential
from simkit.potentials.lennard_jones import LennardJones
from simkit.potentials.mace import MACE
from simkit.potentials.model_file import load_model, save_model
from simkit.uncertainty.laplace import Laplace, best_prior, log_marginal_likelihood
from simkit.uncertainty.llpr import LLPR
from simkit.uncertainty.weight_derivatives import weight_derivatives
from tests.conformance import systems
from tests.conformance.battery import Battery
from tests.uncertainty.examples import labelled_water, mace
from tests.uncertainty.linear_potential import SCALES, Linear, design, frames, query, response

OUTPUTS = ("energy", "energies", "forces", "stress")
LAST = ("readouts.0.linear.weight", "readouts.1.linear_2.weight")


@pytest.fixture(scope="module")
def network() -> MACE:
    torch.manual_seed(0)
    return mace(hidden_irreps="3x0e", radial_mlp=(3,), n_radial=3, correlation=1)


@pytest.fixture(scope="module")
def fitted(network: MACE) -> Laplace:
    return Laplace.fit(network, labelled_water(3))


def cell() -> systems.System:
    return systems.crystal((1, 8), 1.7, seed=3)


class TestBattery(Battery):
    """As a potential it is the one it wraps."""

    spacing = 1.4
    test_compiled = None

    def potential(self) -> Potential:
        return Laplace(mace(), torch.eye(9), 1.0, parameters=LAST)


def test_is_the_posterior_of_a_linear_model() -> None:
    rows = design(frames())
    posterior = torch.linalg.inv(rows.T @ rows + 0.3 * torch.eye(5))
    f, g = response(query())
    found = Laplace.fit(Linear(), frames(), scales=SCALES, prior=0.3).predict(query(), outputs=OUTPUTS)
    assert found.energy_std is not None
    torch.testing.assert_close(found.energy_std[0] ** 2, f @ posterior @ f, rtol=1e-8, atol=0)
    expected = torch.einsum("kai,kl,laj->aij", g, posterior, g)
    torch.testing.assert_close(found.forces_cov, expected, rtol=1e-8, atol=1e-15)


def regression() -> tuple[Tensor, Tensor, float]:
    generator = torch.Generator().manual_seed(2)
    inputs = torch.randn(30, 6, generator=generator) * torch.tensor([3.0, 1.0, 1.0, 0.3, 0.1, 0.01])
    weights = 0.7 * torch.randn(6, generator=generator)
    return inputs, inputs @ weights + 0.2 * torch.randn(30, generator=generator), 0.2


def best_weights(inputs: Tensor, values: Tensor, noise: float, prior: float) -> Tensor:
    return torch.linalg.solve(inputs.T @ inputs / noise**2 + prior * torch.eye(6), inputs.T @ values / noise**2)


def evidence(prior: float) -> float:
    """``ln N(y; 0, X Xᵀ/δ + s²)``."""
    inputs, values, noise = regression()
    covariance = inputs @ inputs.T / prior + noise**2 * torch.eye(len(values))
    return float(stats.multivariate_normal(cov=covariance.numpy()).logpdf(values.numpy()))


def test_marginal_likelihood_of_a_linear_model() -> None:
    inputs, values, noise = regression()
    spectrum = torch.linalg.eigvalsh(inputs.T @ inputs / noise**2)
    for prior in (0.01, 1.0, 40.0):
        weights = best_weights(inputs, values, noise, prior)
        errors = (values - inputs @ weights).numpy()
        likelihood = float(stats.norm(scale=noise).logpdf(errors).sum())
        found = log_marginal_likelihood(spectrum, float(weights.square().sum()), prior, likelihood)
        assert found == pytest.approx(evidence(prior), abs=1e-9)


def test_best_prior_maximises_the_marginal_likelihood() -> None:
    """Weights and prior in turn converge to the maximum of the evidence, found without derivatives."""
    inputs, values, noise = regression()
    spectrum = torch.linalg.eigvalsh(inputs.T @ inputs / noise**2)
    prior = 1.0
    for _ in range(100):
        prior = best_prior(spectrum, float(best_weights(inputs, values, noise, prior).square().sum()))
    expected = minimize_scalar(lambda log: -evidence(10**log), bounds=(-3, 3), method="bounded").x
    assert prior == pytest.approx(10**expected, rel=1e-3)
    with pytest.raises(SimkitError, match="no maximum in the prior's precision"):
        best_prior(spectrum, 0.0)


def test_derivatives_by_finite_differences(network: MACE) -> None:
    """Those of energy, energies, forces and stress by every weight, against moved weights."""
    system = cell()
    neighbours = build_neighbours(system, network.cutoff)
    found = weight_derivatives(network, ("*",), system, neighbours, OUTPUTS)
    count = sum(parameter.numel() for parameter in network.parameters())
    moved = mace(hidden_irreps="3x0e", radial_mlp=(3,), n_radial=3, correlation=1).requires_grad_(False)
    for place in range(0, count, 17):
        ends = []
        for step in (1e-4, -1e-4):
            flat = torch.nn.utils.parameters_to_vector(network.parameters()).detach().clone()
            flat[place] += step
            torch.nn.utils.vector_to_parameters(flat, moved.parameters())
            ends.append(evaluate(moved, system, outputs=OUTPUTS))
        for name in OUTPUTS:
            difference = (getattr(ends[0], name) - getattr(ends[1], name)) / 2e-4
            torch.testing.assert_close(found[name][..., place], difference, rtol=1e-5, atol=1e-6)


def test_last_layer_is_llpr() -> None:
    """With the weights of the readouts alone, and the prior as jitter, both are the same Gaussian."""
    torch.manual_seed(0)
    network, data = mace(), labelled_water(3)
    laplace = Laplace.fit(network, data, parameters=LAST, prior=2.0, draws=8, scales={"energy": 0.1, "forces": 0.5})
    llpr = LLPR.fit(network, data, jitter=2.0, draws=8, exact=True, scales={"energy": 0.1, "forces": 0.5})
    found, expected = (
        laplace.predict(cell(), outputs=OUTPUTS, samples=4),
        llpr.predict(cell(), outputs=OUTPUTS, samples=4),
    )
    for name in ("energy_std", "energies_std", "forces_cov", "stress_cov"):
        torch.testing.assert_close(getattr(found, name), getattr(expected, name), rtol=1e-8, atol=1e-12)
    torch.testing.assert_close(found.samples.forces, expected.samples.forces, rtol=1e-7, atol=1e-9)
    torch.testing.assert_close(found.samples.stress, expected.samples.stress, rtol=1e-7, atol=1e-9)
    assert laplace.scales == llpr.scales


def test_variance_falls_with_the_prior(network: MACE) -> None:
    found = [Laplace.fit(network, labelled_water(2), prior=prior).predict(cell()) for prior in (0.1, 1.0, 10.0)]
    for more, less in pairwise(found):
        assert float(less.energy_std) < float(more.energy_std)
        assert bool((less.force_sigma < more.force_sigma).all())


def test_force_covariance_turns_with_the_system(fitted: Laplace) -> None:
    turn = systems.rotation(7, True)
    turned = replace(cell(), positions=cell().positions @ turn.T, cell=cell().cell @ turn.T)
    here, there = fitted.predict(cell()), fitted.predict(turned)
    torch.testing.assert_close(there.forces_cov, turn @ here.forces_cov @ turn.T, rtol=1e-8, atol=1e-12)


def test_gradient_of_the_variance(fitted: Laplace) -> None:
    system = cell()
    neighbours = build_neighbours(system, fitted.cutoff)

    def variance(positions: Tensor) -> Tensor:
        return fitted.energy_variance(make_graph(replace(system, positions=positions), neighbours)).sum()

    positions = system.positions.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(variance(positions), positions)
    step = torch.zeros_like(system.positions)
    step[2, 1] = 1e-4
    ends = [float(variance(system.positions + s * step).detach()) for s in (1, -1)]
    assert float(gradient[2, 1]) == pytest.approx((ends[0] - ends[1]) / 2e-4, rel=1e-5)
    deviation = fitted.predict(system, outputs=("energy",)).energy_std
    torch.testing.assert_close(variance(system.positions).detach(), deviation.square().sum())


def test_file_round_trip(fitted: Laplace, tmp_path: Path) -> None:
    save_model(tmp_path / "laplace.simkit", fitted)
    loaded = load_model(tmp_path / "laplace.simkit")
    found, expected = (model.predict(cell(), outputs=OUTPUTS, samples=2) for model in (loaded, fitted))
    for name in ("energy_std", "energies_std", "forces_cov", "stress_cov"):
        assert torch.equal(getattr(found, name), getattr(expected, name)), name
    assert torch.equal(found.samples.forces, expected.samples.forces)


def test_refusals() -> None:
    with pytest.raises(SimkitError, match="1 to 5000 weights, found 0 in this lennard-jones"):
        Laplace.fit(LennardJones(0.01, 3.4, 5.0), frames(), parameters=("readout*",))
    with pytest.raises(SimkitError, match=r"1 to 5000 weights, found \d+ in this mace"):
        Laplace.fit(mace(hidden_irreps="64x0e", radial_mlp=(64,)), labelled_water(1))
    with pytest.raises(SimkitError, match="precision of 5 weights"):
        Laplace(Linear(), torch.eye(3), 1.0)
    with pytest.raises(SimkitError, match="at most 8 samples"):
        Laplace(Linear(), torch.eye(5), 1.0).predict(query(), samples=9)
