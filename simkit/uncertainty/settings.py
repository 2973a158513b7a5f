"""Settings of methods and calibrations, as workflow files and the command line have them; importing them is quick."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from simkit.settings import Settings

Label = Literal["energy", "forces", "stress"]
Labels = Annotated[tuple[Label, ...], Field(min_length=1)]


class EnsembleMethod(Settings):
    """The models that are given are the members: nothing is fitted. Five are usual, two the least."""

    kind: Literal["ensemble"] = "ensemble"


class LastLayer(Settings):
    """What methods share that need the features in which the energy is linear, and one pass over the training data."""

    terms: Labels = Field(default=("energy", "forces", "stress"), description="labels used, of those that there are")
    energy_scale: PositiveFloat | None = Field(
        default=None, description="noise of the energy per atom in eV; by default the model's error in training"
    )
    forces_scale: PositiveFloat | None = Field(default=None, description="noise of the forces in eV/Å, likewise")
    stress_scale: PositiveFloat | None = Field(default=None, description="noise of the stress in eV/Å³, likewise")


class LLPRMethod(LastLayer):
    """Last-layer prediction rigidity: a Gaussian posterior of the last layer, around the model as it is."""

    kind: Literal["llpr"] = "llpr"
    draws: PositiveInt = Field(default=8, ge=2, description="sets of weights that give the covariance of forces")
    exact: bool = Field(default=False, description="covariance of forces without draws: slower by the weights' number")
    jitter: NonNegativeFloat | None = Field(
        default=None, description="added to the precision; by default as little as it needs"
    )


MethodSettings = Annotated[EnsembleMethod | LLPRMethod, Field(discriminator="kind")]
"""One of the methods, told apart by ``kind``."""

MapName = Literal["nll", "mae", "crps", "ratio", "finite-committee", "power-law", "isotonic"]
CalibrationTarget = Literal["forces", "energy"]


class CalibrationSettings(Settings):
    """How deviations are scaled to errors on calibration frames.

    ``nll``, ``mae``, ``crps``, ``ratio`` and ``finite-committee`` give one factor for energies, forces and stress;
    ``power-law`` and ``isotonic`` a curve for forces alone, which methods that only score need. See
    :func:`simkit.uncertainty.calibration_fits.fit_map`.
    """

    map: MapName | None = Field(default=None, description="nll by default; power-law for methods that only score")
    target: CalibrationTarget | None = Field(
        default=None, description="whose errors give the map; by default the forces, where they are labelled"
    )
