"""Scores of Gaussian predictions: losses that are smallest where mean and variance are those of the errors."""

from __future__ import annotations

import math
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

Score = Literal["crps", "nll", "beta-nll"]

ENERGY_FLOOR = 1e-8
"""Least variance of energies per atom in eV²."""
FORCES_FLOOR = 1e-5
"""Least variance of components of forces in (eV/Å)²."""
BETA = 0.5


def gaussian_nll(residual: Float[Tensor, "*n"], variance: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """``½ (r²/σ² + ln 2πσ²)``: negative log likelihood of errors r."""
    return 0.5 * (residual.square() / variance + variance.log() + math.log(2 * math.pi))


def beta_nll(residual: Float[Tensor, "*n"], variance: Float[Tensor, "*n"], beta: float = BETA) -> Float[Tensor, "*n"]:
    """``σ^(2β)·NLL``, the factor being a constant for derivatives: the mean is trained also where σ is large.

    With β = 0 it is the likelihood, whose gradient by the mean is divided by σ², so that errors excuse themselves by a
    large variance; with β = 1 the mean is trained as by squared errors.

    Reference: M. Seitzer, A. Tavakoli, D. Antic, G. Martius, ICLR 2022, arXiv:2203.09168.
    """
    return variance.detach() ** beta * gaussian_nll(residual, variance)


def gaussian_crps(residual: Float[Tensor, "*n"], variance: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """``σ [z (2Φ(z) - 1) + 2φ(z) - 1/√π]`` with ``z = r/σ``: continuous ranked probability score, in the unit of r.

    Reference: T. Gneiting, A. E. Raftery, J. Am. Stat. Assoc. 102, 359 (2007), doi:10.1198/016214506000001437.
    """
    sigma = variance.sqrt()
    z = residual / sigma
    density = torch.exp(-0.5 * z.square()) / math.sqrt(2 * math.pi)
    return sigma * (z * torch.erf(z / math.sqrt(2)) + 2 * density - 1 / math.sqrt(math.pi))


SCORES = {"crps": gaussian_crps, "nll": gaussian_nll, "beta-nll": beta_nll}
