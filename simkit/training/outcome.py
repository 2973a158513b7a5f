"""How a training ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Reason = Literal["max_epochs", "max_hours", "early_stop"]


@dataclass(frozen=True)
class TrainingOutcome:
    """How a training ended.

    Attributes:
        reason: what ended it.
        epochs: complete epochs.
        best_epoch: epoch (from 1) whose averaged weights the potential now holds.
        best_loss: their validation loss.
        errors: their errors on the validation data, such as ``forces_mae_mev_per_ang``.
        hours: wall-clock time, over all interruptions.
    """

    reason: Reason
    epochs: int
    best_epoch: int
    best_loss: float
    errors: dict[str, float]
    hours: float
