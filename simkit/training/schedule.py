"""The learning rate at every step."""

from __future__ import annotations

import math
from typing import Any

from simkit.training.settings import Constant, Cosine, Exponential, Plateau, TrainingSettings


class LearningRate:
    """Learning rate as a function of the step, of the stage and, for ``plateau``, of the validation losses so far.

    Args:
        settings: of the whole run.
        steps_per_epoch: optimiser steps in an epoch.
    """

    def __init__(self, settings: TrainingSettings, steps_per_epoch: int) -> None:
        self.settings = settings
        self.steps_per_epoch = steps_per_epoch
        self.reduction = 1.0
        self.best = math.inf
        self.waited = 0

    def at(self, step: int, stage: int) -> float:
        """Learning rate of step 0, 1, ... in stage 1 or 2."""
        settings = self.settings
        epoch = step / self.steps_per_epoch
        if stage == 2 and settings.stage_two is not None:
            later = settings.stage_two
            length = settings.max_epochs - later.start_epoch
            return later.learning_rate * _cosine((epoch - later.start_epoch) / length, later.final)
        rising = settings.warmup_epochs * self.steps_per_epoch
        warmup = min(1.0, (step + 1) / rising) if rising >= 1 else 1.0
        return settings.optimiser.learning_rate * warmup * self._factor(epoch)

    def _factor(self, epoch: float) -> float:
        match self.settings.schedule:
            case Constant():
                return 1.0
            case Cosine(final=final):
                stage_two = self.settings.stage_two
                end = stage_two.start_epoch if stage_two else self.settings.max_epochs
                return _cosine(epoch / end, final)
            case Exponential(gamma=gamma):
                return gamma**epoch
            case Plateau():
                return self.reduction

    def observe(self, validation_loss: float) -> None:
        """Tell the outcome of a validation."""
        if validation_loss < self.best:
            self.best, self.waited = validation_loss, 0
            return
        self.waited += 1
        schedule = self.settings.schedule
        if isinstance(schedule, Plateau) and self.waited > schedule.patience:
            self.reduction = max(self.reduction * schedule.factor, schedule.minimum)
            self.waited = 0

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"reduction": self.reduction, "best": self.best, "waited": self.waited}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a checkpoint."""
        self.reduction, self.best, self.waited = state["reduction"], state["best"], state["waited"]


def _cosine(t: float, final: float) -> float:
    """From 1 at t = 0 to ``final`` at t = 1, and constant before and after."""
    return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * min(1.0, max(0.0, t))))
