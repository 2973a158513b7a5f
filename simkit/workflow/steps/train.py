"""The step ``train``."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from simkit.training.architectures import MaceArchitecture, NewArchitecture, Normalisation, Pretrained
from simkit.training.settings import TrainingSettings
from simkit.training.sources import ReadingSettings, ReplaySettings, SplitSettings
from simkit.workflow.step import Context, Input, Step


class PretrainedInput(Pretrained):
    """A potential from a model file, to be trained further."""

    model: Input


class ReplayInput(ReplaySettings):
    """Frames mixed with the training data."""

    data: Input


class Train(Step):
    """Train a potential on labelled frames; see :func:`simkit.tasks.train.train_files`."""

    data: Input = Field(description="Labelled frames.")
    validation: Input | None = Field(default=None, description="Frames that choose the best epoch; else split.")
    test: Input | None = Field(default=None, description="Frames for the final errors only; else split.")
    reading: ReadingSettings = Field(ReadingSettings(), description="Keys, units and signs of these three files.")
    split: SplitSettings = SplitSettings()
    architecture: Annotated[NewArchitecture | PretrainedInput, Field(discriminator="kind")] = MaceArchitecture()
    normalisation: Normalisation = Normalisation()
    reference_energies: dict[str, float] = Field(default={}, description="Isolated atoms' energies in eV, by symbol.")
    replay: ReplayInput | None = None
    training: TrainingSettings = TrainingSettings()

    @property
    def produces(self) -> tuple[str, ...]:  # type: ignore[override]
        """The files of every training, and the test frames if there are any."""
        always = ("model.simkit", "best.ckpt", "last.ckpt", "log.csv", "split.json", "validation.xyz")
        return always if self.test is None and not self.split.test else (*always, "test.xyz")

    def run(self, context: Context) -> dict[str, Any]:
        """Train, or continue to train."""
        from simkit.tasks.train import train_files

        architecture, replay = self.architecture, self.replay
        if isinstance(architecture, PretrainedInput):
            architecture = architecture.model_copy(update={"model": str(context.path(architecture.model))})
        if replay is not None:
            replay = replay.model_copy(update={"data": str(context.path(replay.data))})
        return train_files(
            context.path(self.data),
            context.folder,
            architecture=architecture,
            training=self.training,
            validation=None if self.validation is None else context.path(self.validation),
            test=None if self.test is None else context.path(self.test),
            reading=self.reading,
            split=self.split,
            normalisation=self.normalisation,
            reference_energies=self.reference_energies,
            replay=replay,
            seed=context.seed,
            device=context.device,
            progress=context.progress,
        )

    def citations(self) -> tuple[str, ...]:
        """The architecture and the methods of the training; the summary has those of a pretrained model."""
        from simkit.training.citations import architecture_citations, training_citations

        return (*architecture_citations(self.architecture), *training_citations(self.training))
