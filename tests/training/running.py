"""A small training run as a program, to be killed, stopped or run by several processes.

Usage: running.py FOLDER EPOCHS [frames that process 0 works on slowly]
"""

import sys
import time
from pathlib import Path

import torch

from simkit.datasets.base import Dataset, Frame
from simkit.errors import SimkitError
from simkit.potentials.painn import PaiNN
from simkit.training.settings import LossSettings, OptimiserSettings, StageTwo, TrainingSettings
from simkit.training.trainer import Trainer
from tests.training.examples import CUTOFF, clusters


class Slow(Dataset):
    """Frames that take a while, so that there is time to interrupt."""

    def __init__(self, dataset: Dataset, seconds: float) -> None:
        self.dataset, self.seconds = dataset, seconds

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Frame:
        time.sleep(self.seconds)
        return self.dataset[index]


def small_painn() -> PaiNN:
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    return PaiNN([18], cutoff=CUTOFF, channels=4, layers=1, n_radial=4)


def small_settings(epochs: int, **changes) -> TrainingSettings:
    values = {
        "max_epochs": epochs,
        "batch_size": 4,
        "dtype": "float64",
        "loss": LossSettings(kind="huber", energy=1, forces=10),
        "optimiser": OptimiserSettings(learning_rate=0.003),
        "stage_two": StageTwo(start_epoch=2, average="uniform") if epochs > 2 else None,
        "checkpoint_minutes": 1e-9,
        "cache_gigabytes": 0,
    }
    return TrainingSettings(**values | changes)


def small_trainer(folder: Path, epochs: int, seconds: float = 0.0, **changes) -> Trainer:
    frames = Slow(clusters(11), seconds)
    return Trainer(small_painn(), frames, clusters(3, seed=1), small_settings(epochs, **changes), folder)


if __name__ == "__main__":
    try:
        small_trainer(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])).fit()
    except SimkitError as error:
        print(error, file=sys.stderr)
        sys.exit(3)
