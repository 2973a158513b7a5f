"""Relaxation of one system or thousands in a batch, with any potential."""

from simkit.relaxation.cell import CellFilter
from simkit.relaxation.fire import Fire
from simkit.relaxation.in_flight import InFlight, Round
from simkit.relaxation.lbfgs import Lbfgs
from simkit.relaxation.memory import Budget, measured_budget
from simkit.relaxation.optimiser import Optimiser
from simkit.relaxation.outcome import Outcome, Status
from simkit.relaxation.relax import relax

__all__ = [
    "Budget",
    "CellFilter",
    "Fire",
    "InFlight",
    "Lbfgs",
    "Optimiser",
    "Outcome",
    "Round",
    "Status",
    "measured_budget",
    "relax",
]
