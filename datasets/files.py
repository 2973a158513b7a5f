"""Open a data file of any format that simkit reads, recognised by what is in it."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from pathlib import Path

from simkit.datasets.ase_files import AseDatabase, AseTrajectory
from simkit.datasets.ase_frames import LabelKeys
from simkit.datasets.base import Dataset
from simkit.datasets.combine import Concatenation
from simkit.datasets.extxyz import ExtxyzDataset
from simkit.datasets.json_records import read_json
from simkit.datasets.numpy_files import read_deepmd, read_npz
from simkit.errors import DataError

FORMATS = {
    "extxyz": "extended XYZ (.xyz, .extxyz, also .gz)",
    "db": "ASE database (sqlite)",
    "traj": "ASE trajectory",
    "npz": "MD17 or revised MD17 arrays",
    "json": "mlearn or ALIGNN records (also .gz)",
    "hdf5": "simkit frames or trajectories in HDF5",
    "shards": "folder of simkit LMDB shards",
    "deepmd": "DeePMD-kit folder of npy files",
}
"""Names for ``format=``."""

Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


def open_dataset(
    path: Paths,
    *,
    format: str | None = None,
    energy_key: str | None = None,
    forces_key: str | None = None,
    stress_key: str | None = None,
    group_key: str | None = None,
    head: int | None = None,
    energy_unit: str | None = None,
    forces_unit: str | None = None,
    stress_unit: str | None = None,
    stress_order: str | None = None,
    save_index: bool = False,
) -> Dataset:
    """The frames of a file, of a folder of shards, or of several files one after the other.

    Args:
        path: a file or folder; a pattern such as ``data/*.xyz`` (matches are sorted); or a list of these.
        format: one of :data:`FORMATS`; None to recognise it from the content.
        energy_key, forces_key, stress_key: where ASE formats keep the labels; None to look for the usual names
            (``REF_energy``, ``dft_energy``, ASE's own ``energy`` ...; what was picked is in ``dataset.keys`` and in the
            log), an empty string to read none.
        group_key: key of ``info`` that names a frame's group; None for ``group``, then ``config_type``.
        head: index of the level of theory given to every frame.
        energy_unit, forces_unit, stress_unit: units of the file, e.g. ``kcal/mol``, ``Hartree/Bohr``, ``GPa``; None for
            what the frames declare, else the format's own (eV, eV/Å, eV/Å³; npz: kcal/mol).
        stress_order: order of the shear stresses in JSON records; see :func:`~simkit.datasets.json_records.read_json`.
        save_index: keep the index of a long extended XYZ file beside it.

    Raises:
        DataError: nothing there, an unknown format, or a damaged file.
    """
    keys = LabelKeys(energy_key, forces_key, stress_key, group_key, head, energy_unit, forces_unit, stress_unit)
    parts = [
        _open_one(one, format or detect_format(one), keys, save_index=save_index, stress_order=stress_order)
        for one in _expanded(path)
    ]
    return parts[0] if len(parts) == 1 else Concatenation(parts)


def _open_one(path: Path, format: str, keys: LabelKeys, *, save_index: bool, stress_order: str | None) -> Dataset:
    if format not in FORMATS:
        raise DataError(f"expected format to be one of {', '.join(FORMATS)}, found {format!r}")
    if format == "extxyz":
        return ExtxyzDataset(path, keys, save_index)
    if format == "db":
        return AseDatabase(path, keys)
    if format == "traj":
        return AseTrajectory(path, keys)
    _refuse_keys(keys, format, path)
    if format == "npz":
        return read_npz(path, energy_unit=keys.energy_unit or "kcal/mol", forces_unit=keys.forces_unit, head=keys.head)
    if format == "json":
        return read_json(path, head=keys.head, stress_order=stress_order)
    if format == "deepmd":
        parts = read_deepmd(path, head=keys.head)
        return parts[0] if len(parts) == 1 else Concatenation(parts)
    if format == "hdf5":
        from simkit.datasets.hdf5 import Hdf5Dataset
        from simkit.datasets.trajectory import TrajectoryDataset, is_trajectory

        if is_trajectory(path):
            return TrajectoryDataset(path, head=keys.head)
        return Hdf5Dataset(path, head=keys.head)
    from simkit.datasets.shards import ShardDataset

    return ShardDataset(path, head=keys.head)


def _refuse_keys(keys: LabelKeys, format: str, path: Path) -> None:
    given = {name: value for name, value in keys.__dict__.items() if value is not None and name != "head"}
    allowed = {"energy_unit", "forces_unit"} if format == "npz" else set()
    if set(given) - allowed:
        raise DataError(
            f"{path}: the format {format} has fixed keys and units; remove {', '.join(set(given) - allowed)}"
        )


def _expanded(path: Paths) -> list[Path]:
    if not isinstance(path, str | os.PathLike):
        files = [file for one in path for file in _expanded(one)]
        if not files:
            raise DataError("expected at least one data file, found an empty list")
        return files
    text = os.fspath(path)
    if Path(text).exists():
        return [Path(text)]
    if glob.has_magic(text):
        matches = sorted(glob.glob(text, recursive=True))
        if matches:
            return [Path(match) for match in matches]
        raise DataError(f"no file matches {text} (looked from {Path.cwd()})")
    folder = Path(text).absolute().parent
    there = ", ".join(sorted(file.name for file in folder.iterdir())[:8]) if folder.is_dir() else "no such folder"
    raise DataError(f"{text}: no such file; in {folder} there is: {there or 'nothing'}")


def detect_format(path: Path) -> str:
    """Name of the format, from the first bytes and the suffix.

    Raises:
        DataError: empty or not recognised.
    """
    if path.is_dir():
        if (path / "manifest.json").exists():
            return "shards"
        if (path / "type.raw").exists():
            return "deepmd"
        raise DataError(f"{path}: expected a folder of shards (manifest.json) or a DeePMD-kit system (type.raw)")
    with path.open("rb") as file:
        head = file.read(64)
    if not head:
        raise DataError(f"{path} is empty")
    name = path.name.lower().removesuffix(".gz")
    magic = {b"SQLite format 3": "db", b"- of Ulm": "traj", b"PK\x03\x04": "npz", b"\x89HDF\r\n\x1a\n": "hdf5"}
    for start, format in magic.items():
        if head.startswith(start):
            return format
    suffixes = {".xyz": "extxyz", ".extxyz": "extxyz", ".json": "json", ".npz": "npz", ".db": "db", ".traj": "traj"}
    suffixes |= {".h5": "hdf5", ".hdf5": "hdf5"}
    for suffix, format in suffixes.items():
        if name.endswith(suffix):
            return format
    if head.strip().split(b"\n")[0].strip().isdigit():
        return "extxyz"
    known = "; ".join(f"{key}: {text}" for key, text in FORMATS.items())
    raise DataError(f"{path}: unknown format; expected one of: {known}. If it is one of them, say format=...")
