"""The step ``phonons``."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, PositiveFloat, PositiveInt

from simkit.workflow.step import Context
from simkit.workflow.steps.of_crystal import ASE, RELAXATION, OfCrystal

PHONOPY = (
    "A. Togo et al., J. Phys.: Condens. Matter 35, 353001 (2023), doi:10.1088/1361-648X/acd831",
    "A. Togo, J. Phys. Soc. Jpn. 92, 012001 (2023), doi:10.7566/JPSJ.92.012001",
)
PATH = "W. Setyawan, S. Curtarolo, Comput. Mater. Sci. 49, 299 (2010), doi:10.1016/j.commatsci.2010.05.010"


class Phonons(OfCrystal):
    """Phonon bands, density of states and thermal properties; see :func:`simkit.tasks.phonons.phonons`."""

    supercell: tuple[PositiveInt, PositiveInt, PositiveInt] | None = Field(
        None, description="Cells along each vector; as many as size needs if not given."
    )
    size: PositiveFloat = Field(12.0, description="Smallest height of the supercell, in Å, if supercell is not given.")
    displacement: Annotated[float, Field(gt=0, le=0.2)] = Field(0.01, description="Of one atom, in Å.")
    path_points: PositiveInt = Field(200, description="Wave vectors of the band structure.")
    mesh_spacing: PositiveFloat = Field(0.02, description="Of wave vectors for the density of states, in 1/Å.")
    max_temperature: PositiveFloat = Field(1000.0, description="Of the thermal properties, in K.")

    @property
    def produces(self) -> tuple[str, ...]:  # type: ignore[override]
        """Tables, summary, crystal, force constants and plots."""
        plots = ("phonons.svg", "thermal.svg") if self.plot else ()
        tables = ("bands.csv", "dos.csv", "thermal.csv", "phonons.json")
        return (*tables, "phonopy_params.yaml", "crystal.xyz", *plots)

    def run(self, context: Context) -> dict[str, Any]:
        """Evaluate all displacements, and draw."""
        from simkit.csv_tables import read_table
        from simkit.report import crystal_plots
        from simkit.report.drawing import save_figure
        from simkit.tasks.phonons import phonons

        names = ("supercell", "size", "displacement", "path_points", "mesh_spacing", "max_temperature")
        summary = phonons(**self._prepare(context), **self.model_dump(include=set(names)))
        folder = context.folder
        if not summary["stable"]:
            context.progress.say(
                f"the lowest frequency is {summary['lowest_thz']:.2f} THz: this crystal is not at a minimum of the "
                "model's energy, or the supercell is too small"
            )
        if self.plot:
            bands, dos, heat = (read_table(folder / name) for name in ("bands.csv", "dos.csv", "thermal.csv"))
            save_figure(folder / "phonons.svg", crystal_plots.phonons(bands, dos, summary))
            save_figure(folder / "thermal.svg", crystal_plots.thermal(heat, summary))
        return summary

    def citations(self) -> tuple[str, ...]:
        """phonopy, the path, ASE and the optimisers."""
        return (*PHONOPY, PATH, ASE, *RELAXATION)
