"""What is said about training data before training."""

from dataclasses import replace

import pytest
import torch

from simkit.datasets.base import Dataset
from simkit.datasets.combine import MemoryDataset, Subset
from simkit.datasets.statistics import compute_statistics
from simkit.errors import DataError
from simkit.progress import Silent
from simkit.training.inspection import require_labels, say_what_is_ignored, say_what_is_wrong
from tests.training.examples import clusters, guess, labelled, without


class Listening(Silent):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)

    def warn(self, text: str) -> None:
        self.said.append(text)


def said(training: Dataset, **others: Dataset | None) -> str:
    progress = Listening()
    say_what_is_wrong(training, others, progress)
    return "\n".join(progress.said)


def trajectory(force_factor: float) -> Dataset:
    """Similar frames whose forces are multiplied by a number."""
    start, frames = clusters(6).frames[5].system, []
    generator = torch.Generator().manual_seed(1)
    for index in range(30):
        moved = 0.03 * torch.randn(start.positions.shape, generator=generator, dtype=torch.float64)
        frame = labelled(replace(start, positions=start.positions + moved), f"trajectory:{index}")
        assert frame.labels.forces is not None
        frames.append(replace(frame, labels=replace(frame.labels, forces=force_factor * frame.labels.forces)))
    return MemoryDataset(frames)


def test_sound_data_are_not_commented_upon() -> None:
    assert said(trajectory(1.0), validation=None, test=clusters(5, seed=9)) == ""


@pytest.mark.parametrize(("factor", "message"), [(-1.0, "wrong sign"), (1 / 51.422, "Hartree/Bohr")])
def test_wrong_signs_and_units_are_said(factor: float, message: str) -> None:
    assert message in said(trajectory(factor))


def test_test_frames_among_the_training_frames_are_counted() -> None:
    frames = clusters(12)
    text = said(Subset(frames, list(range(10))), validation=Subset(frames, [10, 11]), test=Subset(frames, [3, 4, 11]))
    assert "2 of 3 test frames are training frames too" in text
    assert "validation" not in text


def test_charges_that_no_potential_learns_are_said() -> None:
    charged = [
        replace(frame, system=replace(frame.system, charge=torch.tensor([float(index > 2)])))
        for index, frame in enumerate(clusters(6).frames)
    ]
    progress = Listening()
    say_what_is_ignored(guess(), MemoryDataset(charged), progress)
    assert len(progress.said) == 1
    assert "clusters:3 has charge 1, which this lennard-jones potential ignores" in progress.said[0]


def test_data_that_teach_nothing_are_refused() -> None:
    bare = MemoryDataset([without(frame, "energy", "forces") for frame in clusters(4).frames])
    with pytest.raises(DataError, match="no training frame has an energy or forces"):
        require_labels(compute_statistics(bare, 3.0), 3.0)
    with pytest.raises(DataError, match=r"no atom has a neighbour within the cutoff of 0.1 Å"):
        require_labels(compute_statistics(clusters(4), 0.1), 0.1)
    require_labels(compute_statistics(clusters(4), 3.0), 3.0)
