"""Finite volumes in one dimension, batched and differentiable: WENO5, exact and approximate Riemann fluxes."""

from simkit.solvers.finite_volume.boundaries import Boundary, Dirichlet, End, Ends, Neumann, Outflow, Periodic, Wall
from simkit.solvers.finite_volume.equation import FiniteVolumes
from simkit.solvers.finite_volume.family import ForcedBurgersKdV
from simkit.solvers.finite_volume.flows import CourantSteps, IntegratingFactor, explicit_steps, integrating_factor
from simkit.solvers.finite_volume.fluxes import NumericalFlux, godunov, local_lax_friedrichs
from simkit.solvers.finite_volume.forcing import TravellingWaves
from simkit.solvers.finite_volume.grid import CellGrid
from simkit.solvers.finite_volume.laws import (
    Advection,
    ConservationLaw,
    FluxFunction,
    Quadratic,
    ScalarLaw,
    ShallowWater,
)

__all__ = [
    "Advection",
    "Boundary",
    "CellGrid",
    "ConservationLaw",
    "CourantSteps",
    "Dirichlet",
    "End",
    "Ends",
    "FiniteVolumes",
    "FluxFunction",
    "ForcedBurgersKdV",
    "IntegratingFactor",
    "Neumann",
    "NumericalFlux",
    "Outflow",
    "Periodic",
    "Quadratic",
    "ScalarLaw",
    "ShallowWater",
    "TravellingWaves",
    "Wall",
    "explicit_steps",
    "godunov",
    "integrating_factor",
    "local_lax_friedrichs",
]
