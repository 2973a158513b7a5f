"""The step ``relax``."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from simkit.tasks.settings import PRECISION, OptimiserName, Precision, Relaxation
from simkit.workflow.step import Context, Input, Step

REFERENCES = {
    "LBFGS": "D. C. Liu, J. Nocedal, Math. Program. 45, 503 (1989), doi:10.1007/BF01589116",
    "FIRE": "E. Bitzek et al., Phys. Rev. Lett. 97, 170201 (2006), doi:10.1103/PhysRevLett.97.170201",
}


class Relax(Step):
    """Relax structures with a model, many at once; see :func:`simkit.tasks.relax.relax_file`.

    Structures that do not converge are named, and the summary holds their status; the step finishes all the same.
    """

    version: ClassVar[int] = 2

    model: Input = Field(description="Model file.")
    structures: Input = Field(description="Structures in any format that ASE reads.")
    fmax: PositiveFloat = Field(Relaxation.fmax, description="Largest force at the end, in eV/Å.")
    max_steps: PositiveInt = Field(Relaxation.max_steps, description="Of each structure.")
    optimiser: OptimiserName = Field(
        Relaxation.optimiser, description="LBFGS needs fewer evaluations, FIRE is safer far from a minimum."
    )
    relax_cell: bool = Field(Relaxation.relax_cell, description="Also relax the cell of periodic structures.")
    pressure: float = Field(Relaxation.pressure, description="With relax_cell, in GPa.")
    path: bool = Field(Relaxation.path, description="Write the geometries of all steps, relaxed-path.xyz.")
    max_atoms: PositiveInt | None = Field(
        None, description="In a batch; by default as many as half of the free memory allows, as measured."
    )
    frame: int | None = Field(None, description="Relax only this frame of the file, from 0; -1 is the last.")
    dtype: Precision | None = Field(PRECISION, description="Null for the model's own.")
    head: str | None = Field(None, description="Level of theory, for models trained on several.")

    @model_validator(mode="after")
    def _cell_under_pressure(self) -> Relax:
        if self.pressure and not self.relax_cell:
            raise ValueError("a pressure needs a cell that may change: set relax_cell: true, or leave the pressure out")
        return self

    @property
    def produces(self) -> tuple[str, ...]:  # type: ignore[override]
        """Files that the step leaves."""
        path = ("relaxed-path.xyz",) if self.path else ()
        return ("relaxed.xyz", *path, "relaxed.json")

    def run(self, context: Context) -> dict[str, Any]:
        """Relax all frames, or what is left of them."""
        from simkit.tasks.relax import relax_file

        summary = relax_file(
            context.path(self.model),
            context.path(self.structures),
            context.folder / "relaxed.xyz",
            **self.model_dump(exclude={"model", "structures"}),
            device=context.device,
            progress=context.progress,
        )
        for result in summary["results"]:
            if "remedy" in result:
                context.progress.say(f"{result['frame']}: {result['status']}: {result['remedy']}")
        return summary

    def citations(self) -> tuple[str, ...]:
        """The optimiser."""
        return (REFERENCES[self.optimiser],)
