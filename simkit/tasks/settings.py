"""Settings of tasks, with the defaults of Python, workflow files and command line alike."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from simkit.errors import SimkitError

Ensemble = Literal["nve", "langevin", "bussi"]
LabellerName = Literal["gfn2-xtb", "gfn1-xtb", "emt"]
OptimiserName = Literal["LBFGS", "FIRE"]
Precision = Literal["float32", "float64"]

PRECISION: Precision = "float64"
"""Of dynamics and relaxations, which rounding errors of float32 disturb: drift of the energy, noise near minima."""


LABELLER: LabellerName = "gfn2-xtb"
"""The reference method."""

BATCH_ATOMS = 512
"""Atoms that are evaluated together; enough to keep a few CPU cores or a small GPU busy."""

MAX_TIMESTEP = 20.0


@dataclass(frozen=True)
class Dynamics:
    """Settings of a run.

    Attributes:
        ensemble: ``nve`` (velocity Verlet), ``langevin`` or ``bussi`` (stochastic velocity rescaling), both NVT.
        timestep: in fs.
        steps: number of time steps.
        temperature: of the thermostat and of the initial velocities, in K. Without thermostat, and starting from a
            minimum, half of it goes into potential energy.
        friction: of Langevin dynamics, in 1/fs.
        time_constant: of velocity rescaling, in fs.
        seed: of the initial velocities and the thermostat.
        save_every: steps between frames of the trajectory.
        log_every: steps between lines of the log.
        checkpoint_every: steps between checkpoints.
        max_temperature: in K; a system that gets hotter has exploded, and the run stops.
    """

    ensemble: Ensemble = "langevin"
    timestep: float = 0.5
    steps: int = 1000
    temperature: float = 300.0
    friction: float = 0.01
    time_constant: float = 100.0
    seed: int = 0
    save_every: int = 10
    log_every: int = 1
    checkpoint_every: int = 100
    max_temperature: float = 10_000.0

    def require_sense(self) -> None:
        """Check the numbers.

        Raises:
            SimkitError: one is not positive and finite, or the temperature is above its limit.
        """
        positive = ("timestep", "steps", "save_every", "log_every", "checkpoint_every", "friction", "time_constant")
        for name in positive:
            if not 0 < getattr(self, name) < math.inf:
                raise SimkitError(f"expected a positive {name}, found {getattr(self, name)}")
        if self.timestep > MAX_TIMESTEP:
            raise SimkitError(
                f"expected a time step of at most {MAX_TIMESTEP:g} fs, found {self.timestep:g} fs: the fastest "
                "vibrations take about 10 fs with hydrogen and 100 fs with heavy atoms, and want 20 steps each"
            )
        if not self.temperature >= 0 or (self.ensemble == "bussi" and self.temperature == 0):
            raise SimkitError(f"expected a positive temperature in K, found {self.temperature}")
        if self.temperature >= self.max_temperature:
            raise SimkitError(
                f"expected a temperature below max_temperature, {self.max_temperature:g} K, where a run counts as "
                f"exploded; found {self.temperature:g} K: lower the one or raise the other"
            )


@dataclass(frozen=True)
class Relaxation:
    """Settings of a relaxation.

    Attributes:
        fmax: largest force on any atom of a relaxed structure, in eV/Å.
        max_steps: of each structure.
        optimiser: LBFGS, which needs fewer evaluations, or FIRE, which is safer far from a minimum.
        relax_cell: also relax the cell, to zero stress; for periodic structures.
        pressure: instead of zero stress, in GPa; with ``relax_cell``.
        path: write the geometries of all steps.
    """

    fmax: float = 0.01
    max_steps: int = 500
    optimiser: OptimiserName = "LBFGS"
    relax_cell: bool = False
    pressure: float = 0.0
    path: bool = True


@dataclass(frozen=True)
class Counts:
    """Numbers of frames for training, validation and test."""

    train: int = 500
    valid: int = 50
    test: int = 100


@dataclass(frozen=True)
class Sampling:
    """How frames are sampled.

    Attributes:
        temperatures: in K; the frames are shared out evenly among them.
        timestep: in fs.
        spacing: time steps between frames that are kept.
        equilibration: time steps before the first one.
        friction: of Langevin dynamics, in 1/fs.
    """

    temperatures: tuple[float, ...] = (300.0,)
    timestep: float = 1.0
    spacing: int = 20
    equilibration: int = 200
    friction: float = 0.02
