"""Molecular dynamics of one system or thousands in a batch, with any potential."""

from simkit.dynamics.calculator_forces import CalculatorForces
from simkit.dynamics.force_field import ForceField
from simkit.dynamics.guards import usual_guards
from simkit.dynamics.log import LogFile, live_note, observables
from simkit.dynamics.state import MDState, start
from simkit.dynamics.trajectory import TrajectoryFile
from simkit.dynamics.verlet import Drift, Kick, velocity_verlet

__all__ = [
    "CalculatorForces",
    "Drift",
    "ForceField",
    "Kick",
    "LogFile",
    "MDState",
    "TrajectoryFile",
    "live_note",
    "observables",
    "start",
    "usual_guards",
    "velocity_verlet",
]
