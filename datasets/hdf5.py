"""Frames in one HDF5 file: flat arrays that any language reads, units as attributes."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from simkit.datasets.base import Dataset, Frame, Labels
from simkit.datasets.encoding import plain
from simkit.datasets.resource import PerProcess, import_h5py
from simkit.errors import DataError
from simkit.files import atomic_path
from simkit.progress import Progress, Silent
from simkit.system import System
from simkit.units import UNITS

FORMAT = "simkit-frames"
VERSION = 1
CHUNK = 256
"""Number of frames written at a time."""

COLUMNS: dict[str, tuple[str, tuple[int, ...], str, float]] = {
    "numbers": ("atom", (), "i4", 0),
    "positions": ("atom", (3,), "f8", np.nan),
    "tags": ("atom", (), "i4", -1),
    "fixed": ("atom", (), "i1", -1),
    "forces": ("atom", (3,), "f8", np.nan),
    "cell": ("frame", (3, 3), "f8", np.nan),
    "pbc": ("frame", (3,), "i1", 0),
    "charge": ("frame", (), "f8", np.nan),
    "spin": ("frame", (), "f8", np.nan),
    "head": ("frame", (), "i4", -1),
    "energy": ("frame", (), "f8", np.nan),
    "stress": ("frame", (3, 3), "f8", np.nan),
    "weight": ("frame", (), "f8", 1),
}
"""Datasets of the file: one row per atom or per frame, shape of a row, type, and what stands for an absent value."""

LABELS = ("energy", "forces", "stress")


class Hdf5Dataset(Dataset):
    """Frames of a file that :func:`write_hdf5` made; about 200 bytes of each are kept in memory.

    Rows ``offsets[i]`` to ``offsets[i + 1]`` of the datasets per atom belong to frame ``i``. ``present`` has a row of
    three flags per frame: whether it has an energy, forces, a stress. ``name``, ``group`` and ``other`` (JSON with the
    frame's ``info`` and ``arrays``) are strings. The attribute ``unit`` of a dataset is its unit, ``used`` says whether
    any frame has a value there.

    Raises:
        DataError: another file, or a truncated one.
        MissingExtraError: h5py is not installed.
    """

    def __init__(self, path: str | os.PathLike[str], *, head: int | None = None) -> None:
        self.path = Path(path)
        self.head = head
        self._file: PerProcess[Any] = PerProcess(partial(_open, self.path), _close)
        file = self._file.get()
        found = (file.attrs.get("format"), file.attrs.get("version"))
        if found != (FORMAT, VERSION):
            raise DataError(f"{self.path}: expected {FORMAT} version {VERSION}, found {found}")
        self.offsets = file["offsets"][:]
        self._present = file["present"][:].astype(bool)
        self._columns = {name: file[name][:] for name, column in COLUMNS.items() if column[0] == "frame"}
        self._per_atom = [n for n, column in COLUMNS.items() if column[0] == "atom" and file[n].attrs["used"]]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> Frame:
        if not 0 <= index < len(self):
            raise IndexError(index)
        file, rows = self._file.get(), slice(int(self.offsets[index]), int(self.offsets[index + 1]))
        try:
            values = {name: torch.from_numpy(file[name][rows]) for name in self._per_atom}
            name, group, other = (file[key][index].decode() for key in ("name", "group", "other"))
        except (OSError, KeyError) as error:
            raise DataError(f"{self.path}: frame {index} cannot be read ({error}): the file is damaged") from error
        values |= {key: torch.from_numpy(column[index : index + 1].copy()) for key, column in self._columns.items()}
        present = dict(zip(LABELS, self._present[index].tolist(), strict=True))
        data = json.loads(other)
        arrays = {key: np.array(value) for key, value in data["arrays"].items()}
        labels = Labels(**{label: values[label] if present[label] else None for label in LABELS})
        weight = float(values["weight"])
        return Frame(self._system(values), labels, name, group, weight, info=data["info"], arrays=arrays)

    def _system(self, values: dict[str, torch.Tensor]) -> System:
        head = values["head"].long() if self.head is None else torch.tensor([self.head])
        return System(
            positions=values["positions"],
            numbers=values["numbers"].long(),
            cell=values["cell"],
            pbc=values["pbc"].bool(),
            batch=torch.zeros(len(values["numbers"]), dtype=torch.int64),
            charge=None if values["charge"].isnan().any() else values["charge"],
            spin=None if values["spin"].isnan().any() else values["spin"],
            head=None if (head < 0).any() else head,
            tags=values["tags"].long() if "tags" in values and (values["tags"] >= 0).all() else None,
            fixed=values["fixed"].bool() if "fixed" in values and (values["fixed"] >= 0).all() else None,
        )

    @property
    def files(self) -> tuple[Path, ...]:
        """The file."""
        return (self.path,)

    def atom_counts(self) -> np.ndarray:
        """Number of atoms of each frame."""
        return np.diff(self.offsets)


def _open(path: Path) -> Any:
    try:
        return import_h5py().File(path, "r")
    except OSError as error:
        raise DataError(f"{path}: damaged or truncated HDF5 file ({error}); copy it again") from error


def _close(file: Any) -> None:
    file.close()


def write_hdf5(path: str | os.PathLike[str], frames: Iterable[Frame], progress: Progress | None = None) -> int:
    """Write frames to an HDF5 file, a few hundred at a time; it appears when it is whole.

    Returns the number of frames.
    """
    h5py = import_h5py()
    total = len(frames) if isinstance(frames, Dataset) else 0
    written = 0
    with (
        atomic_path(path) as temporary,
        h5py.File(temporary, "w") as file,
        (progress or Silent()).task(f"writing {Path(path).name}", total) as task,
    ):
        _create(file, h5py)
        pending: list[Frame] = []
        for frame in frames:
            pending.append(frame)
            written += 1
            task.advance()
            if len(pending) == CHUNK:
                _append(file, pending)
                pending = []
        _append(file, pending)
        if not written:
            raise DataError(f"expected at least one frame to write to {path}, found none")
    return written


def _create(file: Any, h5py: Any) -> None:
    file.attrs["format"], file.attrs["version"] = FORMAT, VERSION
    for name, (_, shape, kind, _) in COLUMNS.items():
        column = file.create_dataset(name, (0, *shape), maxshape=(None, *shape), dtype=kind, chunks=(4096, *shape))
        column.attrs["used"] = False
        if name in UNITS:
            column.attrs["unit"] = UNITS[name]
    file.create_dataset("offsets", data=[0], maxshape=(None,), dtype="i8", chunks=(4096,))
    file.create_dataset("present", (0, 3), maxshape=(None, 3), dtype="i1", chunks=(4096, 3))
    file["present"].attrs["columns"] = list(LABELS)
    for name in ("name", "group", "other"):
        file.create_dataset(name, (0,), maxshape=(None,), dtype=h5py.string_dtype(), chunks=(1024,))


def _append(file: Any, frames: list[Frame]) -> None:
    if not frames:
        return
    atoms = [frame.system.n_atoms for frame in frames]
    for name, (per, shape, kind, fill) in COLUMNS.items():
        rows = [
            _rows(frame, name, n if per == "atom" else 1, shape, fill) for frame, n in zip(frames, atoms, strict=True)
        ]
        _extend(file[name], np.concatenate(rows).astype(kind))
        file[name].attrs["used"] |= any(_value(frame, name) is not None for frame in frames)
    _extend(file["offsets"], file["offsets"][-1] + np.cumsum(atoms))
    _extend(file["present"], np.array([[getattr(f.labels, label) is not None for label in LABELS] for f in frames]))
    _extend(file["name"], np.array([frame.name for frame in frames], dtype=object))
    _extend(file["group"], np.array([frame.group for frame in frames], dtype=object))
    others = [json.dumps({"info": plain(frame.info), "arrays": plain(frame.arrays)}) for frame in frames]
    _extend(file["other"], np.array(others, dtype=object))


def _value(frame: Frame, name: str) -> torch.Tensor | None:
    if name == "weight":
        return torch.tensor([frame.weight])
    return getattr(frame.labels, name) if name in LABELS else getattr(frame.system, name)


def _rows(frame: Frame, name: str, count: int, shape: tuple[int, ...], fill: float) -> np.ndarray:
    value = _value(frame, name)
    return np.full((count, *shape), fill) if value is None else value.detach().cpu().numpy()


def _extend(column: Any, rows: np.ndarray) -> None:
    first = len(column)
    column.resize(first + len(rows), axis=0)
    column[first:] = rows
