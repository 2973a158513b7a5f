"""Scores of Gaussian predictions against quadrature and their minima."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import integrate, stats

from simkit.training.scores import beta_nll, gaussian_crps, gaussian_nll


@pytest.mark.parametrize(("residual", "sigma"), [(0.0, 1.0), (0.3, 0.5), (-2.0, 0.7), (5.0, 1.0)])
def test_crps_is_the_integral_of_its_definition(residual: float, sigma: float) -> None:
    """``∫ (Φ(x/σ) - [x ≥ r])² dx``."""
    below, _ = integrate.quad(lambda x: stats.norm.cdf(x, scale=sigma) ** 2, -20, residual, epsabs=1e-12)
    above, _ = integrate.quad(lambda x: stats.norm.sf(x, scale=sigma) ** 2, residual, 20, epsabs=1e-12)
    found = gaussian_crps(torch.tensor(residual), torch.tensor(sigma**2))
    assert float(found) == pytest.approx(below + above, abs=1e-9)


def test_nll_is_that_of_the_normal_distribution() -> None:
    residual, variance = torch.randn(5), torch.rand(5) + 0.1
    expected = -torch.distributions.Normal(0.0, variance.sqrt()).log_prob(residual)
    torch.testing.assert_close(gaussian_nll(residual, variance), expected)


@pytest.mark.parametrize("score", [gaussian_crps, gaussian_nll, beta_nll])
def test_the_best_variance_is_that_of_the_errors(score) -> None:
    """The mean score over normal errors of deviation 0.7 has no slope at 0.7, and slopes towards it beside."""
    errors = 0.7 * torch.as_tensor(stats.norm.ppf((torch.arange(4001) + 0.5) / 4001))

    def slope(sigma: float) -> float:
        variance = torch.full_like(errors, sigma**2, requires_grad=True)
        (gradient,) = torch.autograd.grad(score(errors, variance).mean(), variance)
        return float(gradient.sum())

    assert abs(slope(0.7)) < 5e-3 * min(abs(slope(0.5)), abs(slope(0.9)))
    assert slope(0.5) < 0 < slope(0.9)


def test_beta_nll_trains_the_mean_as_much_where_the_variance_is_large() -> None:
    """The gradient by the mean is ``r σ^(2β-2)``: with β = 1 that of the squared error."""
    residual, variance = torch.tensor([0.1, 0.1], requires_grad=True), torch.tensor([0.01, 1.0])
    for beta in (0.0, 0.5, 1.0):
        (gradient,) = torch.autograd.grad(beta_nll(residual, variance, beta).sum(), residual)
        torch.testing.assert_close(gradient, residual.detach() * variance ** (beta - 1))


def test_crps_of_a_certain_prediction_is_the_absolute_error() -> None:
    assert float(gaussian_crps(torch.tensor(0.3), torch.tensor(1e-12))) == pytest.approx(0.3, abs=1e-5)
    at_zero = (math.sqrt(2) - 1) / math.sqrt(math.pi)
    assert float(gaussian_crps(torch.tensor(0.0), torch.tensor(4.0))) == pytest.approx(2 * at_zero)
