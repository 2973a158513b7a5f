"""The step ``neb``."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from simkit.tasks.settings import PRECISION, Precision
from simkit.workflow.step import Context, Input, Step
from simkit.workflow.steps.of_crystal import ASE

TANGENT = "G. Henkelman, H. Jónsson, J. Chem. Phys. 113, 9978 (2000), doi:10.1063/1.1323224"
CLIMBING = "G. Henkelman, B. P. Uberuaga, H. Jónsson, J. Chem. Phys. 113, 9901 (2000), doi:10.1063/1.1329672"
IDPP = "S. Smidstrup, A. Pedersen, K. Stokbro, H. Jónsson, J. Chem. Phys. 140, 214106 (2014), doi:10.1063/1.4878664"
FIRE = "E. Bitzek et al., Phys. Rev. Lett. 97, 170201 (2006), doi:10.1103/PhysRevLett.97.170201"


class NudgedElasticBand(Step):
    """Path of least energy between two structures; see :func:`simkit.tasks.reaction_path.neb`.

    A band that does not converge has that status in the summary; the step finishes all the same.
    """

    model: Input = Field(description="Model file.")
    initial: Input = Field(description="File with the first structure; its last frame.")
    final: Input = Field(description="File with the last structure, of the same atoms in the same order and cell.")
    images: PositiveInt = Field(7, description="Between the ends.")
    interpolation: Literal["idpp", "linear"] = Field("idpp", description="Of the first band.")
    spring: PositiveFloat = Field(0.1, description="Constant of the springs, in eV/Å².")
    climb: bool = Field(True, description="Let the highest image climb to the saddle point.")
    fmax: PositiveFloat = Field(0.05, description="Largest force on the band at the end, in eV/Å.")
    max_steps: PositiveInt = Field(500, description="Of the band.")
    relax_ends: bool = Field(True, description="Move the ends to their minima first.")
    dtype: Precision | None = Field(PRECISION, description="Null for the model's own.")
    head: str | None = Field(None, description="Level of theory, for models trained on several.")
    plot: bool = Field(True, description="Draw a figure; needs matplotlib, the extra 'report'.")

    @property
    def produces(self) -> tuple[str, ...]:  # type: ignore[override]
        """Path, table, summary and plot."""
        return ("path.xyz", "path.csv", "neb.json", *(("path.svg",) if self.plot else ()))

    def run(self, context: Context) -> dict[str, Any]:
        """Relax the band, or go on with it, and draw."""
        from simkit.csv_tables import read_table
        from simkit.report.crystal_plots import reaction_path
        from simkit.report.drawing import require_drawing, save_figure
        from simkit.tasks.reaction_path import neb

        if self.plot:
            require_drawing()
        summary = neb(
            context.path(self.model),
            context.path(self.initial),
            context.path(self.final),
            context.folder,
            **self.model_dump(exclude={"model", "initial", "final", "plot"}),
            device=context.device,
            progress=context.progress,
        )
        if "remedy" in summary:
            context.progress.say(f"the band did not converge: {summary['remedy']}")
        if self.plot:
            table = read_table(context.folder / "path.csv")
            save_figure(context.folder / "path.svg", reaction_path(table, summary))
        return summary

    def citations(self) -> tuple[str, ...]:
        """The method, its tangent, the optimiser and ASE."""
        references = (TANGENT, CLIMBING, FIRE, ASE)
        return (*references, IDPP) if self.interpolation == "idpp" else references
