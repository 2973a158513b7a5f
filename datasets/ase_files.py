"""ASE databases and trajectories."""

from __future__ import annotations

import os
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from ase import Atoms

from simkit.datasets.ase_frames import LabelKeys, detect_keys, frame_from_atoms
from simkit.datasets.base import Dataset, Frame
from simkit.datasets.resource import PerProcess
from simkit.errors import DataError


class AseDatabase(Dataset):
    """Rows of an ASE database (sqlite), in the order of their ids; key-value pairs become ``info``."""

    def __init__(self, path: str | os.PathLike[str], keys: LabelKeys | None = None) -> None:
        self.path = Path(path)
        self._database: PerProcess[Any] = PerProcess(partial(_connect, self.path), _leave)
        try:
            self.ids = sorted(row.id for row in self._database.get().select(columns=["id"], include_data=False))
        except Exception as error:  # sqlite3 errors, and KeyError or struct errors for foreign tables
            raise DataError(f"{self.path}: cannot be read as an ASE database ({error}); copy it again") from error
        if not self.ids:
            raise DataError(f"{self.path} is empty: expected at least one row")
        self.keys = detect_keys(keys or LabelKeys(), (self.atoms(i) for i in range(min(32, len(self)))), str(path))

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> Frame:
        return frame_from_atoms(self.atoms(index), self.keys, f"{self.path.name}:{index}")

    @property
    def files(self) -> tuple[Path, ...]:
        """The file."""
        return (self.path,)

    def atoms(self, index: int) -> Atoms:
        """Row ``index`` (not id) as ASE atoms."""
        try:
            row = self._database.get().get(id=self.ids[index])
            atoms = row.toatoms()
        except IndexError:
            raise
        except Exception as error:  # sqlite3.DatabaseError, json and struct errors of damaged rows
            raise DataError(f"{self.path}: row {index} (id {self.ids[index]}) is damaged ({error})") from error
        atoms.info.update(row.key_value_pairs)
        return atoms


class AseTrajectory(Dataset):
    """Images of an ASE trajectory file."""

    def __init__(self, path: str | os.PathLike[str], keys: LabelKeys | None = None) -> None:
        self.path = Path(path)
        self._reader: PerProcess[Any] = PerProcess(partial(_open_trajectory, self.path), _close)
        self.length = len(self._reader.get())
        if not self.length:
            raise DataError(f"{self.path} is empty: expected at least one image")
        sample = islice((self.atoms(index) for index in range(self.length)), 32)
        self.keys = detect_keys(keys or LabelKeys(), sample, str(path))

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Frame:
        return frame_from_atoms(self.atoms(index), self.keys, f"{self.path.name}:{index}")

    @property
    def files(self) -> tuple[Path, ...]:
        """The file."""
        return (self.path,)

    def atoms(self, index: int) -> Atoms:
        """Image ``index`` as ASE atoms."""
        if not 0 <= index < self.length:
            raise IndexError(index)
        try:
            return self._reader.get()[index]
        except Exception as error:  # the reader raises struct, JSON, numpy or key errors for damaged images
            raise DataError(f"{self.path}: image {index} is damaged or cut off ({error}); copy it again") from error


def _connect(path: Path) -> Any:
    from ase.db import connect

    return connect(path, type="db")


def _leave(database: Any) -> None:
    """ASE opens and closes the database at each access: there is nothing to close."""


def _open_trajectory(path: Path) -> Any:
    from ase.io.trajectory import Trajectory

    try:
        return Trajectory(path)
    except Exception as error:  # the reader raises struct, JSON, numpy or key errors for damaged files
        raise DataError(f"{path}: cannot be read as an ASE trajectory ({error}); copy it again") from error


def _close(reader: Any) -> None:
    reader.close()
