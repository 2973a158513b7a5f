"""Mixtures of Gaussians with full covariances, fitted by expectation maximisation."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from simkit.errors import SimkitError

RIDGE = 1e-6
"""Added to the variances of every component."""
TOLERANCE = 1e-5
"""Expectation maximisation ends when the mean log likelihood grows by less."""
ITERATIONS = 200


@dataclass(frozen=True)
class Mixture:
    """``p(x) = Σ_k π_k N(x; μ_k, L_k L_kᵀ)``.

    Attributes:
        logits: logarithms of the weights π.
        means: μ.
        factors: lower Cholesky factors L of the covariances.
    """

    logits: Float[Tensor, " components"]
    means: Float[Tensor, "components dimensions"]
    factors: Float[Tensor, "components dimensions dimensions"]

    def log_terms(self, x: Float[Tensor, "rows dimensions"]) -> Float[Tensor, "rows components"]:
        """``ln π_k + ln N(x; μ_k, Σ_k)``."""
        rows = x[None] - self.means[:, None]
        white = torch.linalg.solve_triangular(self.factors, rows.mT, upper=False)
        return self.log_peaks - 0.5 * white.square().sum(1).T

    @property
    def log_peaks(self) -> Float[Tensor, " components"]:
        """``ln π_k + ln N(μ_k; μ_k, Σ_k)``."""
        log_roots = torch.diagonal(self.factors, dim1=-2, dim2=-1).log().sum(-1)
        return self.logits - log_roots - 0.5 * self.means.shape[1] * math.log(2 * math.pi)

    def log_density(self, x: Float[Tensor, "rows dimensions"]) -> Float[Tensor, " rows"]:
        """``ln p(x)``."""
        return torch.logsumexp(self.log_terms(x), 1)

    def distance(self, x: Float[Tensor, "rows dimensions"]) -> Float[Tensor, " rows"]:
        """``√(2 (c - ln p(x)))`` with ``c = ln Σ_k π_k N(μ_k; μ_k, Σ_k)``, which no ``ln p`` exceeds.

        It grows as p falls, and of one component it is Mahalanobis' distance.
        """
        bound = torch.logsumexp(self.log_peaks, 0)
        return (2 * (bound - self.log_density(x))).clamp(min=0).sqrt()


def choose_mixture(x: Float[Tensor, "rows dimensions"], most: int, seed: int = 0) -> Mixture:
    """The mixture with the smallest Bayesian information criterion among those of 1, 2, ... components.

    ``BIC = P ln n - 2 ln L`` with P parameters and n rows. The search ends when two more components did not lower it.

    Reference: G. Schwarz, Ann. Stat. 6, 461 (1978), doi:10.1214/aos/1176344136.
    """
    best, lowest, since = None, math.inf, 0
    n, d = x.shape
    for count in range(1, most + 1):
        mixture = fit_mixture(x, count, seed)
        parameters = count * (d + d * (d + 1) // 2) + count - 1
        criterion = parameters * math.log(n) - 2 * float(mixture.log_density(x).sum())
        if criterion < lowest:
            best, lowest, since = mixture, criterion, 0
        else:
            since += 1
        if since == 2:
            break
    assert best is not None
    return best


def fit_mixture(x: Float[Tensor, "rows dimensions"], components: int, seed: int = 0) -> Mixture:
    """Maximise the likelihood of a mixture from starting points that are far apart (k-means++).

    Raises:
        SimkitError: fewer than two rows, fewer rows than components, or rows that are not finite.

    Reference: A. P. Dempster, N. M. Laird, D. B. Rubin, J. R. Stat. Soc. B 39, 1 (1977).
    """
    if len(x) < max(2, components) or components < 1:
        raise SimkitError(f"expected at least two rows and one for each of {components} components, found {len(x)}")
    if not bool(torch.isfinite(x).all()):
        raise SimkitError("expected finite features, found NaN or infinity: check the structures of the data")
    shares = _nearest(x, _spread_points(x, components, seed), components)
    mixture, before = _maximise(x, shares), -math.inf
    for _ in range(ITERATIONS if components > 1 else 0):
        terms = mixture.log_terms(x)
        densities = torch.logsumexp(terms, 1)
        if float(densities.mean()) - before < TOLERANCE:
            break
        before = float(densities.mean())
        mixture = _maximise(x, torch.exp(terms - densities[:, None]))
    return mixture


def _maximise(x: Tensor, shares: Float[Tensor, "rows components"]) -> Mixture:
    """The mixture that is most likely when each row belongs to the components in these shares."""
    counts = shares.sum(0).clamp(min=1e-10)
    means = (shares.T @ x) / counts[:, None]
    ridge = RIDGE * torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
    covariances = []
    for share, mean, count in zip(shares.T, means, counts, strict=True):
        rows = x - mean
        covariances.append((rows * share[:, None]).T @ rows / count + ridge)
    return Mixture((counts / len(x)).log(), means, torch.linalg.cholesky(torch.stack(covariances)))


def _spread_points(x: Tensor, count: int, seed: int) -> Int[Tensor, " components"]:
    """Rows drawn one after the other in proportion to the squared distance to those drawn before."""
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randint(len(x), (1,), generator=generator)
    nearest = (x - x[chosen]).square().sum(1)
    while len(chosen) < count:
        odds = nearest.cpu() + 1e-12
        chosen = torch.cat([chosen, torch.multinomial(odds, 1, generator=generator)])
        nearest = torch.minimum(nearest, (x - x[chosen[-1]]).square().sum(1))
    return chosen.to(x.device)


def _nearest(x: Tensor, points: Int[Tensor, " components"], components: int) -> Float[Tensor, "rows components"]:
    closest = torch.cdist(x, x[points]).argmin(1)
    return torch.nn.functional.one_hot(closest, components).to(x.dtype)
