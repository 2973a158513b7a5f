"""Methods of dynamics by the name of their ensemble or thermostat, from plain settings."""

from __future__ import annotations

from typing import Literal, get_args

import torch

from simkit.dynamics.bussi import bussi
from simkit.dynamics.force_field import Forces
from simkit.dynamics.langevin import langevin
from simkit.dynamics.nose_hoover import nose_hoover
from simkit.dynamics.settings import Setting
from simkit.dynamics.verlet import velocity_verlet
from simkit.errors import SimkitError
from simkit.flows import Flow

Ensemble = Literal["nve", "langevin", "bussi", "nose_hoover"]
"""Constant energy, or constant temperature by one of three thermostats."""


def ensemble_flow(
    ensemble: Ensemble,
    force_field: Forces,
    *,
    temperature: Setting = 300.0,
    friction: Setting = 0.01,
    time_constant: Setting = 100.0,
    generator: torch.Generator | None = None,
    drift: bool = False,
) -> Flow:
    """The flow of one time step in an ensemble.

    Args:
        ensemble: ``nve``, velocity Verlet; ``langevin``; ``bussi``, stochastic velocity rescaling; ``nose_hoover``.
        force_field: of the systems.
        temperature: of the thermostat in K, one for all systems or one for each.
        friction: of Langevin dynamics in 1/fs, likewise.
        time_constant: of the other thermostats in fs, likewise.
        generator: of random numbers, on the device of the systems.
        drift: let thermostats act on the centre of mass; give the same to :func:`~simkit.dynamics.start`.

    Raises:
        SimkitError: an unknown ensemble or a setting out of bounds.
    """
    if ensemble == "nve":
        return velocity_verlet(force_field)
    if ensemble == "langevin":
        return langevin(force_field, temperature, friction, generator, drift=drift)
    if ensemble == "bussi":
        return bussi(force_field, temperature, time_constant, generator, drift=drift)
    if ensemble == "nose_hoover":
        return nose_hoover(force_field, temperature, time_constant)
    raise SimkitError(f"expected an ensemble among {', '.join(get_args(Ensemble))}; found {ensemble!r}")
