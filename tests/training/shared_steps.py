"""Two optimiser steps by one or several processes; the first writes gradients, losses and errors.

Usage: shared_steps.py FOLDER RESULT
"""

import sys
from dataclasses import replace
from pathlib import Path

import torch

from simkit.datasets.combine import MemoryDataset
from simkit.training.trainer import Trainer
from tests.training.examples import clusters, crystals, without
from tests.training.running import small_painn, small_settings


def uneven_frames() -> MemoryDataset:
    """Frames of 3 to 8 atoms, some without energy, forces or stress, some heavier than others."""
    frames = [*clusters(7).frames, *crystals(2).frames]
    frames[1] = without(frames[1], "forces")
    frames[2] = without(frames[2], "energy")
    frames[5] = without(frames[5], "energy", "forces")
    frames[6] = replace(frames[6], weight=2.5)
    return MemoryDataset(frames)


def main(folder: Path, result: Path) -> None:
    settings = small_settings(2, batch_size=5, loss={"kind": "huber", "energy": 1, "forces": 10, "stress": 100})
    trainer = Trainer(small_painn(), uneven_frames(), clusters(3, 1), settings, folder)
    gradients = []
    step = trainer.optimiser.step

    def watched_step() -> None:
        gradients.append(torch.cat([parameter.grad.flatten() for parameter in trainer.parameters]))
        step()

    trainer.optimiser.step = watched_step  # type: ignore[method-assign]
    outcome = trainer.fit()
    if trainer.fabric.is_global_zero:
        world = trainer.fabric.world_size
        torch.save(
            {"gradients": gradients, "loss": outcome.best_loss, "errors": outcome.errors, "world": world}, result
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
