"""Settings of tasks, with the defaults of Python, workflow files and command line alike."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Literal

from simkit.errors import SimkitError

Ensemble = Literal["nve", "langevin", "bussi", "nose_hoover", "npt", "npt_flexible", "mtk", "mtk_flexible"]
Velocities = Literal["draw", "keep"]
Numbers = float | tuple[float, ...]
"""One number for all systems, or one for each."""

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

CANDIDATES = "candidates.xyz"
"""File of frames that dynamics keep to be labelled."""


@dataclass(frozen=True)
class Collecting:
    """Which frames of dynamics are kept to be labelled; see :class:`simkit.uncertainty.collector.FrameCollector`.

    Attributes:
        above: lower threshold of the largest uncertainty of an atom, in eV/Å for ``force_sigma``.
        below: upper threshold; none if absent.
        spacing: least number of steps between two frames of a system.
        at_most: number of frames.
    """

    above: float
    below: float | None = None
    spacing: int = 100
    at_most: int = 1000


@dataclass(frozen=True)
class Watching:
    """What happens where the potential becomes uncertain; see :mod:`simkit.uncertainty.stop_rule`.

    Attributes:
        stop_above: a system stops at its last frame below this threshold of the largest uncertainty of an atom, in eV/Å
            for ``force_sigma``; never if absent.
        quantity: ``force_sigma``, or ``score`` for methods that give distances.
        checks: so many of the last ``of`` looks must be above the threshold.
        of: number of looks that count.
        every: steps between looks.
        allow_uncalibrated: compare deviations that are not calibrated, with a warning.
        collect: frames to keep; none if absent.
    """

    stop_above: float | None = None
    quantity: Literal["force_sigma", "score"] = "force_sigma"
    checks: int = 3
    of: int = 5
    every: int = 10
    allow_uncalibrated: bool = False
    collect: Collecting | None = None


@dataclass(frozen=True)
class Dynamics:
    """Settings of a run; :data:`Numbers` are one for all systems or one for each.

    Attributes:
        ensemble: ``nve`` (velocity Verlet); constant temperature by ``langevin``, ``bussi`` (stochastic velocity
            rescaling) or ``nose_hoover`` (chains); constant temperature and pressure by ``npt`` (stochastic cell
            rescaling) or ``mtk`` (Martyna, Tobias, Klein), with ``_flexible`` for cells that also change their shape.
        timestep: in fs.
        steps: number of time steps.
        temperature: of the thermostat and of the initial velocities, in K. Without thermostat, and starting from a
            minimum, half of it goes into potential energy.
        velocities: ``draw`` them anew, or ``keep`` those of the structure file.
        friction: of Langevin dynamics, in 1/fs.
        time_constant: of the other thermostats, in fs.
        pressure: in GPa, at constant pressure.
        pressure_time_constant: of the cell, in fs.
        compressibility: estimate for ``npt``, in 1/GPa: the inverse of the bulk modulus.
        seed: of the initial velocities, thermostat and barostat.
        save_every: steps between frames of the trajectory.
        log_every: steps between lines of the log.
        checkpoint_every: steps between checkpoints.
        max_temperature: in K; a system that gets hotter has exploded, and stops.
        precision: of positions, momenta and forces in the trajectory.
        uncertainty: what happens where the potential becomes uncertain.
    """

    ensemble: Ensemble = "langevin"
    timestep: Numbers = 0.5
    steps: int = 1000
    temperature: Numbers = 300.0
    velocities: Velocities = "draw"
    friction: Numbers = 0.01
    time_constant: Numbers = 100.0
    pressure: Numbers = 0.0
    pressure_time_constant: Numbers = 1000.0
    compressibility: Numbers = 0.02
    seed: int = 0
    save_every: int = 10
    log_every: int = 10
    checkpoint_every: int = 100
    max_temperature: float = 10_000.0
    precision: Precision = "float32"
    uncertainty: Watching | None = None

    @property
    def constant_pressure(self) -> bool:
        """Whether the cell changes."""
        return self.ensemble.startswith(("npt", "mtk"))

    def require_sense(self) -> None:
        """Check the numbers.

        Raises:
            SimkitError: one is not positive and finite, the temperature is above its limit, a pressure is given where
                the cell is constant, or two settings have different numbers of numbers.
        """
        positive = (
            "timestep", "steps", "save_every", "log_every", "checkpoint_every", "friction", "time_constant",
            "pressure_time_constant", "compressibility",
        )  # fmt: skip
        for name in positive:
            for value in numbers(getattr(self, name)):
                if not 0 < value < math.inf:
                    raise SimkitError(f"expected a positive {name}, found {value}")
        longest = max(numbers(self.timestep))
        if longest > MAX_TIMESTEP:
            raise SimkitError(
                f"expected a time step of at most {MAX_TIMESTEP:g} fs, found {longest:g} fs: the fastest "
                "vibrations take about 10 fs with hydrogen and 100 fs with heavy atoms, and want 20 steps each"
            )
        if not self.max_temperature > 0:
            raise SimkitError(f"expected a positive max_temperature in K, found {self.max_temperature}")
        self._require_pressure()
        self._require_equal_lengths()
        for value in numbers(self.temperature):
            if not value >= 0 or (self.ensemble not in ("nve", "langevin") and value == 0):
                raise SimkitError(f"expected a positive temperature in K, found {value}")
            if value >= self.max_temperature:
                raise SimkitError(
                    f"expected a temperature below max_temperature, {self.max_temperature:g} K, where a run counts as "
                    f"exploded; found {value:g} K: lower the one or raise the other"
                )

    def _require_pressure(self) -> None:
        for value in numbers(self.pressure):
            if not math.isfinite(value):
                raise SimkitError(f"expected a finite pressure in GPa, found {value}")
            if value and not self.constant_pressure:
                raise SimkitError(
                    f"a pressure ({value:g} GPa) needs a cell that may change, and {self.ensemble} keeps it: choose "
                    "the ensemble npt, npt_flexible, mtk or mtk_flexible, or leave the pressure out"
                )

    def _require_equal_lengths(self) -> None:
        lengths = self._lengths()
        if len({length for length in lengths.values() if length > 1}) > 1:
            listed = ", ".join(f"{name}: {length}" for name, length in lengths.items())
            raise SimkitError(f"expected as many numbers in each setting that has several, found {listed}")

    def _lengths(self) -> dict[str, int]:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: len(value) for name, value in values.items() if isinstance(value, tuple)}

    @property
    def copies(self) -> int:
        """Number of systems that the settings are given for: 1 if no setting has several numbers."""
        return max(self._lengths().values(), default=1)


def numbers(value: Numbers) -> tuple[float, ...]:
    """One number or several as a tuple."""
    return tuple(value) if isinstance(value, Sequence) else (value,)


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
    """Numbers of frames for training, validation and test, and for the calibration of uncertainties."""

    train: int = 500
    valid: int = 50
    test: int = 100
    calibration: int = 0


@dataclass(frozen=True)
class Sampling:
    """How frames are sampled.

    Attributes:
        temperatures: in K; the frames are shared out evenly among them.
        timestep: in fs.
        spacing: time steps between frames that are kept.
        equilibration: time steps before the first one.
        friction: of Langevin dynamics, in 1/fs.
        trajectories: at each temperature, that the test frames come from, and as many others for calibration frames.
            All start from other velocities, and frames of one are a group: what is judged or calibrated on one
            trajectory knows one draw only.
    """

    temperatures: tuple[float, ...] = (300.0,)
    timestep: float = 1.0
    spacing: int = 20
    equilibration: int = 200
    friction: float = 0.02
    trajectories: int = 1
