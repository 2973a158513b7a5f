"""Checkpoints: everything that an interrupted run needs to go on exactly."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from simkit.errors import SimkitError
from simkit.files import atomic_path

VERSION = 1
"""Version of the layout of checkpoints."""


@dataclass
class Position:
    """Where a run stands.

    Attributes:
        epoch: number of complete epochs.
        batch: number of steps done in the present epoch.
        step: number of optimiser steps done.
        stage: 1 or 2.
        best: lowest validation loss of the stage.
        best_epoch: the epoch that had it, -1 before the first validation.
        waited: epochs since then.
        seconds: wall-clock time spent, over all interruptions.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    stage: int = 1
    best: float = math.inf
    best_epoch: int = -1
    waited: int = 0
    seconds: float = 0.0


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a state of tensors and plain values atomically."""
    with atomic_path(path) as temporary:
        torch.save({"version": VERSION, **state}, temporary)


def load_checkpoint(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Read a checkpoint; no code in the file is executed.

    Raises:
        SimkitError: the file is damaged or of another version.
    """
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # zip, pickle and storage errors of many kinds
        raise SimkitError(
            f"{path} is not a readable checkpoint ({error}): delete it to start the training anew"
        ) from error
    if state.get("version") != VERSION:
        raise SimkitError(
            f"{path}: expected a checkpoint of version {VERSION}, found {state.get('version')}: "
            "continue it with the simkit that wrote it, or delete it to start the training anew"
        )
    return state
