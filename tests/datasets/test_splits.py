"""Splits: disjoint, reproducible, recorded with the files they belong to."""

import numpy as np
import pytest
from ase.io import write

from simkit.datasets.files import open_dataset
from simkit.datasets.splits import Split, read_indices, split_by_file, split_by_group, split_by_indices, split_random
from simkit.errors import DataError
from tests.datasets.examples import crystals, dataset


def check_disjoint(split):
    every = [*split.train, *split.validation, *split.test]
    assert len(set(every)) == len(every)


def test_random_split_has_the_sizes_asked_for():
    data = dataset(crystals(20))
    split = split_random(data, train=0.5, validation=3, test=0.2, seed=1)
    assert (len(split.train), len(split.validation), len(split.test)) == (10, 3, 4)
    check_disjoint(split)
    assert split == split_random(data, train=0.5, validation=3, test=0.2, seed=1)
    assert split.train != split_random(data, train=0.5, validation=3, test=0.2, seed=2).train
    rest = split_random(data, validation=0.25)
    assert (len(rest.train), len(rest.validation)) == (15, 5)
    with pytest.raises(DataError, match="at most 20 frames"):
        split_random(data, train=18, validation=3)
    with pytest.raises(DataError, match="fraction from 0 to 1"):
        split_random(data, validation=1.5)


def test_groups_stay_together():
    data = dataset(crystals(20))
    split = split_by_group(data, train=None, validation=10)
    assert len(split.train) == len(split.validation) == 10
    assert len({data[index].group for index in split.train}) == 1
    check_disjoint(split)
    with pytest.raises(DataError, match="no group is small enough for validation"):
        split_by_group(data, validation=3)
    with pytest.raises(DataError, match="expected several groups"):
        split_by_group(data, group=lambda index: "one")


def test_split_by_file_and_by_indices(tmp_path):
    frames = crystals(6)
    write(tmp_path / "a.xyz", frames[:4])
    write(tmp_path / "b.xyz", frames[4:])
    data = open_dataset([tmp_path / "a.xyz", tmp_path / "b.xyz"])
    split = split_by_file(data, train=[0], test=[1])
    assert (split.train, split.test) == ((0, 1, 2, 3), (4, 5))
    (tmp_path / "index.csv").write_text("3\n1\n")
    np.save(tmp_path / "index.npy", np.array([5, 0]))
    split = split_by_indices(data, train=tmp_path / "index.csv", test=tmp_path / "index.npy")
    assert (split.train, split.test) == ((3, 1), (5, 0))
    train, _, test = split.apply(data)
    assert [frame.name for frame in train] == ["a.xyz:3", "a.xyz:1"]
    assert [frame.name for frame in test] == ["b.xyz:1", "a.xyz:0"]
    with pytest.raises(DataError, match="share no frame"):
        split_by_indices(data, train=[0, 1], test=[1])
    with pytest.raises(DataError, match="indices from 0 to 5"):
        split_by_indices(data, train=[6])
    (tmp_path / "bad.txt").write_text("1 2 three")
    with pytest.raises(DataError, match=r"bad.txt: expected whole numbers"):
        read_indices(tmp_path / "bad.txt")


def test_record_knows_its_files(tmp_path):
    write(tmp_path / "a.xyz", crystals(6))
    data = open_dataset(tmp_path / "a.xyz")
    split = split_random(data, validation=2)
    split.save(tmp_path / "split.json")
    assert Split.load(tmp_path / "split.json") == split
    write(tmp_path / "a.xyz", crystals(6, seed=1))
    with pytest.raises(DataError, match=r"other content of a.xyz"):
        split.apply(open_dataset(tmp_path / "a.xyz"))
    with pytest.raises(DataError, match="made for 6 frames, the dataset has 5"):
        split.apply(dataset(crystals(5)))
    (tmp_path / "split.json").write_text('{"train": 3}')
    with pytest.raises(DataError, match="cannot be read as a split"):
        Split.load(tmp_path / "split.json")
