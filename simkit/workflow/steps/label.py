"""The step ``label``."""

from __future__ import annotations

from typing import Any

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from simkit.tasks.settings import LABELLER, Counts, LabellerName, Sampling
from simkit.workflow.step import Context, Input, Step

ASE = "A. H. Larsen et al., J. Phys.: Condens. Matter 29, 273002 (2017), doi:10.1088/1361-648X/aa680e"
LANGEVIN = "B. Leimkuhler, C. Matthews, J. Chem. Phys. 138, 174102 (2013), doi:10.1063/1.4802990"


class Label(Step):
    """Make labelled frames by sampling one structure with a reference method, or by labelling frames that exist.

    See :func:`simkit.tasks.label.label` and :func:`simkit.tasks.label.split_labelled`.
    """

    molecule: str | None = Field(None, description="Name for ase.build.molecule, e.g. CH3CH2OH, to sample.")
    structure: Input | None = Field(None, description="File with the structure to sample.")
    frames: Input | None = Field(None, description="File with frames to label instead.")
    labeller: LabellerName = Field(LABELLER, description="Reference method.")
    labeller_model: Input | None = Field(None, description="Model file that labels instead.")
    train: PositiveInt = Field(Counts.train, description="Frames for training.")
    valid: PositiveInt = Field(Counts.valid, description="Frames that choose the best epoch.")
    test: PositiveInt = Field(Counts.test, description="Frames for the final errors, from separate trajectories.")
    calibration: NonNegativeInt = Field(
        Counts.calibration, description="Frames to calibrate uncertainties on, from separate trajectories."
    )
    temperatures: tuple[PositiveFloat, ...] = Field(Sampling.temperatures, min_length=1, description="Sampled, in K.")
    timestep: PositiveFloat = Field(Sampling.timestep, description="In fs.")
    spacing: PositiveInt = Field(Sampling.spacing, description="Time steps between frames.")
    equilibration: NonNegativeInt = Field(Sampling.equilibration, description="Time steps before the first frame.")
    friction: PositiveFloat = Field(Sampling.friction, description="Of Langevin dynamics, in 1/fs.")
    trajectories: PositiveInt = Field(
        Sampling.trajectories, description="At each temperature, for the test frames and for the calibration frames."
    )

    @property
    def produces(self) -> tuple[str, ...]:  # type: ignore[override]
        """The frames, in parts, and the structure they come from."""
        always = ("train.xyz", "valid.xyz", "test.xyz", "isolated_atoms.xyz", "start.xyz", "label.json")
        return (*always, "calibration.xyz") if self.calibration else always

    @model_validator(mode="after")
    def _one_source(self) -> Label:
        given = [name for name in ("molecule", "structure", "frames") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(
                f"expected exactly one of molecule, structure and frames, found {', '.join(given) or 'none'}"
            )
        return self

    def run(self, context: Context) -> dict[str, Any]:
        """Sample and label, or go on with it."""
        from simkit.tasks.label import label, split_labelled

        method = self.labeller if self.labeller_model is None else str(context.path(self.labeller_model))
        counts = Counts(self.train, self.valid, self.test, self.calibration)
        if self.frames is not None:
            return split_labelled(
                context.path(self.frames), context.folder, counts=counts, labeller=method, seed=context.seed,
                device=context.device, progress=context.progress,
            )  # fmt: skip
        return label(
            context.folder,
            molecule=self.molecule,
            structure=None if self.structure is None else context.path(self.structure),
            labeller=method,
            counts=counts,
            sampling=Sampling(
                self.temperatures, self.timestep, self.spacing, self.equilibration, self.friction, self.trajectories
            ),
            seed=context.seed,
            device=context.device,
            progress=context.progress,
        )

    def citations(self) -> tuple[str, ...]:
        """ASE and the integrator that samples; the summary has those of the reference method."""
        return (ASE,) if self.frames is not None else (ASE, LANGEVIN)
