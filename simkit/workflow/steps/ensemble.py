"""The step ``ensemble``."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from simkit.errors import SimkitError
from simkit.training.uncertainty import EnsembleTraining
from simkit.workflow.step import Context
from simkit.workflow.steps.train import Training


class TrainEnsemble(Training):
    """Train several potentials on the same frames; see :func:`simkit.tasks.train_ensemble.train_ensemble`."""

    ensemble: EnsembleTraining = Field(EnsembleTraining(), description="Members, and what differs between them.")

    @model_validator(mode="after")
    def _sense(self) -> TrainEnsemble:
        try:
            self.ensemble.require_sense(self.uncertainty)
        except SimkitError as error:
            raise ValueError(str(error)) from error
        return self

    @property
    def produces(self) -> tuple[str, ...]:  # type: ignore[override]
        """The ensemble, its members if they are trained apart, and the frames that judge it."""
        always = ("model.simkit", "split.json", "validation.xyz")
        tested = (*always, "test.xyz") if self.has_test_frames else always
        if self.ensemble.together:
            return tested
        return (*tested, *(f"member-{member}/model.simkit" for member in range(self.ensemble.members)))

    def run(self, context: Context) -> dict[str, Any]:
        """Train all members, or continue to train them."""
        from simkit.tasks.train_ensemble import train_ensemble

        return train_ensemble(
            context.path(self.data), context.folder, ensemble=self.ensemble, **self.arguments(context)
        )
