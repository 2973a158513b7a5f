"""Mixtures of Gaussians: densities, recovered parameters, the number of components."""

from __future__ import annotations

import pytest
import torch
from scipy import stats

from simkit.errors import SimkitError
from simkit.uncertainty.gaussian_mixture import Mixture, choose_mixture, fit_mixture


def three_groups(count: int = 1500) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(count, 2, generator=generator)
    centres = torch.tensor([[0.0, 0.0], [6.0, 0.0], [0.0, 6.0]])
    shapes = torch.tensor([[[1.0, 0.0], [0.8, 0.6]], [[0.5, 0.0], [0.0, 0.5]], [[1.0, 0.0], [0.0, 0.3]]])
    group = torch.arange(count) % 3
    return centres[group] + torch.einsum("nij,nj->ni", shapes[group], noise)


def test_density() -> None:
    factors = torch.linalg.cholesky(torch.tensor([[[2.0, 0.3], [0.3, 1.0]], [[0.5, -0.2], [-0.2, 0.4]]]))
    mixture = Mixture(torch.tensor([0.3, 0.7]).log(), torch.tensor([[0.0, 1.0], [2.0, -1.0]]), factors)
    x = torch.randn(5, 2)
    parts = [
        stats.multivariate_normal(mean.numpy(), (factor @ factor.T).numpy()).pdf(x.numpy())
        for mean, factor in zip(mixture.means, factors, strict=True)
    ]
    expected = torch.as_tensor(0.3 * parts[0] + 0.7 * parts[1]).log()
    torch.testing.assert_close(mixture.log_density(x), expected, rtol=1e-10, atol=1e-12)


def test_one_component_is_mean_and_covariance() -> None:
    x = three_groups()
    mixture = fit_mixture(x, 1)
    torch.testing.assert_close(mixture.means[0], x.mean(0))
    expected = torch.cov(x.T, correction=0) + 1e-6 * torch.eye(2)
    torch.testing.assert_close(mixture.factors[0] @ mixture.factors[0].T, expected)
    rows = x - x.mean(0)
    mahalanobis = (rows @ torch.linalg.inv(expected) * rows).sum(1).sqrt()
    torch.testing.assert_close(mixture.distance(x), mahalanobis, rtol=1e-6, atol=1e-6)


def test_components_are_found() -> None:
    mixture = choose_mixture(three_groups(), 10)
    assert mixture.logits.exp().tolist() == pytest.approx([1 / 3] * 3, abs=0.01)
    order = mixture.means.sum(1).argsort()
    assert float(mixture.means[order[0]].norm()) < 0.1
    covariance = mixture.factors[order[0]] @ mixture.factors[order[0]].T
    torch.testing.assert_close(covariance, torch.tensor([[1.0, 0.8], [0.8, 1.0]]), atol=0.12, rtol=0)


def test_distance_grows_as_the_density_falls() -> None:
    x = three_groups()
    mixture = fit_mixture(x, 3)
    density, distance = mixture.log_density(x), mixture.distance(x)
    assert bool((distance >= 0).all())
    assert bool((distance[density.argsort(descending=True)].diff() >= 0).all())


def test_likelihood_grows_with_every_step() -> None:
    x = three_groups(300)
    few, many = (float(fit_mixture(x, count).log_density(x).mean()) for count in (2, 3))
    assert many > few + 0.1


def test_refusals() -> None:
    with pytest.raises(SimkitError, match="one for each of 4 components, found 3"):
        fit_mixture(torch.randn(3, 2), 4)
    with pytest.raises(SimkitError, match="finite features"):
        fit_mixture(torch.full((3, 2), torch.nan), 1)
