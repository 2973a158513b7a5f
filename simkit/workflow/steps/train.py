"""The step ``train``."""

from __future__ import annotations

from abc import ABC
from typing import Annotated, Any

from pydantic import Field

from simkit.training.architectures import MaceArchitecture, NewArchitecture, Normalisation, Pretrained
from simkit.training.settings import TrainingSettings
from simkit.training.sources import ReadingSettings, ReplaySettings, SplitSettings
from simkit.training.uncertainty import UncertaintyTraining
from simkit.workflow.step import Context, Input, Step


class PretrainedInput(Pretrained):
    """A potential from a model file, to be trained further."""

    model: Input


class ReplayInput(ReplaySettings):
    """Frames mixed with the training data."""

    data: Input


class Training(Step, ABC):
    """What steps share that train potentials on labelled frames."""

    data: Input = Field(description="Labelled frames.")
    validation: Input | None = Field(default=None, description="Frames that choose the best epoch; else split.")
    test: Input | None = Field(default=None, description="Frames for the final errors only; else split.")
    reading: ReadingSettings = Field(ReadingSettings(), description="Keys, units and signs of these three files.")
    split: SplitSettings = SplitSettings()
    architecture: Annotated[NewArchitecture | PretrainedInput, Field(discriminator="kind")] = MaceArchitecture()
    normalisation: Normalisation = Normalisation()
    reference_energies: dict[str, float] = Field(default={}, description="Isolated atoms' energies in eV, by symbol.")
    training: TrainingSettings = TrainingSettings()
    uncertainty: UncertaintyTraining | None = Field(
        default=None, description="Heads that predict the errors too, trained with the potential."
    )

    @property
    def has_test_frames(self) -> bool:
        """Whether ``test.xyz`` is written."""
        return self.test is not None or bool(self.split.test)

    def arguments(self, context: Context) -> dict[str, Any]:
        """Arguments of the tasks that train."""
        architecture = self.architecture
        if isinstance(architecture, PretrainedInput):
            architecture = architecture.model_copy(update={"model": str(context.path(architecture.model))})
        return {
            "architecture": architecture,
            "training": self.training,
            "validation": None if self.validation is None else context.path(self.validation),
            "test": None if self.test is None else context.path(self.test),
            "reading": self.reading,
            "split": self.split,
            "normalisation": self.normalisation,
            "reference_energies": self.reference_energies,
            "uncertainty": self.uncertainty,
            "seed": context.seed,
            "device": context.device,
            "progress": context.progress,
        }

    def citations(self) -> tuple[str, ...]:
        """The architecture and the methods of the training; the summary has those of a pretrained model."""
        from simkit.training.citations import architecture_citations, training_citations

        return (*architecture_citations(self.architecture), *training_citations(self.training))


class Train(Training):
    """Train a potential on labelled frames; see :func:`simkit.tasks.train.train_files`."""

    replay: ReplayInput | None = None

    @property
    def produces(self) -> tuple[str, ...]:  # type: ignore[override]
        """The files of every training, and the test frames if there are any."""
        always = ("model.simkit", "best.ckpt", "last.ckpt", "log.csv", "split.json", "validation.xyz")
        return (*always, "test.xyz") if self.has_test_frames else always

    def run(self, context: Context) -> dict[str, Any]:
        """Train, or continue to train."""
        from simkit.tasks.train import train_files

        replay = self.replay
        if replay is not None:
            replay = replay.model_copy(update={"data": str(context.path(replay.data))})
        return train_files(context.path(self.data), context.folder, replay=replay, **self.arguments(context))
