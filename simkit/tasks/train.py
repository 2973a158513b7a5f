"""Training of a potential on labelled structures."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from simkit.progress import Progress, Silent
from simkit.tasks.data import open_parts
from simkit.tasks.training_run import Plan, inspect, train_parts
from simkit.training.architectures import Architecture, MaceArchitecture, Normalisation
from simkit.training.settings import TrainingSettings
from simkit.training.sources import ReadingSettings, ReplaySettings, SplitSettings
from simkit.training.uncertainty import UncertaintyTraining


def train_files(
    data: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    *,
    architecture: Architecture | None = None,
    training: TrainingSettings | None = None,
    validation: str | os.PathLike[str] | None = None,
    test: str | os.PathLike[str] | None = None,
    reading: ReadingSettings | None = None,
    split: SplitSettings | None = None,
    normalisation: Normalisation | None = None,
    reference_energies: Mapping[str, float] | None = None,
    replay: ReplaySettings | None = None,
    uncertainty: UncertaintyTraining | None = None,
    seed: int = 0,
    device: str = "cpu",
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Train a potential; the folder receives ``model.simkit``, ``log.csv``, ``split.json``, the
    ``validation.xyz`` and, if there are test frames, ``test.xyz``, and the trainer's checkpoints.

    The same call continues an interrupted training. Reference energies are those given, else those of isolated atoms
    in the data, else the least-squares fit to the compositions.

    Args:
        data: labelled frames, in any format of :func:`simkit.datasets.files.open_dataset`.
        folder: for results and checkpoints.
        architecture: what to train; MACE by default.
        training: loss, optimiser, schedules, budgets.
        validation: frames that choose the best epoch; if absent, they are split from the data.
        test: frames that only the final errors are computed on; if absent, ``split.test`` of the data.
        reading: keys, units and signs of these three files.
        split: how frames are split from the data.
        normalisation: scale and shift of a new potential.
        reference_energies: energy of isolated atoms in eV, by chemical symbol.
        replay: other frames to be mixed with the training frames.
        uncertainty: make the potential predict its own errors too, by heads that are trained with it.
        seed: of the split, the initial weights and the order of the frames.
        device: ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
        progress: where progress is shown.

    Returns:
        Errors such as ``validation_forces_mae_mev_per_ang``, and how the training ended.

    Raises:
        DataError: the data cannot be read, split or used.
        SimkitError: settings that do not fit, or a loss that became NaN.
        Interrupted: Ctrl-C, after saving.
    """
    progress = progress or Silent()
    plan = Plan(
        architecture=architecture or MaceArchitecture(),
        training=training or TrainingSettings(),
        reading=reading or ReadingSettings(),
        split=split or SplitSettings(),
        normalisation=normalisation or Normalisation(),
        reference_energies=reference_energies or {},
        replay=replay,
        uncertainty=uncertainty,
    )
    plan.require_sense()
    parts = open_parts(data, validation, test, plan.split, seed, plan.reading)
    facts = inspect(parts, plan, progress)
    return train_parts(parts, Path(folder), plan, progress=progress, facts=facts, seed=seed, device=device)[1]
