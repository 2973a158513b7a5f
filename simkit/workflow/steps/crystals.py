"""The steps ``equation_of_state`` and ``elastic``."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from simkit.workflow.step import Context
from simkit.workflow.steps.of_crystal import ASE, RELAXATION, OfCrystal

EQUATIONS = {
    "birch-murnaghan": "F. Birch, Phys. Rev. 71, 809 (1947), doi:10.1103/PhysRev.71.809",
    "vinet": "P. Vinet et al., Phys. Rev. B 35, 1945 (1987), doi:10.1103/PhysRevB.35.1945",
}
STRESSES = "Y. Le Page, P. Saxe, Phys. Rev. B 65, 104104 (2002), doi:10.1103/PhysRevB.65.104104"
HILL = "R. Hill, Proc. Phys. Soc. A 65, 349 (1952), doi:10.1088/0370-1298/65/5/307"
ANISOTROPY = (
    "S. I. Ranganathan, M. Ostoja-Starzewski, Phys. Rev. Lett. 101, 055504 (2008), doi:10.1103/PhysRevLett.101.055504"
)


class EquationOfState(OfCrystal):
    """Energy over volume and bulk modulus; see :func:`simkit.tasks.equation_of_state.equation_of_state`."""

    equation: Literal["birch-murnaghan", "vinet"] = Field("birch-murnaghan", description="Form that is fitted.")
    volume_range: Annotated[float, Field(gt=0, lt=0.5)] = Field(
        0.06, description="Largest change of the volume to either side, as a fraction."
    )
    points: Annotated[int, Field(ge=5)] = Field(13, description="Number of volumes.")
    relax_atoms: bool = Field(True, description="Move the atoms to their minimum at each volume.")
    relax_shape: bool = Field(True, description="With that, also the shape of the cell.")

    @property
    def produces(self) -> tuple[str, ...]:  # type: ignore[override]
        """Table, summary, crystal and plot."""
        plot = ("equation_of_state.svg",) if self.plot else ()
        return ("equation_of_state.csv", "equation_of_state.json", "crystal.xyz", *plot)

    def run(self, context: Context) -> dict[str, Any]:
        """Evaluate all volumes, fit, and draw."""
        from simkit.csv_tables import read_table
        from simkit.report import crystal_plots
        from simkit.report.drawing import save_figure
        from simkit.tasks.equation_of_state import equation_of_state

        own = self.model_dump(include={"equation", "volume_range", "points", "relax_atoms", "relax_shape"})
        summary = equation_of_state(**self._prepare(context), **own)
        if self.plot:
            table = read_table(context.folder / "equation_of_state.csv")
            figure = crystal_plots.equation_of_state(table, summary)
            save_figure(context.folder / "equation_of_state.svg", figure)
        return summary

    def citations(self) -> tuple[str, ...]:
        """ASE for the crystal, the optimisers, and the equation."""
        return (ASE, *RELAXATION, EQUATIONS[self.equation])


class Elastic(OfCrystal):
    """Elastic constants and moduli; see :func:`simkit.tasks.elastic.elastic`."""

    strain: Annotated[float, Field(gt=0, lt=0.2)] = Field(0.01, description="Largest magnitude of the strains.")
    points: Annotated[int, Field(ge=6, multiple_of=2)] = Field(6, description="Magnitudes of each of the six strains.")
    relax_atoms: bool = Field(True, description="Move the atoms to their minimum in each cell; otherwise clamped.")
    symmetrise: bool = Field(True, description="Average over the rotations of the crystal.")

    @property
    def produces(self) -> tuple[str, ...]:  # type: ignore[override]
        """Tables, summary, crystal and plot."""
        plot = ("elastic.svg",) if self.plot else ()
        return ("elastic.csv", "stresses.csv", "elastic.json", "crystal.xyz", *plot)

    def run(self, context: Context) -> dict[str, Any]:
        """Evaluate all strained cells, fit, and draw."""
        from simkit.report import crystal_plots
        from simkit.report.drawing import save_figure
        from simkit.tasks.elastic import elastic

        own = self.model_dump(include={"strain", "points", "relax_atoms", "symmetrise"})
        summary = elastic(**self._prepare(context), **own)
        if self.plot:
            save_figure(context.folder / "elastic.svg", crystal_plots.elastic(summary))
        return summary

    def citations(self) -> tuple[str, ...]:
        """ASE for the crystal, the optimisers, and the methods."""
        return (ASE, *RELAXATION, STRESSES, HILL, ANISOTROPY)
