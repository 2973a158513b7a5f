"""The step ``evaluate``."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field, PositiveInt

from simkit.tasks.settings import BATCH_ATOMS, Precision
from simkit.training.sources import ReadingSettings
from simkit.workflow.step import Context, Input, Step


class Evaluate(Step):
    """Errors of a model on labelled frames; see :func:`simkit.tasks.assess.assess_file`."""

    produces: ClassVar[tuple[str, ...]] = ("errors.json", "errors.npz")

    model: Input = Field(description="Model file.")
    data: Input = Field(description="Labelled frames.")
    reading: ReadingSettings = Field(ReadingSettings(), description="Keys, units and signs of the data file.")
    dtype: Precision | None = Field(None, description="The model's own if not given.")
    batch_atoms: PositiveInt = Field(BATCH_ATOMS, description="Atoms evaluated together.")
    head: str | None = Field(None, description="Level of theory, for models trained on several.")

    def run(self, context: Context) -> dict[str, Any]:
        """Evaluate all frames."""
        from simkit.tasks.assess import assess_file

        return assess_file(
            context.path(self.model),
            context.path(self.data),
            target=context.folder / "errors.json",
            reading=self.reading,
            dtype=self.dtype,
            device=context.device,
            batch_atoms=self.batch_atoms,
            head=self.head,
            progress=context.progress,
        )
