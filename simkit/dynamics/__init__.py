"""Molecular dynamics of one system or thousands in a batch, with any potential."""

from simkit.dynamics.force_field import ForceField
from simkit.dynamics.state import MDState, start
from simkit.dynamics.verlet import Drift, Kick, velocity_verlet

__all__ = ["Drift", "ForceField", "Kick", "MDState", "start", "velocity_verlet"]
