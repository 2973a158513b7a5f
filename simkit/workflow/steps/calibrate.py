"""The step ``calibrate``."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field, NonNegativeInt, PositiveInt

from simkit.tasks.settings import BATCH_ATOMS, Precision
from simkit.training.sources import ReadingSettings
from simkit.uncertainty.settings import CalibrationSettings, ConformalSettings, MethodSettings
from simkit.workflow.step import Context, Input, Step


class Calibrate(Step):
    """Give a model an uncertainty, calibrate it, and judge it; see :func:`simkit.tasks.calibrate.calibrate_files`."""

    produces: ClassVar[tuple[str, ...]] = ("model.simkit", "calibration.json", "calibration.npz")

    models: list[Input] = Field(min_length=1, description="Model file, or those of the members of an ensemble.")
    data: Input = Field(description="Labelled frames to calibrate on, of five independent trajectories at least.")
    test: dict[str, Input] = Field({}, description="Labelled frames to judge on, by the name of their domain.")
    train: Input | None = Field(None, description="Frames that the model was trained on.")
    method: MethodSettings | None = Field(
        None, description="What tells the uncertainty: by default the model itself, or an ensemble of several models."
    )
    calibration: CalibrationSettings = CalibrationSettings()
    conformal: ConformalSettings | None = Field(None, description="Conformal intervals in addition.")
    reading: ReadingSettings = Field(ReadingSettings(), description="Keys, units and signs of all frames.")
    dtype: Precision | None = Field(None, description="The model's own if not given.")
    batch_atoms: PositiveInt = Field(BATCH_ATOMS, description="Atoms evaluated together.")
    head: str | None = Field(None, description="Level of theory, for models trained on several.")
    repeats: NonNegativeInt = Field(200, description="Resamplings of trajectories for error bars.")

    def run(self, context: Context) -> dict[str, Any]:
        """Fit, calibrate and judge."""
        from simkit.tasks.calibrate import calibrate_files

        return calibrate_files(
            [context.path(model) for model in self.models],
            context.path(self.data),
            context.folder,
            method=self.method,
            train=None if self.train is None else context.path(self.train),
            test={name: context.path(source) for name, source in self.test.items()},
            reading=self.reading,
            calibration=self.calibration,
            conformal=self.conformal,
            dtype=self.dtype,
            device=context.device,
            batch_atoms=self.batch_atoms,
            head=self.head,
            repeats=self.repeats,
            seed=context.seed,
            progress=context.progress,
        )
