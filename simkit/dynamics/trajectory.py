"""Trajectories in compressed HDF5 files that survive kills and can be read while they grow."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from torch import Tensor

from simkit.datasets.resource import import_h5py
from simkit.datasets.trajectory import FORMAT, VERSION, open_trajectory
from simkit.dynamics.state import MDState
from simkit.errors import DataError, SimkitError
from simkit.files import atomic_path
from simkit.flows import Observer
from simkit.units import DALTON, UNITS

CHUNK_BYTES = 1 << 20
"""Most bytes that are compressed together."""

STATIC = ("numbers", "masses", "offsets", "pbc", "charge", "spin", "head", "tags", "fixed")
"""Datasets that do not grow; ``offsets`` are the first atoms of the systems, and the number of all."""

TRAJECTORY_UNITS = UNITS | {"momenta": "u·Å/fs", "masses": "u"}


class TrajectoryFile(Observer[MDState]):
    """Every ``every``-th state of a run in one HDF5 file, for ``simkit.datasets.open_dataset`` and any HDF5 reader.

    Datasets that grow have a row for each frame: ``step``; ``time`` (fs), ``energy`` (eV), ``temperature`` (K),
    ``cell`` (Å), ``virial`` (eV) and ``running`` for each system; ``positions`` (Å, not wrapped into the cell),
    ``momenta`` (u·Å/fs) and ``forces`` (eV/Å) for all atoms of all systems, in the order of ``offsets``. Units are
    attributes. Others can read the file while it grows, with HDF5's ``swmr=True``.

    Args:
        path: of the file.
        every: steps between frames.
        precision: of positions, momenta and forces. float32 has about 1e-6 Å in a cell of 10 Å, at half the size.
        momenta: store momenta.
        forces: store forces.
        frames_per_chunk: frames that are compressed together, and kept in memory until they are written; best the
            number of frames between two checkpoints.
        compression: gzip level from 0 (none) to 9; higher ones gain little.

    Raises:
        MissingExtraError: h5py is not installed.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        every: int,
        *,
        precision: Literal["float32", "float64"] = "float32",
        momenta: bool = True,
        forces: bool = True,
        frames_per_chunk: int = 10,
        compression: int = 1,
    ) -> None:
        self.path = Path(path)
        self.every = every
        self.precision = precision
        self.compression = compression
        self.frames_per_chunk = max(1, min(frames_per_chunk, 1000))
        self._skipped = ({"momenta"} if not momenta else set()) | ({"forces"} if not forces else set())
        self._h5py = import_h5py()
        self._file: Any = None
        self._rows: list[dict[str, np.ndarray]] = []

    def begin(self, state: MDState, saved: Any | None) -> None:
        """Make the file, or open it and cut off what was written after the checkpoint.

        Raises:
            SimkitError: the file is shorter than at the checkpoint, or damaged, or the state has no energy.
        """
        if state.energy is None:
            raise SimkitError("expected a state with energy and forces, found none: apply the force field to it first")
        if saved is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.unlink(missing_ok=True)  # HDF5 refuses to overwrite a file that somebody reads
            self._file = self._h5py.File(self.path, "w", libver=("v110", "v110"))
            self._create(state)
        else:
            self._file = _reopened(self._h5py, self.path, int(saved))
        self._file.swmr_mode = True  # from here on the file is whole at any moment, also for other readers

    def observe(self, step: int, state: MDState, running: Sequence[bool]) -> None:
        """Keep the frame; it is written when a chunk is full, or a checkpoint is."""
        self._rows.append(self._frame(step, state, running))
        if len(self._rows) >= self.frames_per_chunk:
            self._flush()

    def save(self) -> int:
        """The number of frames, all of which are on the disk."""
        self._flush()
        with self.path.open("rb") as file:
            os.fsync(file.fileno())
        return len(self._file["step"])

    def close(self) -> None:
        """Write what is left and close the file."""
        if self._file is not None:
            self._flush()
            self._file.close()
            self._file = None

    def _frame(self, step: int, state: MDState, running: Sequence[bool]) -> dict[str, np.ndarray]:
        values: dict[str, Any] = {
            "step": np.array(step),
            "running": np.array(running),
            "time": state.time,
            "energy": state.energy,
            "temperature": state.temperature(),
            "cell": state.system.cell,
            "virial": state.virial,
            "positions": state.system.positions,
            "momenta": state.momenta / DALTON,
            "forces": state.forces,
        }
        known = {name: value for name, value in values.items() if value is not None and name not in self._skipped}
        return {name: np.asarray(_array(value), dtype=self._kind(name)) for name, value in known.items()}

    def _kind(self, name: str) -> str:
        if name in ("positions", "momenta", "forces"):
            return self.precision
        return {"step": "int64", "running": "bool"}.get(name, "float64")

    def _create(self, state: MDState) -> None:
        system = state.system
        self._file.attrs["format"], self._file.attrs["version"] = FORMAT, VERSION
        values = {name: getattr(system, name, None) for name in STATIC}
        values["masses"] = state.masses / DALTON
        values["offsets"] = np.concatenate([[0], np.cumsum(system.counts.cpu().numpy())])
        for name, value in values.items():
            if value is not None:
                self._labelled(self._file.create_dataset(name, data=_array(value)), name)
        for name, row in self._frame(0, state, [True] * state.n_systems).items():
            size: dict[str, Any] = {"shape": (0, *row.shape), "maxshape": (None, *row.shape), "dtype": row.dtype}
            if row.ndim:
                each = max(row[:1].nbytes, 1)  # of one atom or system
                rows = min(self.frames_per_chunk, max(1, CHUNK_BYTES // max(row.nbytes, 1)))
                size["chunks"] = (rows, max(1, min(CHUNK_BYTES // each, len(row))), *row.shape[1:])
                size |= {"shuffle": True, "compression": "gzip", "compression_opts": self.compression}
            else:
                size["chunks"] = (1024,)
            self._labelled(self._file.create_dataset(name, **size), name)

    def _labelled(self, dataset: Any, name: str) -> None:
        if name in TRAJECTORY_UNITS:
            dataset.attrs["unit"] = TRAJECTORY_UNITS[name]

    def _flush(self) -> None:
        rows, self._rows = self._rows, []
        if not rows:
            return
        first = len(self._file["step"])
        names = [name for name in self._file if name not in STATIC]
        if any(name not in row for row in rows for name in names):
            raise SimkitError(f"expected states with {', '.join(names)}, as the first one had; found one with less")
        for name in names:
            dataset = self._file[name]
            dataset.resize(first + len(rows), axis=0)
            dataset[first:] = np.stack([row[name] for row in rows])
        self._file.flush()


def _array(value: Any) -> np.ndarray:
    return value.detach().cpu().numpy() if isinstance(value, Tensor) else value


def _reopened(h5py: Any, path: Path, frames: int) -> Any:
    """The file with its first frames alone. One that a killed process has left marked as open is copied."""
    try:
        file = h5py.File(path, "r+", libver=("v110", "v110"))
    except OSError:
        _copy(h5py, path, frames)
        file = h5py.File(path, "r+", libver=("v110", "v110"))
    try:
        _cut(file, path, frames)
    except BaseException:
        file.close()
        raise
    return file


def _copy(h5py: Any, path: Path, frames: int) -> None:
    try:
        with (
            open_trajectory(path) as old,
            atomic_path(path) as temporary,
            h5py.File(temporary, "w", libver=("v110", "v110")) as new,
        ):
            new.attrs.update(old.attrs)
            for name in old:
                old.copy(name, new)
            _cut(new, path, frames)
    except (DataError, OSError) as error:
        raise SimkitError(
            f"{path}: expected the trajectory of the run that continues, found a file that cannot be read ({error}): "
            "put it back, or delete its folder and start anew"
        ) from error


def _cut(file: Any, path: Path, frames: int) -> None:
    growing = [name for name in file if name not in STATIC]
    shortest = min((len(file[name]) for name in growing), default=0)
    if shortest < frames:
        raise SimkitError(
            f"{path} was changed: expected at least {frames} frames, as at the last checkpoint, found {shortest}. Put "
            "the file back, or delete its folder and start anew"
        )
    for name in growing:
        file[name].resize(frames, axis=0)
