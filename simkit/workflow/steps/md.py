"""The step ``md``."""

from __future__ import annotations

from dataclasses import fields
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from simkit.errors import SimkitError
from simkit.settings import Settings
from simkit.tasks.settings import (
    CANDIDATES,
    PRECISION,
    Collecting,
    Dynamics,
    Ensemble,
    LabellerName,
    Precision,
    Velocities,
    Watching,
)
from simkit.workflow.step import Context, Input, Step

VERLET = "W. C. Swope et al., J. Chem. Phys. 76, 637 (1982), doi:10.1063/1.442716"
LANGEVIN = "B. Leimkuhler, C. Matthews, J. Chem. Phys. 138, 174102 (2013), doi:10.1063/1.4802990"
BUSSI = "G. Bussi, D. Donadio, M. Parrinello, J. Chem. Phys. 126, 014101 (2007), doi:10.1063/1.2408420"
CHAINS = "G. J. Martyna et al., Mol. Phys. 87, 1117 (1996), doi:10.1080/00268979600100761"
RESCALING = "M. Bernetti, G. Bussi, J. Chem. Phys. 153, 114107 (2020), doi:10.1063/5.0020514"
SHAPE = "V. Del Tatto et al., Appl. Sci. 12, 1139 (2022), doi:10.3390/app12031139"
MTK = "G. J. Martyna, D. J. Tobias, M. L. Klein, J. Chem. Phys. 101, 4177 (1994), doi:10.1063/1.467468"
METHODS = {
    "nve": (VERLET,),
    "langevin": (LANGEVIN,),
    "bussi": (BUSSI,),
    "nose_hoover": (CHAINS,),
    "npt": (RESCALING, BUSSI),
    "npt_flexible": (RESCALING, SHAPE, BUSSI),
    "mtk": (MTK, CHAINS),
    "mtk_flexible": (MTK, CHAINS),
}
Positive = PositiveFloat | Annotated[tuple[PositiveFloat, ...], Field(min_length=1)]
NotNegative = NonNegativeFloat | Annotated[tuple[NonNegativeFloat, ...], Field(min_length=1)]
Number = float | Annotated[tuple[float, ...], Field(min_length=1)]


class Check(Settings):
    """Compare the trajectory with a reference method; see :func:`simkit.tasks.check.check_file`."""

    labeller: LabellerName = Field("gfn2-xtb", description="Reference method.")
    every: PositiveInt = Field(1, description="Compare each of so many frames of the trajectory.")


class Collect(Settings):
    """Frames to be labelled, in ``candidates.xyz``; see :class:`simkit.tasks.settings.Collecting`."""

    above: NonNegativeFloat = Field(description="Least uncertainty; of force_sigma, in eV/Å.")
    below: PositiveFloat | None = Field(None, description="Frames that are more uncertain are likely unphysical.")
    spacing: PositiveInt = Field(Collecting.spacing, description="Least number of steps between frames of a system.")
    at_most: PositiveInt = Field(Collecting.at_most, description="Number of frames.")


class Uncertainty(Settings):
    """What happens where the model becomes uncertain; see :class:`simkit.tasks.settings.Watching`."""

    stop_above: PositiveFloat | None = Field(None, description="A system stops there; of force_sigma, in eV/Å.")
    quantity: Literal["force_sigma", "score"] = Field(
        "force_sigma", description="Deviation of the forces, or a score such as a distance; the largest of the atoms."
    )
    checks: PositiveInt = Field(Watching.checks, description="So many of the last checks must be above.")
    of: PositiveInt = Field(Watching.of, description="Number of checks that count.")
    every: PositiveInt = Field(Watching.every, description="Time steps between checks.")
    allow_uncalibrated: bool = Field(False, description="Compare deviations that are not calibrated.")
    collect: Collect | None = Field(None, description="Keep frames to be labelled.")

    @model_validator(mode="after")
    def _sense(self) -> Uncertainty:
        if self.checks > self.of:
            raise ValueError(f"expected checks of at most of, found {self.checks} of {self.of}")
        return self


