"""Damaged, foreign and missing files: each is refused with the file, the place and a remedy."""

import gzip
from pathlib import Path

import numpy as np
import pytest
from ase.db import connect
from ase.io import write
from ase.io.trajectory import Trajectory

from simkit.datasets.base import collate
from simkit.datasets.files import open_dataset
from simkit.datasets.hdf5 import write_hdf5
from simkit.datasets.numpy_files import ArrayDataset
from simkit.datasets.shards import write_shards
from simkit.errors import DataError
from tests.datasets.examples import crystals, dataset


def cut(path, fraction):
    raw = path.read_bytes()
    path.write_bytes(raw[: int(len(raw) * fraction)])


def test_missing_file_names_what_is_there(tmp_path):
    (tmp_path / "train.xyz").write_text("")
    with pytest.raises(DataError, match=r"tran.xyz: no such file; in .* there is: train.xyz"):
        open_dataset(tmp_path / "tran.xyz")


@pytest.mark.parametrize("name", ["a.xyz", "a.npz", "a.db", "a.unknown"])
def test_empty_file(tmp_path, name):
    (tmp_path / name).touch()
    with pytest.raises(DataError, match="empty"):
        open_dataset(tmp_path / name)


def test_unknown_format_lists_the_known_ones(tmp_path):
    (tmp_path / "a.pdf").write_bytes(b"%PDF-1.4 something")
    with pytest.raises(DataError, match=r"a.pdf: unknown format; expected one of: extxyz"):
        open_dataset(tmp_path / "a.pdf")
    with pytest.raises(DataError, match="expected format to be one of"):
        open_dataset(tmp_path / "a.pdf", format="pdf")


def test_truncated_extxyz_names_frame_and_line(tmp_path):
    path = tmp_path / "a.xyz"
    write(path, crystals(3))
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-1]))
    with pytest.raises(DataError, match=r"frame 2 \(line 13\) should have 4 atoms, but the file ends at line 17"):
        open_dataset(path)
    path.write_text("".join(lines)[:-20])
    with pytest.raises(DataError, match=r"frame 2 \(line 13\) should have 4 atoms"):
        open_dataset(path)
    path.write_text("".join(lines).rstrip())
    assert len(open_dataset(path)) == 3
    lines[9] = "Cu nonsense\n"
    path.write_text("".join(lines))
    with pytest.raises(DataError, match=r"frame 1 \(line 7\) is not extended XYZ.*correct or remove it"):
        open_dataset(path)[1]


def test_garbage_in_extxyz_names_the_line(tmp_path):
    path = tmp_path / "a.xyz"
    write(path, crystals(3))
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines[:6], "hello\n", *lines[6:]]))
    with pytest.raises(DataError, match="line 7: expected the number of atoms of frame 1, found 'hello"):
        open_dataset(path)


def test_truncated_gzip(tmp_path):
    path = tmp_path / "a.xyz.gz"
    write(tmp_path / "a.xyz", crystals(5))
    path.write_bytes(gzip.compress((tmp_path / "a.xyz").read_bytes()))
    cut(path, 0.7)
    with pytest.raises(DataError, match="gzip file is damaged or truncated"):
        open_dataset(path)


