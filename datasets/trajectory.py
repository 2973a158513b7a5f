"""Trajectories of molecular dynamics in HDF5, as :class:`simkit.dynamics.TrajectoryFile` writes them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms, units
from ase.data import atomic_masses
from numpy import ndarray

from simkit.datasets.ase_frames import atoms_from_frame
from simkit.datasets.base import Dataset, Frame, Labels
from simkit.datasets.resource import PerProcess, import_h5py
from simkit.errors import DataError
from simkit.system import System

FORMAT = "simkit-trajectory"
VERSION = 1
PER_SYSTEM = ("time", "energy", "temperature", "cell", "virial")
PER_ATOM = ("positions", "momenta", "forces")


class TrajectoryDataset(Dataset):
    """Frames of a trajectory: all of the first system in order of time, then all of the second, and so on.

    Energies, forces and stress are the labels; ``info`` has ``time_fs``, ``step``, ``system`` and ``temperature_k``,
    ``arrays`` the momenta in ASE's units. Frames after a system had stopped are left out. A file that is being written,
    or that a killed process has left, can be read too.

    Raises:
        DataError: another file, or a damaged one.
        MissingExtraError: h5py is not installed.
    """

    def __init__(self, path: str | os.PathLike[str], *, head: int | None = None) -> None:
        self.path = Path(path)
        self.head = head
        self._file: PerProcess[Any] = PerProcess(partial(open_trajectory, self.path), _close)
        file = self._file.get()
        found = (file.attrs.get("format"), file.attrs.get("version"))
        if found != (FORMAT, VERSION):
            raise DataError(f"{self.path}: expected {FORMAT} version {VERSION}, found {found}")
        self.offsets: ndarray = file["offsets"][:]
        length = min(len(file[name]) for name in file if name in ("step", "running", *PER_SYSTEM, *PER_ATOM))
        running = file["running"][:length]
        self._chunk: int = file["positions"].chunks[0]
        self._block: tuple[tuple[int, int], dict[str, ndarray]] = ((-1, -1), {})
        self._frames = [np.flatnonzero(running[:, system]) for system in range(self.n_systems)]
        self._starts = np.concatenate([[0], np.cumsum([len(frames) for frames in self._frames])])
        self._static = {name: file[name][:] for name in _names(file, "numbers", "masses", "pbc", "tags", "fixed")}
        self._static |= {name: file[name][:] for name in _names(file, "charge", "spin", "head")}
        if len(self) == 0:
            raise DataError(f"{self.path}: expected at least one frame, found none")

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, index: int) -> Frame:
        if not 0 <= index < len(self):
            raise IndexError(index)
        one = int(np.searchsorted(self._starts, index, side="right")) - 1
        row = int(self._frames[one][index - self._starts[one]])
        atoms = slice(int(self.offsets[one]), int(self.offsets[one + 1]))
        block = self._read(one, row // self._chunk, index)
        values = {name: rows[row % self._chunk] for name, rows in block.items()}
        system = self._system(one, atoms, values)
        info = {
            "step": int(values["step"]),
            "time_fs": float(values["time"]),
            "temperature_k": float(values["temperature"]),
        }
        arrays = {}
        if "momenta" in values:
            arrays["momenta"] = values["momenta"] / units.fs
        masses = self._static["masses"][atoms]
        if not np.allclose(masses, atomic_masses[self._static["numbers"][atoms]], rtol=1e-6):
            arrays["masses"] = masses
        several = self.n_systems > 1
        return Frame(
            system,
            _labels(values, system),
            f"{self.path.name}:{index}",
            f"system {one}" if several else "",
            info=info | ({"system": one} if several else {}),
            arrays=arrays,
        )

    @property
    def n_systems(self) -> int:
        """Number of systems."""
        return len(self.offsets) - 1

    @property
    def files(self) -> tuple[Path, ...]:
        """The file."""
        return (self.path,)

    def atom_counts(self) -> ndarray:
        """Number of atoms of each frame."""
        return np.repeat(np.diff(self.offsets), np.diff(self._starts))

    def frames_of(self, system: int) -> range:
        """Indices of the frames of one system.

        Raises:
            DataError: no such system.
        """
        self._require_system(system)
        return range(int(self._starts[system]), int(self._starts[system + 1]))

    def array(self, name: str, system: int = 0) -> ndarray:
        """One quantity of all frames of a system, read at once.

        Args:
            name: ``positions`` (Å, not wrapped), ``momenta`` (u·Å/fs), ``forces`` (eV/Å), ``time`` (fs), ``energy``
                (eV), ``temperature`` (K), ``cell`` (Å) or ``virial`` (eV).
            system: its index.

        Raises:
            DataError: the file does not hold it, or no such system.
        """
        self._require_system(system)
        file = self._file.get()
        if name not in (*PER_SYSTEM, *PER_ATOM) or name not in file:
            there = ", ".join(_names(file, *PER_SYSTEM, *PER_ATOM))
            raise DataError(f"{self.path}: expected one of {there}; found {name!r}")
        length = int(self._frames[system][-1]) + 1 if len(self._frames[system]) else 0
        rows = slice(int(self.offsets[system]), int(self.offsets[system + 1])) if name in PER_ATOM else system
        return np.asarray(file[name][:length, rows][self._frames[system]])

    def _require_system(self, system: int) -> None:
        if not 0 <= system < len(self._frames):
            raise DataError(f"{self.path}: expected a system from 0 to {len(self._frames) - 1}, found {system}")

    def atoms(self) -> Iterator[Atoms]:
        """The frames as ASE atoms with momenta, energies, forces and stress."""
        return (atoms_from_frame(frame) for frame in self)

    def _read(self, system: int, chunk: int, index: int) -> dict[str, ndarray]:
        """Rows that are compressed together, of one system; the last ones read are kept."""
        if self._block[0] == (system, chunk):
            return self._block[1]
        file, rows = self._file.get(), slice(chunk * self._chunk, (chunk + 1) * self._chunk)
        atoms = slice(int(self.offsets[system]), int(self.offsets[system + 1]))
        try:
            values = {name: file[name][rows, system] for name in _names(file, *PER_SYSTEM)}
            values |= {name: file[name][rows, atoms].astype(np.float64) for name in _names(file, *PER_ATOM)}
            values["step"] = file["step"][rows]
        except (OSError, KeyError) as error:
            raise DataError(f"{self.path}: frame {index} cannot be read ({error}): the file is damaged") from error
        self._block = ((system, chunk), values)
        return values

    def _system(self, one: int, atoms: slice, values: dict[str, Any]) -> System:
        static = self._static
        each = {name: torch.from_numpy(static[name][one : one + 1]) for name in ("charge", "spin") if name in static}
        head = torch.from_numpy(static["head"][one : one + 1]) if "head" in static else None
        return System(
            positions=torch.from_numpy(values["positions"].copy()),
            numbers=torch.from_numpy(static["numbers"][atoms]).long(),
            cell=torch.from_numpy(values["cell"][None].copy()),
            pbc=torch.from_numpy(static["pbc"][one : one + 1]),
            batch=torch.zeros(atoms.stop - atoms.start, dtype=torch.int64),
            head=head if self.head is None else torch.tensor([self.head]),
            tags=torch.from_numpy(static["tags"][atoms]).long() if "tags" in static else None,
            fixed=torch.from_numpy(static["fixed"][atoms]) if "fixed" in static else None,
            **each,
        )


def is_trajectory(path: str | os.PathLike[str]) -> bool:
    """Whether an HDF5 file holds a trajectory."""
    with open_trajectory(path) as file:
        return bool(file.attrs.get("format") == FORMAT)


def _labels(values: dict[str, Any], system: System) -> Labels:
    stress = None
    if "virial" in values and bool(system.pbc.all()):
        stress = -torch.from_numpy(values["virial"][None]) / system.volume()[:, None, None]
    return Labels(
        energy=torch.tensor([float(values["energy"])], dtype=torch.float64),
        forces=torch.from_numpy(values["forces"].copy()) if "forces" in values else None,
        stress=stress,
    )


def _names(file: Any, *names: str) -> list[str]:
    return [name for name in names if name in file]


def open_trajectory(path: str | os.PathLike[str]) -> Any:
    """An HDF5 file for reading, also while a run writes it, or after that was killed.

    Raises:
        DataError: it is damaged.
        MissingExtraError: h5py is not installed.
    """
    h5py = import_h5py()
    try:
        return h5py.File(path, "r", swmr=_is_being_written(Path(path)))
    except OSError as error:
        raise DataError(f"{path}: damaged or truncated HDF5 file ({error}); copy it again") from error


def _is_being_written(path: Path) -> bool:
    """Whether an HDF5 file is marked so, and is not shorter than it should be: HDF5 would wait for the rest of it."""
    with path.open("rb") as file:
        head = file.read(36)
    version, flags, length = head[8:9], head[11:12], int.from_bytes(head[28:36], "little")
    return version == b"\x03" and flags == b"\x05" and path.stat().st_size >= length


def _close(file: Any) -> None:
    file.close()
