"""Shards survive being killed, and carry neighbours."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from ase.io import write

from simkit.datasets.base import collate
from simkit.datasets.combine import MemoryDataset, Subset
from simkit.datasets.files import open_dataset
from simkit.datasets.shards import write_shards
from simkit.errors import DataError
from simkit.neighbours import build_neighbours
from tests.datasets.examples import crystals, dataset

PROGRAM = """
import sys, time
from simkit.datasets.base import Dataset
from simkit.datasets.files import open_dataset
from simkit.datasets.shards import write_shards

class Slow(Dataset):
    def __init__(self, data):
        self.data = data
    def __len__(self):
        return len(self.data)
    def __getitem__(self, index):
        time.sleep(0.02)
        return self.data[index]

write_shards(Slow(open_dataset(sys.argv[1])), sys.argv[2], frames_per_shard=3)
"""


def test_stored_neighbours_equal_built_ones(tmp_path):
    data = dataset(crystals(5))
    shards = write_shards(data, tmp_path / "a", frames_per_shard=2, cutoff=5.0)
    assert shards.cutoff == 5.0
    for index, frame in enumerate(shards):
        expected = build_neighbours(data[index].system, 5.0)
        for name in ("centre", "neighbour", "shift"):
            assert torch.equal(getattr(frame.neighbours, name), getattr(expected, name))
    batch = collate(list(shards), 5.0, torch.float32)
    assert batch.neighbours.n_edges == sum(build_neighbours(frame.system, 5.0).n_edges for frame in data)


def test_killed_writing_continues(tmp_path):
    frames = crystals(60)
    write(tmp_path / "a.xyz", frames)
    command = [sys.executable, "-P", "-c", PROGRAM, str(tmp_path / "a.xyz"), str(tmp_path / "shards")]
    process = subprocess.Popen(command)
    deadline = time.monotonic() + 60
    while not (tmp_path / "shards" / "shard-00001.lmdb").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    with pytest.raises(DataError, match=r"unfinished, \d+ of 60 frames are written"):
        open_dataset(tmp_path / "shards")
    first = (tmp_path / "shards" / "shard-00000.lmdb").stat().st_mtime_ns
    finished = write_shards(open_dataset(tmp_path / "a.xyz"), tmp_path / "shards", frames_per_shard=3)
    assert (tmp_path / "shards" / "shard-00000.lmdb").stat().st_mtime_ns == first
    assert len(finished) == 60
    for index, atoms in enumerate(frames):
        assert finished[index].name == f"a.xyz:{index}"
        assert float(finished[index].labels.energy) == pytest.approx(atoms.get_potential_energy(), abs=1e-7)


def test_other_frames_or_settings_are_refused(tmp_path):
    data = dataset(crystals(4))
    write_shards(data, tmp_path / "a", frames_per_shard=2)
    again = write_shards(data, tmp_path / "a", frames_per_shard=2)
    assert len(again) == 4
    with pytest.raises(DataError, match="frames_per_shard"):
        write_shards(data, tmp_path / "a", frames_per_shard=3)
    with pytest.raises(DataError, match="source"):
        write_shards(dataset(crystals(4, seed=1)), tmp_path / "a", frames_per_shard=2)
    with pytest.raises(DataError, match="at least one frame"):
        write_shards(MemoryDataset([]), tmp_path / "b")
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "thesis.tex").touch()
    with pytest.raises(DataError, match="not empty"):
        write_shards(data, Path(tmp_path / "c"))


def test_a_subset_can_be_written(tmp_path):
    data = dataset(crystals(6))
    shards = write_shards(Subset(data, [4, 1]), tmp_path / "a")
    assert [frame.name for frame in shards] == ["memory:4", "memory:1"]
