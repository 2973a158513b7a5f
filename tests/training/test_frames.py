"""Frames on their way to the device."""

import pytest
import torch

from simkit.datasets.base import Batch, collate
from simkit.training.frames import CheckedFrames, on_device
from tests.training.examples import CUTOFF, clusters, guess


def test_frames_get_the_type_and_the_neighbours_of_the_training() -> None:
    frame = CheckedFrames(clusters(1), guess(), torch.float32)[0]
    assert frame.neighbours is not None
    assert frame.system.dtype == frame.neighbours.shift.dtype == torch.float32
    assert frame.neighbours.cutoff == CUTOFF
    assert frame.labels.energy is not None
    assert frame.labels.energy.dtype == torch.float64


def test_prefetching_keeps_the_order() -> None:
    batches = [collate([frame], CUTOFF) for frame in clusters(6).frames]
    found = list(on_device(batches, torch.device("meta")))  # a device whose tensors hold no data
    assert [batch.system.n_atoms for batch in found] == [batch.system.n_atoms for batch in batches]
    assert all(batch.system.positions.is_meta for batch in found)


def test_prefetching_passes_errors_on() -> None:
    def broken():
        yield collate([clusters(1)[0]], CUTOFF)
        raise ValueError("the second batch")

    batches = on_device(broken(), torch.device("meta"))
    assert isinstance(next(batches), Batch)
    with pytest.raises(ValueError, match="the second batch"):
        next(batches)