def test_truncated_npz_and_pickled_npz(tmp_path):
    arrays = {"z": np.array([1, 1]), "R": np.zeros((4, 2, 3)), "E": np.zeros(4), "F": np.zeros((4, 2, 3))}
    np.savez(tmp_path / "a.npz", **arrays)
    cut(tmp_path / "a.npz", 0.6)
    with pytest.raises(DataError, match=r"a.npz: damaged"):
        open_dataset(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", **{**arrays, "E": np.array([object()] * 4)})
    with pytest.raises(DataError, match="unsafe"):
        open_dataset(tmp_path / "b.npz")
    np.savez(tmp_path / "c.npz", **{**arrays, "F": np.zeros((4, 3, 3))})
    with pytest.raises(DataError, match=r"expected forces of shape \(4, 2, 3\) .* found \(4, 3, 3\)"):
        open_dataset(tmp_path / "c.npz")
    np.savez(tmp_path / "d.npz", R=arrays["R"])
    with pytest.raises(DataError, match="expected an array named nuclear_charges or z, found R"):
        open_dataset(tmp_path / "d.npz")


def test_truncated_hdf5_and_foreign_hdf5(tmp_path):
    h5py = pytest.importorskip("h5py")
    write_hdf5(tmp_path / "a.h5", dataset(crystals(5)))
    cut(tmp_path / "a.h5", 0.5)
    with pytest.raises(DataError, match=r"a.h5: damaged or truncated HDF5"):
        open_dataset(tmp_path / "a.h5")
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["x"] = [1]
    with pytest.raises(DataError, match="expected simkit-frames version 1"):
        open_dataset(tmp_path / "b.h5")


def test_truncated_and_missing_shard(tmp_path):
    write_shards(dataset(crystals(5)), tmp_path / "a", frames_per_shard=2)
    shard = tmp_path / "a" / "shard-00001.lmdb"
    cut(shard, 0.5)
    with pytest.raises(DataError, match=r"shard-00001.lmdb: expected \d+ bytes, found \d+"):
        open_dataset(tmp_path / "a")
    shard.unlink()
    with pytest.raises(DataError, match="found no such file"):
        open_dataset(tmp_path / "a")
    (tmp_path / "a" / "manifest.json").write_text("{")
    with pytest.raises(DataError, match=r"manifest.json: cannot be read"):
        open_dataset(tmp_path / "a")


def test_truncated_trajectory_and_database(tmp_path):
    with Trajectory(tmp_path / "a.traj", "w") as trajectory:
        for atoms in crystals(3):
            trajectory.write(atoms)
    cut(tmp_path / "a.traj", 0.5)
    with pytest.raises(DataError, match=r"a.traj"):
        list(open_dataset(tmp_path / "a.traj"))
    with connect(tmp_path / "a.db") as database:
        for atoms in crystals(3):
            database.write(atoms)
    cut(tmp_path / "a.db", 0.3)
    with pytest.raises(DataError, match=r"a.db"):
        list(open_dataset(tmp_path / "a.db"))


def test_damaged_json(tmp_path):
    (tmp_path / "a.json").write_text('[{"structure": ')
    with pytest.raises(DataError, match="not JSON, damaged or truncated"):
        open_dataset(tmp_path / "a.json")
    (tmp_path / "a.json").write_text('[{"energy": 1}]')
    with pytest.raises(DataError, match=r"record 0: expected structure and outputs"):
        open_dataset(tmp_path / "a.json")


def test_wrong_shape_of_a_label_names_the_frame(tmp_path):
    frames = crystals(2)
    frames[1].calc.results["stress"] = np.zeros(5)
    with pytest.raises(DataError, match=r"memory:1: expected 6 \(Voigt\) or 3x3 numbers in 'stress'"):
        dataset(frames)
    frames = crystals(2)
    frames[1].info["REF_energy"] = [1.0, 2.0]
    with pytest.raises(DataError, match=r"memory:1: expected one energy in 'REF_energy'"):
        dataset(frames)


def test_nan_positions_name_the_frame():
    frames = crystals(2)
    frames[1].positions[2, 0] = np.nan
    with pytest.raises(DataError, match=r"memory:1: .*NaN or infinity at atoms \[2\]"):
        dataset(frames)
    positions = np.zeros((2, 1, 3))
    positions[1] = np.inf
    with pytest.raises(DataError, match=r"a:1: expected finite positions"):
        ArrayDataset((Path("a"),), np.array([1]), positions)[1]


@pytest.mark.parametrize("label", ["energy", "forces", "stress"])
def test_nan_labels_never_reach_a_batch(label):
    frames = crystals(3)
    results = frames[1].calc.results
    results[label] = np.nan if label == "energy" else results[label] * np.nan
    data = dataset(frames)
    collate([data[0], data[2]], 4.0)
    with pytest.raises(DataError, match=f"memory:1: expected finite {label}"):
        collate(list(data), 4.0)
