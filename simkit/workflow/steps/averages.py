"""The step ``averages``."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, NonNegativeInt

from simkit.workflow.step import Context, Input, Step

BLOCKING = "H. Flyvbjerg, H. G. Petersen, J. Chem. Phys. 91, 461 (1989), doi:10.1063/1.457480"
CHOICE = "R. M. Lee et al., Phys. Rev. E 83, 066706 (2011), doi:10.1103/PhysRevE.83.066706"


class Averages(Step):
    """Means and errors of the columns of a log; see :func:`simkit.tasks.averages.average_log`."""

    log: Input = Field(description="CSV file of numbers, such as the log.csv of a step md.")
    columns: list[str] | None = Field(None, description="Names; all that do not count time if not given.")
    system: NonNegativeInt | None = Field(None, description="Of logs of several systems.")
    skip_fraction: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.2, description="Part of the rows left out at the start, before equilibrium."
    )
    plot: bool = Field(True, description="Draw a figure; needs matplotlib, the extra 'report'.")

    @property
    def produces(self) -> tuple[str, ...]:  # type: ignore[override]
        """Table, summary and plot."""
        return ("averages.json", "blocking.csv", *(("averages.svg",) if self.plot else ()))

    def run(self, context: Context) -> dict[str, Any]:
        """Average, and draw the errors over the size of blocks."""
        from simkit.csv_tables import read_table
        from simkit.report.drawing import require_drawing, save_figure
        from simkit.report.trajectory_plots import block_errors
        from simkit.tasks.averages import average_log

        if self.plot:
            require_drawing()
        own = self.model_dump(include={"columns", "system", "skip_fraction"})
        summary = average_log(context.path(self.log), context.folder, **own)
        for name, found in summary["columns"].items():
            if not found["converged"]:
                context.progress.say(f"{name}: the log is too short for its correlations; the error is too small")
        if self.plot:
            table = read_table(context.folder / "blocking.csv")
            save_figure(context.folder / "averages.svg", block_errors(table, summary))
        return summary

    def citations(self) -> tuple[str, ...]:
        """Blocking, and the choice of the block."""
        return (BLOCKING, CHOICE)
