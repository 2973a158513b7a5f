"""Extended XYZ files of any size: random access through an index of byte offsets, streamed writing."""

from __future__ import annotations

import gzip
import io
import os
import shutil
import tempfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

import numpy as np
from ase import Atoms
from ase.io.extxyz import read_xyz, write_xyz

from simkit.datasets.ase_frames import LabelKeys, atoms_from_frame, detect_keys, frame_from_atoms
from simkit.datasets.base import Dataset, Frame
from simkit.datasets.resource import PerProcess
from simkit.errors import DataError
from simkit.files import atomic_path
from simkit.progress import Progress, Silent

SAMPLE = 32
"""Number of frames, evenly spaced, in which label keys are looked for first."""


@dataclass(frozen=True)
class ExtxyzIndex:
    """Where each frame of a file starts.

    Attributes:
        offset: first byte of each frame, and one past the last frame.
        line: number of each frame's first line, from 1.
        atoms: number of atoms of each frame.
    """

    offset: np.ndarray
    line: np.ndarray
    atoms: np.ndarray


class ExtxyzDataset(Dataset):
    """Frames of an extended XYZ file (``.gz`` too, unpacked into a temporary file).

    Memory does not grow with the length of the file, beyond 24 bytes a frame.

    Args:
        path: the file.
        keys: label keys and units; see :class:`LabelKeys`.
        save_index: keep the index of byte offsets beside the file, as ``<name>.index.npz``, for the next time.

    Raises:
        DataError: the file is empty, truncated or not extended XYZ: naming the frame and the line.
    """

    def __init__(self, path: str | os.PathLike[str], keys: LabelKeys | None = None, save_index: bool = False) -> None:
        self.path = Path(path)
        self._file: PerProcess[IO[bytes]] = PerProcess(partial(_open_unpacked, self.path), _close)
        self.index = _load_or_build_index(self.path, self._file.get(), save_index)
        self.keys = self._detect(keys or LabelKeys())

    def _detect(self, keys: LabelKeys) -> LabelKeys:
        every = max(1, len(self) // SAMPLE)
        try:
            return detect_keys(keys, self._readable(range(0, len(self), every)), str(self.path))
        except DataError:
            return detect_keys(keys, self._readable(range(len(self))), str(self.path))

    def _readable(self, indices: range) -> Iterator[Atoms]:
        """The frames that can be read, so that one damaged frame does not hide the others; an error if none can."""
        problem: DataError | None = None
        found = 0
        for index in indices:
            try:
                yield self.atoms(index)
                found += 1
            except DataError as error:
                problem = problem or error
        if problem is not None and not found:
            raise problem

    def __len__(self) -> int:
        return len(self.index.atoms)

    def __getitem__(self, index: int) -> Frame:
        return frame_from_atoms(self.atoms(index), self.keys, f"{self.path.name}:{index}")

    @property
    def files(self) -> tuple[Path, ...]:
        """The file."""
        return (self.path,)

    def atom_counts(self) -> np.ndarray:
        """Number of atoms of each frame, from the index."""
        return self.index.atoms

    def atoms(self, index: int) -> Atoms:
        """Frame ``index`` as ASE atoms, with everything that the file says of it."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        first, last = int(self.index.offset[index]), int(self.index.offset[index + 1])
        raw = os.pread(self._file.get().fileno(), last - first, first)
        try:
            return next(read_xyz(io.StringIO(raw.decode("utf-8")), index=0))
        except Exception as error:  # ASE raises whatever its parser meets: KeyError, ValueError, XYZError, IndexError
            raise DataError(
                f"{self.path}: frame {index} (line {self.index.line[index]}) is not extended XYZ: "
                f"{type(error).__name__}: {error}; correct or remove it"
            ) from error


def _open_unpacked(path: Path) -> IO[bytes]:
    file = path.open("rb")
    if file.read(2) != b"\x1f\x8b":
        file.seek(0)
        return file
    file.close()
    unpacked: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - kept open for the dataset's lifetime
    try:
        with gzip.open(path, "rb") as source:
            shutil.copyfileobj(source, unpacked, 1 << 20)
    except (EOFError, OSError, zlib.error) as error:
        unpacked.close()
        raise DataError(f"{path}: the gzip file is damaged or truncated ({error}); copy it again") from error
    unpacked.seek(0)
    return unpacked


def _close(file: IO[bytes]) -> None:
    file.close()


def _load_or_build_index(path: Path, file: IO[bytes], save: bool) -> ExtxyzIndex:
    if not save:
        return build_index(file, path)
    beside = path.with_name(path.name + ".index.npz")
    stat = path.stat()
    version = np.array([stat.st_size, stat.st_mtime_ns])
    if beside.exists():
        with np.load(beside, allow_pickle=False) as stored:
            if np.array_equal(stored["version"], version):
                return ExtxyzIndex(stored["offset"], stored["line"], stored["atoms"])
    index = build_index(file, path)
    with atomic_path(beside) as temporary, temporary.open("wb") as target:
        np.savez(target, version=version, offset=index.offset, line=index.line, atoms=index.atoms)
    return index


def build_index(file: IO[bytes], path: Path) -> ExtxyzIndex:
    """Find the frames of an open file in one pass.

    Raises:
        DataError: the file is empty, a count of atoms is missing, or the last frame is cut off.
    """
    offsets: list[int] = []
    lines: list[int] = []
    counts: list[int] = []
    file.seek(0)
    reader = iter(file)
    position, number = 0, 0
    for head in reader:
        start, number = position, number + 1
        position += len(head)
        if not head.strip():
            continue
        count = _count(head, path, number, len(counts))
        offsets.append(start)
        lines.append(number)
        counts.append(count)
        columns = 0
        for place in range(count + 1):
            row = next(reader, b"")
            # a last line without its end is whole if it has as many columns as the line of the atom before
            if not row or (place > 1 and not row.endswith(b"\n") and len(row.split()) < columns):
                raise DataError(
                    f"{path}: frame {len(counts) - 1} (line {lines[-1]}) should have {count} atoms, but the file ends "
                    f"at line {number}: it is truncated; copy it again or cut it before line {lines[-1]}"
                )
            position, number = position + len(row), number + 1
            if place == count - 1:
                columns = len(row.split())
    if not counts:
        raise DataError(f"{path} is empty: expected at least one frame")
    return ExtxyzIndex(np.array([*offsets, position]), np.array(lines), np.array(counts))


def _count(head: bytes, path: Path, line: int, frame: int) -> int:
    try:
        return int(head)
    except ValueError:
        found = head[:60].decode(errors="replace")
        raise DataError(
            f"{path}: line {line}: expected the number of atoms of frame {frame}, found {found!r}"
        ) from None


def write_extxyz(path: str | os.PathLike[str], frames: Iterable[Frame], progress: Progress | None = None) -> int:
    """Write frames to an extended XYZ file, one at a time, with ASE's own keys ``energy``, ``forces``, ``stress``.

    Other data of the frames is kept. The file appears when it is whole. Returns the number of frames.
    """
    total = len(frames) if isinstance(frames, Dataset) else 0
    written = 0
    with (
        atomic_path(path) as temporary,
        _text(temporary) as file,
        (progress or Silent()).task(f"writing {Path(path).name}", total) as task,
    ):
        for frame in frames:
            write_xyz(file, [atoms_from_frame(frame)])
            written += 1
            task.advance()
    return written


def _text(path: Path) -> IO[str]:
    if path.suffix == ".gz":
        return io.TextIOWrapper(gzip.GzipFile(path, "wb", mtime=0), encoding="utf-8")
    return path.open("w", encoding="utf-8")
