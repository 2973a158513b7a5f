"""The step ``md``."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from simkit.errors import SimkitError
from simkit.settings import Settings
from simkit.tasks.settings import PRECISION, Dynamics, Ensemble, LabellerName, Precision
from simkit.workflow.step import Context, Input, Step

ASE = "A. H. Larsen et al., J. Phys.: Condens. Matter 29, 273002 (2017), doi:10.1088/1361-648X/aa680e"
INTEGRATORS = {
    "nve": "W. C. Swope et al., J. Chem. Phys. 76, 637 (1982), doi:10.1063/1.442716",
    "langevin": "E. Vanden-Eijnden, G. Ciccotti, Chem. Phys. Lett. 429, 310 (2006), doi:10.1016/j.cplett.2006.07.086",
    "bussi": "G. Bussi, D. Donadio, M. Parrinello, J. Chem. Phys. 126, 014101 (2007), doi:10.1063/1.2408420",
}


class Check(Settings):
    """Compare the trajectory with a reference method; see :func:`simkit.tasks.check.check_file`."""

    labeller: LabellerName = Field("gfn2-xtb", description="Reference method.")
    every: PositiveInt = Field(1, description="Compare each of so many frames of the trajectory.")


class MolecularDynamics(Step):
    """Molecular dynamics with a model; see :func:`simkit.tasks.dynamics.run_md`.

    A run that explodes is a failed step; its folder keeps the files up to the last good frame.
    """

    version: ClassVar[int] = 2
    produces: ClassVar[tuple[str, ...]] = ("trajectory.xyz", "log.csv", "final.xyz", "md.json")

    model: Input = Field(description="Model file.")
    structure: Input = Field(description="File with the starting structure.")
    frame: int = Field(-1, description="Of that file, from 0; -1 is the last.")
    ensemble: Ensemble = Dynamics.ensemble
    timestep: PositiveFloat = Field(Dynamics.timestep, description="In fs.")
    steps: PositiveInt = Field(Dynamics.steps, description="Time steps.")
    temperature: NonNegativeFloat = Field(
        Dynamics.temperature, description="Of the initial velocities and the thermostat, in K."
    )
    friction: PositiveFloat = Field(Dynamics.friction, description="Of Langevin dynamics, in 1/fs.")
    time_constant: PositiveFloat = Field(Dynamics.time_constant, description="Of Bussi's thermostat, in fs.")
    save_every: PositiveInt = Field(Dynamics.save_every, description="Time steps between frames of the trajectory.")
    log_every: PositiveInt = Field(Dynamics.log_every, description="Time steps between lines of the log.")
    checkpoint_every: PositiveInt = Field(Dynamics.checkpoint_every, description="Time steps between checkpoints.")
    max_temperature: PositiveFloat = Field(
        Dynamics.max_temperature, description="A hotter system has exploded, and the step fails; in K."
    )
    dtype: Precision | None = Field(PRECISION, description="Null for the model's own.")
    head: str | None = Field(None, description="Level of theory, for models trained on several.")
    check: Check | None = Field(None, description="Compare with a reference method along the way.")

    def run(self, context: Context) -> dict[str, Any]:
        """Run dynamics, or go on with it, then compare.

        Raises:
            SimkitError: the dynamics exploded.
        """
        from simkit.tasks.check import check_file
        from simkit.tasks.dynamics import run_md

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
        if summary["status"] != "finished":
            raise SimkitError(f"the dynamics stopped early. {summary['remedy']}")
        if self.check is not None:
            target = context.folder / "check.csv"
            trajectory = context.folder / "trajectory.xyz"
            summary["check"] = check_file(
                trajectory, target, labeller=self.check.labeller, every=self.check.every, progress=context.progress
            )
        return summary

    def citations(self) -> tuple[str, ...]:
        """ASE and the integrator."""
        return (ASE, INTEGRATORS[self.ensemble])
