"""A look at training data before hours are spent on them."""

from __future__ import annotations

import hashlib

from simkit.datasets.audit import audit
from simkit.datasets.base import Dataset, Frame
from simkit.datasets.combine import Subset
from simkit.datasets.statistics import Statistics
from simkit.errors import DataError
from simkit.potential import IgnoredConditions, Potential
from simkit.progress import Progress
from simkit.training.sources import CONCERN_READING, HOW_TO_READ

SAMPLED_ATOMS = 3000
MOST_FRAMES = 200
COMPARED_FRAMES = 2000


def require_labels(statistics: Statistics, cutoff: float | None) -> None:
    """Refuse data that nothing can be learned from.

    Raises:
        DataError: no frame has an energy or forces, or no atom has a neighbour.
    """
    if not statistics.labelled["energy"] and not statistics.labelled["forces"]:
        raise DataError("no training frame has an energy or forces: label the frames, or check the names of their keys")
    if cutoff is not None and statistics.average_neighbours == 0:
        raise DataError(
            f"no atom has a neighbour within the cutoff of {cutoff:g} Å: expected positions in Å; increase the cutoff "
            "or convert the positions"
        )


def say_what_is_ignored(potential: Potential, training: Dataset, progress: Progress) -> None:
    """Warn if frames have charges or spins that the potential will not learn from, judged from a sample."""
    ignored = IgnoredConditions(potential, progress)
    for frame in sample(training):
        ignored.look_at(frame.system, frame.name)


def say_what_is_wrong(training: Dataset, others: dict[str, Dataset | None], progress: Progress) -> None:
    """Audit a sample of the training frames, and look for frames of the other parts among them; findings are said.

    Args:
        training: frames to train on.
        others: validation and test frames, by name.
        progress: what says the findings.
    """
    wrong = audit(sample(training)).errors
    for finding in wrong:
        progress.say(f"warning: {finding.message}. What to do: {finding.remedy}")
    if any(finding.kind in CONCERN_READING for finding in wrong):
        progress.say(f"note: {HOW_TO_READ}")
    known = {_digest(training[index]) for index in range(min(len(training), COMPARED_FRAMES))}
    for name, dataset in others.items():
        compared = 0 if dataset is None else min(len(dataset), COMPARED_FRAMES)
        repeated = sum(_digest(dataset[index]) in known for index in range(compared)) if dataset is not None else 0
        if repeated:
            progress.say(
                f"warning: {repeated} of {compared} {name} frames are training frames too, so their errors say "
                "nothing about new structures: take them out of one of the files"
            )


def sample(dataset: Dataset) -> Dataset:
    """Neighbouring frames, which are similar in trajectories, from the beginning of a dataset."""
    counts = dataset.atom_counts().cumsum()
    return Subset(dataset, list(range(min(len(dataset), MOST_FRAMES, max(20, int((counts < SAMPLED_ATOMS).sum()))))))


def _digest(frame: Frame) -> bytes:
    system = frame.system
    content = hashlib.sha256()
    for values in (system.numbers, system.positions, system.lattice):
        content.update(values.numpy().tobytes())
    return content.digest()
