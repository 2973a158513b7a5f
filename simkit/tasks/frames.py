"""Structures with their results, read from and written to files one by one, through ASE."""

from __future__ import annotations

import io
import os
import re
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import iread
from ase.io.extxyz import write_extxyz

from simkit.datasets.ase_frames import atoms_from_frame
from simkit.datasets.files import open_dataset
from simkit.errors import DataError, InvalidSystemError, UnsupportedElementError

EXTXYZ = (".xyz", ".extxyz")
HDF5 = (".h5", ".hdf5")


def read_frames(path: str | os.PathLike[str]) -> Iterator[Atoms]:
    """Every frame of a file in any format that ASE reads, or of HDF5, without holding them all in memory.

    Raises:
        DataError: no such file, or a frame that cannot be read.
    """
    source = Path(path)
    if not source.is_file():
        raise DataError(f"expected a structure file, found none at {source}: check the path")
    if source.suffix in HDF5:
        yield from map(atoms_from_frame, open_dataset(source))
        return
    index = 0
    frames = iter(iread(source, index=":", format="extxyz" if source.suffix in EXTXYZ else None))
    while True:
        try:
            frame = next(frames)
        except StopIteration:
            break
        except Exception as error:  # ASE's readers raise whatever they meet
            raise DataError(
                f"{source}: frame {index} cannot be read ({type(error).__name__}: {error}); "
                "the file may be truncated or not of the format that its suffix says"
            ) from error
        yield frame
        index += 1
    if index == 0:
        raise DataError(f"{source}: expected at least one structure, found none")


def count_frames(path: str | os.PathLike[str]) -> int:
    """Number of frames of a file; extended XYZ is skipped through without parsing it."""
    source = Path(path)
    if source.suffix in HDF5 and source.is_file():
        return len(open_dataset(source))
    if source.suffix not in EXTXYZ or not source.is_file():
        return sum(1 for _ in read_frames(source))
    count = 0
    with source.open("rb") as file:
        while line := file.readline().strip():
            try:
                skipped = int(line) + 1
            except ValueError:
                raise DataError(
                    f"{source}: frame {count} should start with its number of atoms, found {line[:40]!r}"
                ) from None
            for _ in range(skipped):
                if not file.readline():
                    raise DataError(
                        f"{source}: frame {count} should have {skipped - 1} atoms, but the file ends before: it is "
                        "truncated; copy it again"
                    )
            count += 1
    return count


def read_frame(path: str | os.PathLike[str], index: int = -1) -> Atoms:
    """One frame of a file, read without holding the others in memory; the last by default.

    Raises:
        DataError: no such file or frame.
    """
    if Path(path).suffix in HDF5 and Path(path).is_file():
        frames = open_dataset(path)
        if not -len(frames) <= index < len(frames):
            raise _no_frame(path, index, len(frames))
        return atoms_from_frame(frames[index % len(frames)])
    count = 0
    last: deque[Atoms] = deque(maxlen=max(-index, 1))
    for frame in read_frames(path):
        last.append(frame)
        count += 1
        if count == index + 1:
            return frame
    if not -count <= index < 0:
        raise _no_frame(path, index, count)
    return last[0]


def _no_frame(path: str | os.PathLike[str], index: int, count: int) -> DataError:
    return DataError(f"{path}: expected a frame from 0 to {count - 1}, or from -{count} to -1; found {index}")


def frame_name(path: str | os.PathLike[str], index: int, atoms: Atoms) -> str:
    """How messages call a frame."""
    return f"{Path(path).name}, frame {index} ({atoms.get_chemical_formula()})"


@contextmanager
def naming(name: str) -> Iterator[None]:
    """Say in errors about a structure which one it is."""
    try:
        yield
    except (InvalidSystemError, UnsupportedElementError) as error:
        message = re.sub(r"^frame 0 \(\w*\): ", "", str(error))
        raise type(error)(f"{name}: {message}") from error


def extxyz_text(atoms: Atoms) -> str:
    """A frame with its results as extended XYZ."""
    buffer = io.StringIO()
    write_extxyz(buffer, [atoms])
    return buffer.getvalue()


def write_frames(path: str | os.PathLike[str], frames: Iterable[Atoms]) -> None:
    """Write frames one by one as extended XYZ; for whole files, call it within ``atomic_path``."""
    with Path(path).open("w", encoding="utf-8") as file:
        for frame in frames:
            file.write(extxyz_text(frame))


def require_extxyz(path: str | os.PathLike[str]) -> Path:
    """Check that a path to write to asks for extended XYZ.

    Raises:
        DataError: another suffix.
    """
    target = Path(path)
    if target.suffix not in EXTXYZ:
        raise DataError(f"expected an output file that ends in .xyz or .extxyz, found {target.name}")
    return target


def require_other_file(source: str | os.PathLike[str], target: Path) -> None:
    """Check that a task does not overwrite what it reads.

    Raises:
        DataError: both paths are the same file.
    """
    if target.exists() and Path(source).exists() and target.samefile(source):
        raise DataError(f"expected an output file other than the input, found {target} for both: give another name")


def attach(atoms: Atoms, **results: Any) -> Atoms:
    """Give a frame results (ASE's names and units), replacing all it had; changes the frame."""
    present = {name: value for name, value in results.items() if value is not None}
    atoms.calc = SinglePointCalculator(atoms, **present)
    return atoms


def keep_references(atoms: Atoms) -> None:
    """Move the results that a frame came with to ``REF_<name>``.

    If it has such references already, its results are earlier predictions, and they are dropped.
    """
    results = {} if atoms.calc is None else atoms.calc.results
    atoms.calc = None
    if any(name.startswith("REF_") for name in [*atoms.info, *atoms.arrays]):
        return
    for name, value in results.items():
        per_atom = name not in ("stress", "dipole") and np.ndim(value) >= 1 and len(value) == len(atoms)
        if value is not None:
            (atoms.arrays if per_atom else atoms.info)[f"REF_{name}"] = np.copy(value) if np.ndim(value) else value
