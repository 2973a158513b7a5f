"""Where the frames of a training come from, and how files of labelled frames are read."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, NonNegativeFloat, NonNegativeInt, PositiveFloat

from simkit.settings import Settings

HOW_TO_READ = (
    "keys, units and signs of a data file are set by reading, e.g. reading: {energy_unit: Hartree, forces_sign: -1} "
    "in a file of settings, --reading energy_unit=Hartree --reading forces_sign=-1 on the command line"
)
"""What to say after advice of an audit that concerns them."""

CONCERN_READING = ("energy-unit", "force-scale", "force-sign", "inconsistent-units", "stress-sign", "stress-unit")
"""Kinds of findings of an audit whose remedy is another reading of the file."""


def _energy_unit(unit: str) -> str:
    from simkit.datasets.unit_names import energy_factor

    energy_factor(unit)
    return unit


def _force_unit(unit: str) -> str:
    from simkit.datasets.unit_names import force_factor

    force_factor(unit)
    return unit


EnergyUnit = Annotated[str, AfterValidator(_energy_unit)]
ForceUnit = Annotated[str, AfterValidator(_force_unit)]


class ReadingSettings(Settings):
    """How a file of labelled frames is read; what is not given is recognised.

    All but the signs are options of :func:`simkit.datasets.files.open_dataset`.
    """

    format: Literal["extxyz", "db", "traj", "npz", "json", "hdf5", "shards", "deepmd"] | None = Field(
        default=None, description="of the file, where its content does not tell"
    )
    energy_key: str | None = Field(default=None, description="key of the energy; an empty text reads none")
    forces_key: str | None = Field(default=None, description="key of the forces; an empty text reads none")
    stress_key: str | None = Field(default=None, description="key of stress or virial; an empty text reads none")
    group_key: str | None = Field(default=None, description="key of what frames of one group share")
    energy_unit: EnergyUnit | None = Field(default=None, description="such as Hartree, kcal/mol")
    forces_unit: ForceUnit | None = Field(default=None, description="such as Hartree/Bohr, kcal/mol/Å")
    stress_unit: str | None = Field(default=None, description="such as GPa, kbar; of a virial: of energy")
    forces_sign: Literal[1, -1] = Field(default=1, description="-1: the file holds gradients")
    stress_sign: Literal[1, -1] = Field(default=1, description="-1: compression is positive in the file")
    stress_order: str | None = Field(default=None, description="of shear stresses in JSON records: xy yz zx, xy zx yz")

    def options(self) -> dict[str, Any]:
        """What :func:`~simkit.datasets.files.open_dataset` takes."""
        return self.model_dump(exclude={"forces_sign", "stress_sign"})


class SplitSettings(Settings):
    """How frames are kept for validation and test: fractions (below 1) or numbers of frames.

    ``by: group`` keeps frames of one group (trajectory, composition) together. ``train`` limits the training frames,
    e.g. for learning curves; by default they are all others.
    """

    validation: NonNegativeInt | NonNegativeFloat = 0.1
    test: NonNegativeInt | NonNegativeFloat = 0
    train: NonNegativeInt | PositiveFloat | None = None
    by: Literal["random", "group"] = "random"


class ReplaySettings(Settings):
    """Frames mixed with the training data so that a fine-tuned potential does not forget."""

    data: str
    reading: ReadingSettings = ReadingSettings()
    head: NonNegativeInt | None = Field(default=None, description="index of their level of theory")
    weight: PositiveFloat = Field(default=1.0, description="of these frames in the loss")
