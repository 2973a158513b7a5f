"""Checkpoints: everything that an interrupted run needs to go on exactly."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from simkit.errors import SimkitError
from simkit.files import atomic_path
from simkit.training.settings import RESUMABLE

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


def require_same_run(path: Path, saved: dict[str, Any], present: dict[str, Any]) -> None:
    """Check that a checkpoint belongs to the run that wants to continue it.

    Raises:
        SimkitError: naming what differs.
    """
    old, new = _flat(saved), _flat(present)
    different = [
        key
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key) and key.removeprefix("settings.").split(".")[0] not in RESUMABLE
    ]
    if not different:
        return
    shown = "; ".join(f"{key} was {old.get(key)}, is {new.get(key)}" for key in different[:5])
    more = f" and {len(different) - 5} more" if len(different) > 5 else ""
    raise SimkitError(
        f"{path} belongs to another run: {shown}{more}. Train in another folder, restore these values, "
        f"or delete the checkpoint to start anew ({', '.join(sorted(RESUMABLE))} may change)"
    )


def _flat(tree: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(tree, dict):
        return {prefix.rstrip("."): tree}
    return {key: value for name, branch in tree.items() for key, value in _flat(branch, f"{prefix}{name}.").items()}
