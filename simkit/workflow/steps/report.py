"""The step ``report``."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from simkit.workflow.step import Context, Input, Step


class WriteReport(Step):
    """Collect the results of other steps into one web page; see :func:`simkit.report.build.build_report`."""

    produces: ClassVar[tuple[str, ...]] = ("report.html",)

    title: str = Field("Report", description="Heading of the page.")
    results: list[Input] = Field(min_length=1, description="Folders of other steps, e.g. $training; in their order.")

    def run(self, context: Context) -> dict[str, Any]:
        """Write the page."""
        from simkit.report.build import build_report

        folders = [context.path(source) for source in self.results]
        return build_report(folders, context.folder / "report.html", title=self.title)