class MolecularDynamics(Step):
    """Molecular dynamics with a model; see :func:`simkit.tasks.dynamics.run_md`.

    Settings with a list of numbers have one for each system. A system that explodes stops, and the others run on; the
    step fails if no system reaches the end. Its folder keeps the files up to the last good frames.
    """

    version: ClassVar[int] = 3
    model: Input = Field(description="Model file.")
    structure: Input = Field(description="File with the starting structure, or several.")
    frame: int | Literal["all"] = Field(-1, description="Of that file, from 0; -1 is the last; all: side by side.")
    ensemble: Ensemble = Field(
        Dynamics.ensemble,
        description="Constant energy (nve), temperature (langevin, bussi, nose_hoover), or temperature and pressure by "
        "cell rescaling (npt) or extended dynamics (mtk), with _flexible for cells that change their shape.",
    )
    timestep: Positive = Field(Dynamics.timestep, description="In fs.")
    steps: PositiveInt = Field(Dynamics.steps, description="Time steps.")
    temperature: NotNegative = Field(
        Dynamics.temperature, description="Of the initial velocities and the thermostat, in K."
    )
    velocities: Velocities = Field(Dynamics.velocities, description="At the start: drawn, or kept from the file.")
    friction: Positive = Field(Dynamics.friction, description="Of Langevin dynamics, in 1/fs.")
    time_constant: Positive = Field(Dynamics.time_constant, description="Of the other thermostats, in fs.")
    pressure: Number = Field(Dynamics.pressure, description="At constant pressure, in GPa.")
    pressure_time_constant: Positive = Field(Dynamics.pressure_time_constant, description="Of the cell, in fs.")
    compressibility: Positive = Field(
        Dynamics.compressibility, description="Estimate for npt, in 1/GPa: one over the bulk modulus."
    )
    save_every: PositiveInt = Field(Dynamics.save_every, description="Time steps between frames of the trajectory.")
    log_every: PositiveInt = Field(Dynamics.log_every, description="Time steps between lines of the log.")
    checkpoint_every: PositiveInt = Field(Dynamics.checkpoint_every, description="Time steps between checkpoints.")
    max_temperature: PositiveFloat = Field(
        Dynamics.max_temperature, description="A hotter system has exploded, and stops; in K."
    )
    precision: Precision = Field(Dynamics.precision, description="Of positions and forces in the trajectory.")
    dtype: Precision | None = Field(PRECISION, description="Null for the model's own.")
    head: str | None = Field(None, description="Level of theory, for models trained on several.")
    uncertainty: Uncertainty | None = Field(None, description="Stop, or keep frames, where the model is uncertain.")
    check: Check | None = Field(None, description="Compare with a reference method along the way.")

    @property
    def produces(self) -> tuple[str, ...]:  # type: ignore[override]
        """The files of every run, and frames to be labelled if they are asked for."""
        always = ("trajectory.h5", "log.csv", "final.xyz", "md.json")
        collects = self.uncertainty is not None and self.uncertainty.collect is not None
        return (*always, CANDIDATES) if collects else always

    @model_validator(mode="after")
    def _sense(self) -> MolecularDynamics:
        names = {field.name for field in fields(Dynamics)} & type(self).model_fields.keys() - {"uncertainty"}
        try:
            Dynamics(**self.model_dump(include=names)).require_sense()
        except SimkitError as error:
            raise ValueError(str(error)) from error
        return self

    def run(self, context: Context) -> dict[str, Any]:
        """Run dynamics, or go on with it, then compare.

        Raises:
            SimkitError: no system reached the end.
        """
        from simkit.tasks.check import check_file
        from simkit.tasks.dynamics import run_md
        from simkit.tasks.propagation import has_failed, stopped_problems

        settings = self.model_dump(exclude={"model", "structure", "check"})
        summary = run_md(
            context.path(self.model),
            context.path(self.structure),
            context.folder,
            **settings,
            seed=context.seed,
            device=context.device,
            progress=context.progress,
        )
        problems = stopped_problems(summary)
        if has_failed(summary):
            raise SimkitError(f"the dynamics stopped early. {problems[0]}")
        for problem in problems:
            context.progress.say(f"a system stopped early. {problem}")
        if self.check is not None:
            target = context.folder / "check.csv"
            trajectory = context.folder / "trajectory.h5"
            summary["check"] = check_file(
                trajectory, target, labeller=self.check.labeller, every=self.check.every, progress=context.progress
            )
        return summary

    def citations(self) -> tuple[str, ...]:
        """The methods."""
        return METHODS[self.ensemble]
