"""Settings of trainings that yield an uncertainty: ensembles, heads trained by scores of their spread."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from simkit.errors import SimkitError
from simkit.settings import Settings
from simkit.training.settings import StageTwo, TrainingSettings

if TYPE_CHECKING:
    from simkit.potential import Potential
    from simkit.training.objective import MakeObjective


class EnsembleTraining(Settings):
    """Members trained from different weights, and each in an order of its own.

    ``vary``: besides, each member may see other frames: all ``folds`` of the training frames but one, or as many as
    there are, drawn with replacement (``bootstrap``). ``together`` stacks the members' parameters and trains them in
    one go, on the same batches: faster, but in one order, with one choice of the best epoch.
    """

    members: PositiveInt = Field(default=5, ge=2, description="potentials to train; 5 are usual, 8 for biased dynamics")
    vary: Literal["weights", "folds", "bootstrap"] = Field(
        default="weights", description="what differs besides initial weights and order: nothing, or the frames"
    )
    together: bool = Field(default=False, description="train all members at once, on the same batches")

    def require_sense(self, uncertainty: UncertaintyTraining | None = None) -> None:
        """Check that the settings go together.

        Raises:
            SimkitError: members that see other frames, or have a score of their own, trained on the same batches.
        """
        if self.together and uncertainty is not None:
            raise SimkitError(f"members with {uncertainty.kind} heads are trained apart: say together: false")
        if self.together and self.vary != "weights":
            raise SimkitError(
                f"members that are trained together see the same batches, so vary: {self.vary} needs together: false"
            )


class ScoreTraining(Settings):
    """What trainings of variances share: the usual loss for a while, then a score of errors and variances."""

    warm_up: float = Field(
        default=0.25, ge=0, lt=1, description="fraction of the epochs with the usual loss of the mean; 0 to fine-tune"
    )
    learning_rate: PositiveFloat | None = Field(default=None, description="of the scores; by default the optimiser's")
    final: float = Field(default=0.01, ge=0, le=1, description="last learning rate of the scores, as a fraction")

    def stages(self, training: TrainingSettings, energy: float, forces: float) -> TrainingSettings:
        """The settings of a training whose last stage has these weights of the scores.

        Raises:
            SimkitError: the settings have a second stage of their own, or all epochs are warm-up.
        """
        if training.stage_two is not None:
            raise SimkitError("the scores of variances are the second stage of the training: remove stage_two")
        start = round(self.warm_up * training.max_epochs)
        if start >= training.max_epochs:
            raise SimkitError(f"warm_up {self.warm_up:g} of {training.max_epochs} epochs leaves none for the scores")
        rate = self.learning_rate or training.optimiser.learning_rate
        if start == 0:
            loss = training.loss.model_copy(update={"energy": energy, "forces": forces})
            optimiser = training.optimiser.model_copy(update={"learning_rate": rate})
            return training.model_copy(update={"loss": loss, "optimiser": optimiser})
        second = StageTwo(
            start_epoch=start, energy=energy, forces=forces, learning_rate=rate, final=self.final, average="ema"
        )
        return training.model_copy(update={"stage_two": second})


class ShallowEnsembleTraining(ScoreTraining):
    """Several last layers on one network (DPOSE), by a score of the spread of energies and forces.

    A spread that is trained on energies alone says little about forces. ``crps`` is in eV per atom and eV/Å, and does
    not punish a single large error as ``nll`` does.
    """

    kind: Literal["shallow-ensemble"] = "shallow-ensemble"
    heads: PositiveInt = Field(default=16, ge=2, description="last layers")
    width: PositiveFloat = Field(default=0.1, description="standard deviation of their weights at the start")
    score: Literal["crps", "nll"] = "crps"
    energy: NonNegativeFloat = Field(default=1.0, description="weight of the score of the energy per atom")
    forces: NonNegativeFloat = Field(default=10.0, description="weight of the score of the forces")

    def wrap(self, potential: Potential, seed: int) -> Potential:
        """The potential with its heads; one that has heads stays."""
        from simkit.uncertainty.shallow_ensemble import ShallowEnsemble

        if isinstance(potential, ShallowEnsemble):
            return potential
        return ShallowEnsemble(potential, self.heads, width=self.width, seed=seed)

    def training(self, training: TrainingSettings) -> TrainingSettings:
        """The settings of the training with its two stages."""
        return self.stages(training, self.energy, self.forces)

    @property
    def objective(self) -> MakeObjective:
        """Scores of mean and spread of the heads."""
        from simkit.training.gaussian_objective import gaussian_objective

        return gaussian_objective(self.score)


class MeanVarianceTraining(ScoreTraining):
    """A head that predicts the variance of errors, by their likelihood.

    ``beta-nll`` trains the mean also where the variance is large; with ``detached`` the usual loss trains the potential
    as if it had no head, and the likelihood the head alone.
    """

    kind: Literal["mean-variance"] = "mean-variance"
    hidden: PositiveInt = Field(default=32, description="hidden units of the head")
    score: Literal["beta-nll", "nll", "crps"] = "beta-nll"
    detached: bool = Field(default=False, description="the likelihood trains the head alone")
    energy: NonNegativeFloat = Field(default=1.0, description="weight of the score of the energy per atom")
    forces: NonNegativeFloat = Field(default=1.0, description="weight of the score of the forces")

    def wrap(self, potential: Potential, seed: int) -> Potential:
        """The potential with its head; one that has a head stays."""
        import torch

        from simkit.uncertainty.mean_variance import MeanVariance

        if isinstance(potential, MeanVariance):
            return potential
        torch.manual_seed(seed)
        return MeanVariance(potential, self.hidden, through_features=not self.detached)

    def training(self, training: TrainingSettings) -> TrainingSettings:
        """The settings of the training with its two stages."""
        return self.stages(training, self.energy, self.forces)

    @property
    def objective(self) -> MakeObjective:
        """The score of mean and variance."""
        from simkit.training.gaussian_objective import gaussian_objective

        return gaussian_objective(self.score, self.detached)


UncertaintyTraining = Annotated[ShallowEnsembleTraining | MeanVarianceTraining, Field(discriminator="kind")]
"""Trainings of one potential with an uncertainty, told apart by ``kind``."""
