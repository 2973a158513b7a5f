"""Labels that active learning saves, beside labels of frames at random.

Usage::

    python -P benchmarks/uncertainty/active_learning.py FOLDER [--seeds 5] [--target 0.08] [--molecule CH3CH2OH]

Both begin with the same 20 frames of a molecule at 600 K, labelled with GFN2-xTB. Active learning explores with its own
committee; the other takes further frames at random from dynamics with the reference method itself, which active
learning never gets to see. Both train committees of the same kind for the same number of epochs, and are judged on the
same test frames from other trajectories at 600 K. Printed are, for each seed, the errors against the number of labels,
and the numbers of labels at which the target is reached, interpolated between rounds in logarithms.

Called again, it continues where it was interrupted.
"""

from __future__ import annotations

import argparse
from itertools import pairwise
from pathlib import Path

import numpy as np

from simkit import load_model, save_model
from simkit.files import atomic_path
from simkit.progress import Progress, Terminal
from simkit.tasks.active_learning import learn_actively
from simkit.tasks.active_settings import Learning
from simkit.tasks.assess import assess_file
from simkit.tasks.frames import read_frames, write_frames
from simkit.tasks.label import label
from simkit.tasks.settings import Counts, Sampling
from simkit.tasks.train import train_files
from simkit.training.architectures import MaceArchitecture
from simkit.training.settings import Cosine, TrainingSettings
from simkit.training.sources import SplitSettings
from simkit.uncertainty.ensemble import Ensemble

ARCHITECTURE = MaceArchitecture(
    cutoff=4.0, hidden_irreps="16x0e + 16x1o", max_ell=2, correlation=2, radial_mlp=(32, 32), readout_mlp="16x0e"
)
TEMPERATURE = 600.0

Curve = list[tuple[int, float]]
"""Numbers of labels, and errors of the forces on the test frames in meV/Å (RMSE)."""


def active(folder: Path, first: Path, learning: Learning, training: TrainingSettings, seed: int, to: Progress) -> Curve:
    """Errors after each round; labels are all that were needed to train it."""
    summary = learn_actively(
        first / "train.xyz", folder, learning=learning, architecture=ARCHITECTURE, training=training,
        test=first / "test.xyz", seed=seed, progress=to,
    )  # fmt: skip
    return [
        (row["training_frames"] + row["validation_frames"], row["test_forces_rmse_mev_per_ang"])
        for row in summary["rounds"]
    ]


def random(
    folder: Path, first: Path, pool: Path, counts: list[int], learning: Learning, training: TrainingSettings,
    seed: int, to: Progress,
) -> Curve:  # fmt: skip
    """Errors of committees on the first frames and so many of a pool."""
    alone = [one for one in read_frames(first / "train.xyz") if len(one) == 1]
    frames, more = ([one for one in read_frames(path / "train.xyz") if len(one) > 1] for path in (first, pool))
    frames += [more[index] for index in np.random.default_rng(seed).permutation(len(more))]
    curve = []
    for count in counts:
        place = folder / str(count)
        with atomic_path(place / "data.xyz") as temporary:
            write_frames(temporary, [*alone, *frames[:count]])
        models = []
        for member in range(learning.members):
            models.append(place / f"member{member}" / "model.simkit")
            if not models[-1].exists():
                train_files(
                    place / "data.xyz", models[-1].parent, architecture=ARCHITECTURE, training=training,
                    split=SplitSettings(validation=learning.validation), seed=100 * seed + member, progress=to,
                )  # fmt: skip
        save_model(place / "committee.simkit", Ensemble(*[load_model(path) for path in models]))
        curve.append((count, assess_file(place / "committee.simkit", first / "test.xyz")["forces_rmse_mev_per_ang"]))
    return curve


def needed(curve: Curve, target: float) -> float:
    """Labels at which the error falls to the target; NaN if it does not."""
    for (fewer, high), (more, low) in pairwise(curve):
        if low <= target < high:
            share = np.log(high / target) / np.log(high / low)
            return float(np.exp(np.log(fewer) + share * np.log(more / fewer)))
    return float(curve[0][0]) if curve[0][1] <= target else np.nan


def main() -> None:
    """Learn both ways, seed after seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--molecule", default="CH3CH2OH")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--target", type=float, default=0.08, help="error of the forces in eV/Å (RMSE)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--steps", type=int, default=2000, help="of each walker in a round")
    parser.add_argument("--labels", type=int, default=320, help="most labels of frames at random")
    parser.add_argument("--test", type=int, default=100, help="test frames")
    options = parser.parse_args()
    learning = Learning(members=4, rounds=options.rounds, steps=options.steps, temperatures=(300.0, TEMPERATURE))
    training = TrainingSettings(max_epochs=options.epochs, schedule=Cosine(final=0.02))
    progress, ratios = Terminal(), []
    sampling = Sampling(temperatures=(TEMPERATURE,))
    for seed in range(options.seeds):
        place = options.folder / f"seed{seed}"
        common = {"molecule": options.molecule, "sampling": sampling, "progress": progress}
        label(place / "first", counts=Counts(20, 1, options.test), seed=seed, **common)
        label(place / "pool", counts=Counts(options.labels - 20, 1, 0), seed=1000 + seed, **common)
        one = active(place / "active", place / "first", learning, training, seed, progress)
        counts = [count for count in (20, 40, 80, 160, 320) if count <= options.labels]
        other = random(place / "random", place / "first", place / "pool", counts, learning, training, seed, progress)
        labels = [needed(curve, 1e3 * options.target) for curve in (one, other)]
        ratios.append(labels[0] / labels[1])
        print(f"seed {seed}: active {one}; random {other}; labels for the target {labels[0]:.0f} and {labels[1]:.0f}")
    shares = np.round(ratios, 2).tolist()
    print(f"labels of active learning over those at random: {shares}, median {np.median(ratios):.2f}")


if __name__ == "__main__":
    main()
