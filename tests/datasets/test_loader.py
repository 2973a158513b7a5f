"""Batches: complete, reproducible, resumable, the same for any number of processes."""

import numpy as np
import pytest
import torch

from simkit.datasets.base import Dataset, collate
from simkit.datasets.combine import CachedDataset, Subset
from simkit.datasets.loader import Loader
from simkit.errors import DataError
from simkit.neighbours import build_neighbours
from tests.datasets.examples import clusters, crystals, dataset


class Counting(Dataset):
    """Counts how often frames are read."""

    def __init__(self, data):
        self.data, self.reads = data, 0

    def __len__(self):
        return len(self.data)

    def __getitem__(self, index):
        self.reads += 1
        return self.data[index]


def energies(batches):
    return [value for batch in batches for value in batch.labels.energy.tolist()]


@pytest.fixture(scope="module")
def data():
    return dataset([*crystals(10), *clusters(3)])


def test_every_frame_once_in_an_order_of_seed_and_epoch(data):
    loader = Loader(data, 4.0, batch_size=4, seed=3)
    first = energies(loader.epoch(0))
    assert sorted(first) == sorted(float(frame.labels.energy) for frame in data)
    assert energies(loader.epoch(1)) != first
    assert energies(Loader(data, 4.0, batch_size=4, seed=3).epoch(0)) == first
    assert len(loader) == 4
    plain = Loader(data, 4.0, batch_size=4, shuffle=False)
    assert energies(plain) == [float(frame.labels.energy) for frame in data]
    assert len(Loader(data, 4.0, batch_size=4, drop_last=True)) == 3


def test_an_epoch_can_start_in_the_middle(data):
    loader = Loader(data, 4.0, batch_size=4)
    assert energies(loader.epoch(2, start=2)) == energies(loader.epoch(2))[8:]


def test_batches_equal_collated_frames(data):
    batch = next(iter(Loader(data, 4.0, batch_size=13, shuffle=False, dtype=torch.float32)))
    expected = collate(list(data), 4.0, torch.float32)
    assert batch.system.dtype == torch.float32
    assert batch.labels.energy.dtype == torch.float64
    for name in ("centre", "neighbour", "shift"):
        assert torch.equal(getattr(batch.neighbours, name), getattr(expected.neighbours, name))
    assert batch.has_stress.tolist() == [True] * 10 + [False] * 3
    assert bool(batch.labels.stress[10:].isnan().all())


def test_frames_are_read_and_neighbours_built_once(data):
    counting = Counting(data)
    loader = Loader(counting, 4.0, batch_size=4)
    for epoch in range(3):
        energies(loader.epoch(epoch))
    assert counting.reads == len(data)
    small = CachedDataset(Counting(data), 4.0, memory=20000)
    for _ in range(2):
        list(small)
    assert small.used <= 20000
    assert len(data) < small.dataset.reads < 2 * len(data)


def test_cached_neighbours_equal_built_ones(data):
    cached = CachedDataset(data, 4.0)
    list(cached)
    for index, frame in enumerate(cached):
        expected = build_neighbours(data[index].system, 4.0)
        assert torch.equal(frame.neighbours.shift, expected.shift)
        assert torch.equal(frame.neighbours.neighbour, expected.neighbour)
        assert frame.neighbours.shift.dtype == torch.float64


@pytest.mark.parametrize("limit", ["max_atoms", "max_edges"])
def test_budgets_are_kept(data, limit):
    loader = Loader(data, 4.0, **{limit: 600 if limit == "max_edges" else 20})
    sizes = []
    for batch in loader.epoch(1):
        sizes.append(batch.system.n_atoms if limit == "max_atoms" else batch.neighbours.n_edges)
    assert max(sizes) <= (600 if limit == "max_edges" else 20)
    assert sum(batch.system.n_systems for batch in loader.epoch(1)) == 13
    assert len(sizes) < 13
    with pytest.raises(DataError, match=r"memory:10 alone has size 13, more than the limit of 12"):
        Loader(data, 4.0, max_atoms=12)


@pytest.mark.parametrize("limits", [{"batch_size": 4}, {"max_atoms": 20}])
def test_processes_share_the_batches_of_one(data, limits):
    whole = Loader(data, 4.0, seed=1, **limits, world_size=1)
    shares = [Loader(data, 4.0, seed=1, **limits, rank=rank, world_size=3) for rank in range(3)]
    batches = shares[0].batches(5)
    assert sorted(index for batch in batches for index in batch) == list(range(13))
    for indices, *parts in zip(batches, *(share.epoch(5) for share in shares), strict=True):
        assert all(part.system.n_systems >= 1 for part in parts)
        assert sorted(energies(parts)) == sorted(float(data[index].labels.energy) for index in indices)
    if "batch_size" in limits:
        assert batches[0] == whole.batches(5)[0]
    with pytest.raises(DataError, match="at least one frame per process"):
        Loader(data, 4.0, batch_size=2, rank=0, world_size=3)


def test_helper_processes_give_the_same_batches(data):
    alone = Loader(data, 4.0, batch_size=5, seed=2)
    helped = Loader(data, 4.0, batch_size=5, seed=2, workers=1)
    assert energies(helped.epoch(1)) == energies(alone.epoch(1))


def test_wrong_requests(data):
    with pytest.raises(DataError, match="exactly one of"):
        Loader(data, 4.0)
    with pytest.raises(DataError, match="at least one frame"):
        Loader(Subset(data, []), 4.0, batch_size=2)
    with pytest.raises(DataError, match="indices from 0 to 12"):
        Subset(data, np.array([13]))
