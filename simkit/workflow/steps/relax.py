"""The step ``relax``."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field, PositiveFloat, PositiveInt

from simkit.tasks.settings import PRECISION, OptimiserName, Precision, Relaxation
from simkit.workflow.step import Context, Input, Step
from simkit.workflow.steps.md import ASE


class Relax(Step):
    """Relax structures with a model; see :func:`simkit.tasks.relax.relax_file`.

    Structures that do not converge are named, and the summary holds their status; the step finishes all the same.
    """

    produces: ClassVar[tuple[str, ...]] = ("relaxed.xyz", "relaxed-path.xyz", "relaxed.json")

    model: Input = Field(description="Model file.")
    structures: Input = Field(description="Structures in any format that ASE reads.")
    fmax: PositiveFloat = Field(Relaxation.fmax, description="Largest force at the end, in eV/Å.")
    max_steps: PositiveInt = Field(Relaxation.max_steps, description="Of each structure.")
    optimiser: OptimiserName = Relaxation.optimiser
    relax_cell: bool = Field(Relaxation.relax_cell, description="Also relax the cell of periodic structures.")
    frame: int | None = Field(None, description="Relax only this frame of the file, from 0; -1 is the last.")
    dtype: Precision | None = Field(PRECISION, description="Null for the model's own.")
    head: str | None = Field(None, description="Level of theory, for models trained on several.")

    def run(self, context: Context) -> dict[str, Any]:
        """Relax all frames, or what is left of them."""
        from simkit.tasks.relax import relax_file

        summary = relax_file(
            context.path(self.model),
            context.path(self.structures),
            context.folder / "relaxed.xyz",
            fmax=self.fmax,
            max_steps=self.max_steps,
            optimiser=self.optimiser,
            relax_cell=self.relax_cell,
            frame=self.frame,
            device=context.device,
            dtype=self.dtype,
            head=self.head,
            progress=context.progress,
        )
        for result in summary["results"]:
            if "remedy" in result:
                context.progress.say(f"{result['frame']}: {result['status']}: {result['remedy']}")
        return summary

    def citations(self) -> tuple[str, ...]:
        """ASE, and FIRE where it is used."""
        fire = "E. Bitzek et al., Phys. Rev. Lett. 97, 170201 (2006), doi:10.1103/PhysRevLett.97.170201"
        return (ASE, fire) if self.optimiser == "FIRE" else (ASE,)
