"""The step ``predict``."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field, PositiveInt

from simkit.tasks.settings import BATCH_ATOMS, Precision
from simkit.workflow.step import Context, Input, Step


class Predict(Step):
    """Predict energies, forces and stress of structures; see :func:`simkit.tasks.predict.predict_file`."""

    produces: ClassVar[tuple[str, ...]] = ("predicted.xyz",)

    model: Input = Field(description="Model file.")
    structures: Input = Field(description="Structures in any format that ASE reads.")
    dtype: Precision | None = Field(None, description="The model's own if not given.")
    batch_atoms: PositiveInt = Field(BATCH_ATOMS, description="Atoms evaluated together.")
    head: str | None = Field(None, description="Level of theory, for models trained on several.")

    def run(self, context: Context) -> dict[str, Any]:
        """Predict all frames."""
        from simkit.tasks.predict import predict_file

        return predict_file(
            context.path(self.model),
            context.path(self.structures),
            context.folder / "predicted.xyz",
            dtype=self.dtype,
            device=context.device,
            batch_atoms=self.batch_atoms,
            head=self.head,
            progress=context.progress,
        )
