"""What the steps that compute a property of a crystal share."""

from __future__ import annotations

from abc import ABC
from typing import Any

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from simkit.settings import Settings
from simkit.tasks.settings import PRECISION, Precision
from simkit.workflow.step import Context, Input, Step

ASE = "A. H. Larsen et al., J. Phys.: Condens. Matter 29, 273002 (2017), doi:10.1088/1361-648X/aa680e"
RELAXATION = (
    "E. Bitzek et al., Phys. Rev. Lett. 97, 170201 (2006), doi:10.1103/PhysRevLett.97.170201",
    "D. C. Liu, J. Nocedal, Math. Program. 45, 503 (1989), doi:10.1007/BF01589116",
)


class Crystal(Settings):
    """A crystal to build; see :func:`simkit.tasks.crystals.build_crystal`."""

    name: str = Field(description="Chemical symbol, or formula of a compound, e.g. NaCl.")
    structure: str | None = Field(
        None, description="fcc, bcc, hcp, diamond, rocksalt ...; the element's own if not given."
    )
    a: PositiveFloat | None = Field(None, description="Length of the first lattice vector of the cubic cell, in Å.")
    b: PositiveFloat | None = Field(None, description="Of the second, in Å.")
    c: PositiveFloat | None = Field(None, description="Of the third, in Å.")
    u: PositiveFloat | None = Field(None, description="Internal coordinate of wurtzite.")
    cubic: bool = Field(False, description="The cubic cell instead of the primitive one.")
    repeat: tuple[PositiveInt, PositiveInt, PositiveInt] = Field((1, 1, 1), description="Cells along each vector.")


class OfCrystal(Step, ABC):
    """Settings of a model, a crystal, and how it is relaxed before anything else."""

    model: Input = Field(description="Model file.")
    crystal: Crystal | None = Field(None, description="Crystal to build.")
    structure: Input | None = Field(None, description="File with the crystal, instead.")
    frame: int = Field(-1, description="Of that file, from 0; -1 is the last.")
    relax: bool = Field(True, description="Relax cell and atoms first.")
    fmax: PositiveFloat = Field(1e-4, description="Largest force at the end of every relaxation, in eV/Å.")
    max_steps: PositiveInt = Field(1000, description="Of every relaxation.")
    dtype: Precision | None = Field(PRECISION, description="Null for the model's own.")
    head: str | None = Field(None, description="Level of theory, for models trained on several.")
    plot: bool = Field(True, description="Draw a figure; needs matplotlib, the extra 'report'.")

    @model_validator(mode="after")
    def _one_crystal(self) -> OfCrystal:
        if (self.crystal is None) == (self.structure is None):
            found = "none" if self.crystal is None else "both"
            raise ValueError(f"expected exactly one of crystal and structure, found {found}")
        return self

    def _prepare(self, context: Context) -> dict[str, Any]:
        """Check that the plot can be drawn; arguments that all tasks share."""
        from simkit.report.drawing import require_drawing
        from simkit.tasks.crystals import Opening, build_crystal

        if self.plot:
            require_drawing()
        built = None if self.crystal is None else build_crystal(**self.crystal.model_dump())
        opening = Opening(self.frame, self.relax, self.fmax, self.max_steps, context.device, self.dtype, self.head)
        return {
            "model": context.path(self.model),
            "structure": built if self.structure is None else context.path(self.structure),
            "folder": context.folder,
            "opening": opening,
            "progress": context.progress,
        }
