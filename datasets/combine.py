"""Datasets made of others: lists in memory, subsets, concatenations, caches."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from simkit.datasets.base import Dataset, Frame
from simkit.errors import DataError
from simkit.neighbours import Neighbours, build_neighbours


class MemoryDataset(Dataset):
    """Frames that are held in a list."""

    def __init__(self, frames: Iterable[Frame]) -> None:
        self.frames = list(frames)

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: int) -> Frame:
        return self.frames[index]


class Subset(Dataset):
    """Some frames of another dataset, in a given order.

    Raises:
        DataError: an index that the dataset does not have.
    """

    def __init__(self, dataset: Dataset, indices: Sequence[int] | np.ndarray) -> None:
        self.dataset = dataset
        self.indices = np.asarray(indices, dtype=np.int64)
        if len(self.indices) and not 0 <= self.indices.min() <= self.indices.max() < len(dataset):
            raise DataError(
                f"expected indices from 0 to {len(dataset) - 1}, found {self.indices.min()} to {self.indices.max()}"
            )

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Frame:
        return self.dataset[int(self.indices[index])]

    @property
    def files(self) -> tuple[Path, ...]:
        """The files of the whole dataset."""
        return self.dataset.files

    def atom_counts(self) -> np.ndarray:
        """Number of atoms of each frame."""
        return self.dataset.atom_counts()[self.indices]


class Concatenation(Dataset):
    """Several datasets one after the other."""

    def __init__(self, parts: Sequence[Dataset]) -> None:
        self.parts = tuple(parts)
        self.starts = np.cumsum([0, *(len(part) for part in self.parts)]).tolist()

    def __len__(self) -> int:
        return self.starts[-1]

    def __getitem__(self, index: int) -> Frame:
        if not 0 <= index < len(self):
            raise IndexError(index)
        part = bisect_right(self.starts, index) - 1
        return self.parts[part][index - self.starts[part]]

    @property
    def files(self) -> tuple[Path, ...]:
        """The files of all parts."""
        return tuple(file for part in self.parts for file in part.files)

    def atom_counts(self) -> np.ndarray:
        """Number of atoms of each frame."""
        return np.concatenate([np.zeros(0, dtype=np.int64), *(part.atom_counts() for part in self.parts)])


@dataclass(frozen=True)
class PackedNeighbours:
    """Neighbours in a quarter of the memory: 32-bit indices and 8-bit (else 32-bit) shifts."""

    centre: torch.Tensor
    neighbour: torch.Tensor
    shift: torch.Tensor
    cutoff: float

    @classmethod
    def pack(cls, neighbours: Neighbours) -> PackedNeighbours:
        """From a list without skin."""
        shift = neighbours.shift
        small = shift.numel() == 0 or bool(shift.abs().max() < 128)
        return cls(
            neighbours.centre.to(torch.int32),
            neighbours.neighbour.to(torch.int32),
            shift.to(torch.int8 if small else torch.int32),
            neighbours.cutoff,
        )

    def unpack(self, dtype: torch.dtype) -> Neighbours:
        """The list, with shifts in the floating-point type of the coordinates."""
        return Neighbours(self.centre.long(), self.neighbour.long(), self.shift.to(dtype), self.cutoff)

    @property
    def nbytes(self) -> int:
        """Memory in bytes."""
        return sum(tensor.nbytes for tensor in (self.centre, self.neighbour, self.shift))


class CachedDataset(Dataset):
    """Keeps frames and their neighbours in memory, once read, up to a budget; frames beyond it are read again.

    Args:
        dataset: where the frames come from.
        cutoff: length in Å up to which neighbours are stored; None to store frames only.
        memory: budget in bytes.
    """

    def __init__(self, dataset: Dataset, cutoff: float | None = None, memory: float = 4e9) -> None:
        self.dataset = dataset
        self.cutoff = cutoff
        self.memory = memory
        self.used = 0
        self._kept: dict[int, tuple[Frame, PackedNeighbours | None]] = {}

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Frame:
        if index in self._kept:
            frame, packed = self._kept[index]
            return frame if packed is None else replace(frame, neighbours=packed.unpack(frame.system.dtype))
        frame = self.dataset[index]
        if self.cutoff is not None and (frame.neighbours is None or frame.neighbours.cutoff < self.cutoff):
            frame = replace(frame, neighbours=build_neighbours(frame.system, self.cutoff))
        self._keep(index, frame)
        return frame

    def _keep(self, index: int, frame: Frame) -> None:
        packed = None if frame.neighbours is None else PackedNeighbours.pack(frame.neighbours)
        size = _frame_bytes(frame) + (packed.nbytes if packed else 0)
        if self.used + size <= self.memory:
            self._kept[index] = (replace(frame, neighbours=None), packed)
            self.used += size

    @property
    def files(self) -> tuple[Path, ...]:
        """The files of the dataset."""
        return self.dataset.files

    def atom_counts(self) -> np.ndarray:
        """Number of atoms of each frame."""
        return self.dataset.atom_counts()


def _frame_bytes(frame: Frame) -> int:
    """Approximate memory of a frame without its neighbours."""
    per_atom = 3 * 8 + 8 + 8 + (0 if frame.labels.forces is None else 3 * 8)
    other = sum(np.asarray(value).nbytes for value in [*frame.arrays.values(), *frame.info.values()])
    return 2000 + per_atom * frame.system.n_atoms + other
