"""Fourier spectral methods on periodic boxes, batched and differentiable."""

from simkit.solvers.spectral.equations import (
    AdvectionDiffusion,
    AllenCahn,
    Burgers,
    KortewegDeVries,
    KuramotoSivashinsky,
    NavierStokes2D,
    SemilinearEquation,
)
from simkit.solvers.spectral.flows import ETDRK4, IFRK4
from simkit.solvers.spectral.grid import FourierGrid
from simkit.solvers.spectral.state import SpectralState

__all__ = [
    "ETDRK4",
    "IFRK4",
    "AdvectionDiffusion",
    "AllenCahn",
    "Burgers",
    "FourierGrid",
    "KortewegDeVries",
    "KuramotoSivashinsky",
    "NavierStokes2D",
    "SemilinearEquation",
    "SpectralState",
]
