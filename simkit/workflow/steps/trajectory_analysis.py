"""The steps ``rdf``, ``diffusion`` and ``spectrum``."""

from __future__ import annotations

from abc import ABC
from typing import Any

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from simkit.workflow.step import Context, Input, Step

LIQUIDS = (
    "M. P. Allen, D. J. Tildesley, Computer Simulation of Liquids (Oxford, 2017), "
    "doi:10.1093/oso/9780198803195.001.0001"
)
UNWRAPPING = "S. von Bülow, J. T. Bullerjahn, G. Hummer, J. Chem. Phys. 153, 021101 (2020), doi:10.1063/5.0008316"
FINITE_SIZE = "I.-C. Yeh, G. Hummer, J. Phys. Chem. B 108, 15873 (2004), doi:10.1021/jp0477147"
SPECTRUM = "J. M. Dickey, A. Paskin, Phys. Rev. 188, 1407 (1969), doi:10.1103/PhysRev.188.1407"


class OfTrajectories(Step, ABC):
    """Settings that all analyses of trajectories share."""

    trajectories: list[Input] = Field(min_length=1, description="Trajectory files, one for each run.")
    system: NonNegativeInt | None = Field(None, description="Of files with several; all of them if not given.")
    skip: NonNegativeInt = Field(0, description="Frames left out at the start of each run, before equilibrium.")
    every: PositiveInt = Field(1, description="Take each of so many frames.")
    blocks: PositiveInt = Field(5, description="Parts of each run, taken as independent for the errors.")
    plot: bool = Field(True, description="Draw a figure; needs matplotlib, the extra 'report'.")

    def _prepare(self, context: Context) -> dict[str, Any]:
        """Check that the plot can be drawn; arguments that all tasks share."""
        from simkit.report.drawing import require_drawing

        if self.plot:
            require_drawing()
        return {
            "sources": [context.path(one) for one in self.trajectories],
            "folder": context.folder,
            "system": self.system,
            "skip": self.skip,
            "every": self.every,
            "blocks": self.blocks,
        }


class RadialDistribution(OfTrajectories):
    """Radial distribution functions of all pairs of elements; see :func:`simkit.tasks.structure_analysis.rdf_files`."""

    r_max: PositiveFloat | None = Field(None, description="In Å; half of the cells' smallest height if not given.")
    bins: PositiveInt = Field(200, description="Between 0 and r_max.")

    @property
    def produces(self) -> tuple[str, ...]:  # type: ignore[override]
        """Table, summary and plot."""
        return ("rdf.csv", "rdf.json", *(("rdf.svg",) if self.plot else ()))

    def run(self, context: Context) -> dict[str, Any]:
        """Count pairs, and draw."""
        from simkit.csv_tables import read_table
        from simkit.report.drawing import save_figure
        from simkit.report.trajectory_plots import radial_distribution
        from simkit.tasks.structure_analysis import rdf_files

        summary = rdf_files(**self._prepare(context), r_max=self.r_max, bins=self.bins)
        if self.plot:
            table = read_table(context.folder / "rdf.csv")
            save_figure(context.folder / "rdf.svg", radial_distribution(table, summary))
        return summary

    def citations(self) -> tuple[str, ...]:
        """The textbook."""
        return (LIQUIDS,)


class Diffusion(OfTrajectories):
    """Diffusion coefficient of each element; see :func:`simkit.tasks.structure_analysis.diffusion_files`."""

    fit: tuple[float, float] = Field((0.1, 0.5), description="Window of the fit, as fractions of a block.")
    remove_drift: bool = Field(True, description="Measure relative to the centre of mass.")
    viscosity: PositiveFloat | None = Field(None, description="In mPa·s; to correct for the size of a cubic box.")
    temperature: PositiveFloat | None = Field(None, description="In K; for that correction.")
    spacing: PositiveFloat | None = Field(None, description="Time between frames in fs, if the file has no times.")

    @model_validator(mode="after")
    def _complete(self) -> Diffusion:
        if (self.viscosity is None) != (self.temperature is None):
            raise ValueError("the correction for the size of the box needs both viscosity and temperature")
        if not 0 <= self.fit[0] < self.fit[1] <= 1:
            raise ValueError(f"expected increasing fractions between 0 and 1 for fit, found {list(self.fit)}")
        return self

    @property
    def produces(self) -> tuple[str, ...]:  # type: ignore[override]
        """Table, summary and plot."""
        return ("diffusion.csv", "diffusion.json", *(("diffusion.svg",) if self.plot else ()))

    def run(self, context: Context) -> dict[str, Any]:
        """Follow the atoms, and draw."""
        from simkit.csv_tables import read_table
        from simkit.report.drawing import save_figure
        from simkit.report.trajectory_plots import mean_squared_displacement
        from simkit.tasks.structure_analysis import diffusion_files

        own = self.model_dump(include={"fit", "remove_drift", "viscosity", "temperature", "spacing"})
        summary = diffusion_files(**self._prepare(context), **own)
        for symbol, found in summary["elements"].items():
            if not found["diffusive"]:
                context.progress.say(
                    f"{symbol}: in the window of the fit the displacement does not grow in proportion to time "
                    f"(exponent {found['exponent'] or 0:.2f}): this is not diffusion yet; run longer, or fit at later "
                    "times"
                )
        if self.plot:
            table = read_table(context.folder / "diffusion.csv")
            save_figure(context.folder / "diffusion.svg", mean_squared_displacement(table, summary))
        return summary

    def citations(self) -> tuple[str, ...]:
        """Unwrapping, and the correction if it is made."""
        return (LIQUIDS, UNWRAPPING) + ((FINITE_SIZE,) if self.viscosity is not None else ())


class Spectrum(OfTrajectories):
    """Velocity autocorrelation and vibrational spectrum; see :func:`simkit.tasks.structure_analysis.spectrum_files`."""

    resolution: PositiveFloat = Field(0.5, description="Width of a line at half height, in THz.")
    remove_drift: bool = Field(True, description="Leave out the motion of the centre of mass.")
    spacing: PositiveFloat | None = Field(None, description="Time between frames in fs, if the file has no times.")

    @property
    def produces(self) -> tuple[str, ...]:  # type: ignore[override]
        """Tables, summary and plot."""
        return ("spectrum.csv", "autocorrelation.csv", "spectrum.json", *(("spectrum.svg",) if self.plot else ()))

    def run(self, context: Context) -> dict[str, Any]:
        """Correlate and transform, and draw."""
        from simkit.csv_tables import read_table
        from simkit.report.drawing import save_figure
        from simkit.report.trajectory_plots import spectrum
        from simkit.tasks.structure_analysis import spectrum_files

        own = self.model_dump(include={"resolution", "remove_drift", "spacing"})
        summary = spectrum_files(**self._prepare(context), **own)
        if self.plot:
            table = read_table(context.folder / "spectrum.csv")
            save_figure(context.folder / "spectrum.svg", spectrum(table, summary))
        return summary

    def citations(self) -> tuple[str, ...]:
        """The method."""
        return (SPECTRUM,)
