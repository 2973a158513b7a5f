"""Which frames make which batch, and frames kept ready between epochs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from simkit.datasets.base import Batch, Dataset, Frame, collate, with_neighbours
from simkit.errors import DataError, InvalidSystemError, UnsupportedElementError
from simkit.evaluation import require_separated
from simkit.potential import Potential, require_elements


def shuffled(size: int, batch_size: int, seed: int, epoch: int) -> list[list[int]]:
    """Batches of one epoch: a function of the arguments alone, so that a run can continue in the middle."""
    order = np.random.default_rng([seed, epoch]).permutation(size).tolist()
    return [order[first : first + batch_size] for first in range(0, size, batch_size)]


def in_order(size: int, batch_size: int) -> list[list[int]]:
    """Batches of consecutive frames."""
    return [list(range(first, min(first + batch_size, size))) for first in range(0, size, batch_size)]


class ReadyFrames:
    """Frames of a dataset, checked, in the training's floating-point type, with neighbours.

    They stay in memory until ``gigabytes`` are full; later ones are read and prepared again every time.

    Raises:
        DataError: on reading a frame that the potential cannot be trained on; the message names it.
    """

    def __init__(self, dataset: Dataset, potential: Potential, dtype: torch.dtype, gigabytes: float) -> None:
        self.dataset = dataset
        self.potential = potential
        self.dtype = dtype
        self._room = gigabytes * 1e9
        self._kept: dict[int, Frame] = {}

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Frame:
        if index in self._kept:
            return self._kept[index]
        frame = self._prepare(self.dataset[index], index)
        size = _size(frame)
        if size <= self._room:
            self._room -= size
            self._kept[index] = frame
        return frame

    def batch(self, indices: Sequence[int]) -> Batch:
        """Frames joined."""
        return collate([self[index] for index in indices], self.potential.cutoff, self.dtype)

    def _prepare(self, frame: Frame, index: int) -> Frame:
        name = frame.name or f"frame {index}"
        try:
            require_elements(self.potential, frame.system)
            if frame.neighbours is None or frame.neighbours.cutoff < self.potential.cutoff:
                frame = with_neighbours(frame, self.potential.cutoff)
            assert frame.neighbours is not None
            require_separated(frame.system, frame.neighbours)
        except (UnsupportedElementError, InvalidSystemError) as error:
            raise DataError(f"{name}: {error}") from error
        for label in ("energy", "forces", "stress"):
            value = getattr(frame.labels, label)
            if value is not None and not bool(torch.isfinite(value).all()):
                raise DataError(
                    f"{name}: expected a finite {label} label, found NaN or infinity; remove the label or the frame"
                )
        return replace(
            frame,
            name=name,
            system=frame.system.to(dtype=self.dtype),
            neighbours=frame.neighbours.to(dtype=self.dtype),
        )


def batches(
    frames: ReadyFrames, plan: Sequence[Sequence[int]], device: torch.device, rank: int = 0, world: int = 1
) -> Iterator[Batch | None]:
    """The batches of a plan on a device; of each, process ``rank`` gets every ``world``-th frame, or None if no frame.

    For an accelerator the next batches are prepared in a thread while it computes.
    """
    shares = [list(indices[rank::world]) for indices in plan]

    def make(share: list[int]) -> Batch | None:
        return frames.batch(share).to(device) if share else None

    if device.type == "cpu":
        yield from map(make, shares)
        return
    with ThreadPoolExecutor(max_workers=1) as thread:
        coming = [thread.submit(make, share) for share in shares[:2]]
        for index in range(len(shares)):
            ready = coming.pop(0).result()
            if index + 2 < len(shares):
                coming.append(thread.submit(make, shares[index + 2]))
            yield ready


def _size(frame: Frame) -> int:
    """Bytes of a frame's large tensors."""
    neighbours = frame.neighbours
    tensors: list[Tensor | None] = [frame.system.positions, frame.system.numbers, frame.labels.forces]
    if neighbours is not None:
        tensors += [neighbours.centre, neighbours.neighbour, neighbours.shift]
    return 2000 + sum(tensor.nbytes for tensor in tensors if tensor is not None)
