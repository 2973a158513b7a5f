"""The step ``active_learning``."""

from __future__ import annotations

from dataclasses import fields
from typing import Annotated, Any, ClassVar

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from simkit.errors import SimkitError
from simkit.tasks.active_settings import Learning
from simkit.tasks.settings import LABELLER, LabellerName
from simkit.training.architectures import MaceArchitecture, NewArchitecture
from simkit.training.settings import TrainingSettings
from simkit.workflow.step import Context, Input, Step

LANGEVIN = "B. Leimkuhler, C. Matthews, J. Chem. Phys. 138, 174102 (2013), doi:10.1063/1.4802990"


class ActiveLearning(Step):
    """A committee explores by dynamics, and what it does not know is labelled and learned, round after round.

    See :func:`simkit.tasks.active_learning.learn_actively`. A killed step continues within the round, and a step with
    more rounds goes on from those that are done.
    """

    produces: ClassVar[tuple[str, ...]] = ("model.simkit", "labelled.xyz", "rounds.csv", "active_learning.json")

    data: Input = Field(description="Labelled frames to begin with.")
    test: Input | None = Field(None, description="Labelled frames that only judge the committee of each round.")
    labeller: LabellerName = Field(LABELLER, description="Reference method.")
    labeller_model: Input | None = Field(None, description="Model file that labels instead.")
    architecture: Annotated[NewArchitecture, Field(discriminator="kind")] = MaceArchitecture()
    training: TrainingSettings = Field(TrainingSettings(), description="Of the first round.")
    retraining: TrainingSettings | None = Field(None, description="Of later rounds; as the first if not given.")
    members: int = Field(Learning.members, ge=2, description="Of the committee.")
    rounds: PositiveInt = Field(Learning.rounds, description="At most, after the training on the first frames.")
    target: PositiveFloat | None = Field(
        Learning.target, description="Error of the forces on fresh frames (RMSE) at which learning ends, in eV/Å."
    )
    batch: NonNegativeInt = Field(Learning.batch, description="Uncertain frames labelled in a round.")
    fresh: int = Field(Learning.fresh, ge=2, description="Frames labelled in a round to judge and calibrate.")
    validation: float = Field(Learning.validation, gt=0, lt=1, description="Share of all frames that choose epochs.")
    walkers: PositiveInt = Field(Learning.walkers, description="Systems that explore side by side.")
    steps: PositiveInt = Field(Learning.steps, description="Time steps of each walker in a round.")
    timestep: PositiveFloat = Field(Learning.timestep, description="In fs.")
    temperatures: tuple[PositiveFloat, ...] = Field(
        Learning.temperatures, min_length=1, description="In K, shared out among the walkers."
    )
    friction: PositiveFloat = Field(Learning.friction, description="Of Langevin dynamics, in 1/fs.")
    save_every: PositiveInt = Field(Learning.save_every, description="Time steps between frames to choose from.")
    uncertain: float = Field(
        Learning.uncertain,
        gt=0,
        lt=1,
        description="Quantile of the uncertainty on known frames where candidates begin.",
    )
    absurd: float = Field(Learning.absurd, gt=1, description="Walkers stop at so many times that uncertainty.")
    closest: PositiveFloat = Field(Learning.closest, description="Least distance, in sums of covalent radii.")

    @model_validator(mode="after")
    def _sense(self) -> ActiveLearning:
        try:
            self._learning().require_sense()
        except SimkitError as error:
            raise ValueError(str(error)) from error
        return self

    def run(self, context: Context) -> dict[str, Any]:
        """Learn, or go on with it."""
        from simkit.tasks.active_learning import learn_actively

        return learn_actively(
            context.path(self.data),
            context.folder,
            learning=self._learning(),
            labeller=self.labeller if self.labeller_model is None else str(context.path(self.labeller_model)),
            architecture=self.architecture,
            training=self.training,
            retraining=self.retraining,
            test=None if self.test is None else context.path(self.test),
            seed=context.seed,
            device=context.device,
            progress=context.progress,
        )

    def citations(self) -> tuple[str, ...]:
        """The architecture, the training and the dynamics; the summary has those of the reference method."""
        from simkit.training.citations import architecture_citations, training_citations

        return (*architecture_citations(self.architecture), *training_citations(self.training), LANGEVIN)

    def _learning(self) -> Learning:
        return Learning(**self.model_dump(include={field.name for field in fields(Learning)}))
