"""Frames checked before they train, and batches brought to the device in time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import torch

from simkit.datasets.base import Batch, Dataset, Frame, require_finite_labels, with_neighbours
from simkit.errors import DataError, InvalidSystemError, UnsupportedElementError
from simkit.graph import require_separated
from simkit.potential import Potential, require_elements


class CheckedFrames(Dataset):
    """Frames of another dataset, in the training's floating-point type, with neighbours.

    Raises:
        DataError: on reading a frame that the potential cannot be trained on; the message names it.
    """

    def __init__(self, dataset: Dataset, potential: Potential, dtype: torch.dtype) -> None:
        self.dataset = dataset
        self.potential = potential
        self.dtype = dtype

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Frame:
        frame = self.dataset[index]
        frame = replace(frame, name=frame.name or f"frame {index}")
        require_finite_labels(frame)
        try:
            require_elements(self.potential, frame.system)
            if frame.neighbours is None or frame.neighbours.cutoff < self.potential.cutoff:
                frame = with_neighbours(frame, self.potential.cutoff)
            assert frame.neighbours is not None
            require_separated(frame.system, frame.neighbours)
        except (UnsupportedElementError, InvalidSystemError) as error:
            raise DataError(f"{frame.name}: {error}") from error
        return replace(
            frame, system=frame.system.to(dtype=self.dtype), neighbours=frame.neighbours.to(dtype=self.dtype)
        )

    @property
    def files(self) -> tuple[Path, ...]:
        """The files of the dataset."""
        return self.dataset.files


def on_device(batches: Iterable[Batch], device: torch.device) -> Iterator[Batch]:
    """The batches on a device; for an accelerator the next one is prepared in a thread while it computes."""
    if device.type == "cpu":
        yield from batches
        return
    source = iter(batches)

    def following() -> Batch | None:
        batch = next(source, None)
        return None if batch is None else batch.to(device)

    with ThreadPoolExecutor(max_workers=1) as thread:
        coming = thread.submit(following)
        while (batch := coming.result()) is not None:
            coming = thread.submit(following)
            yield batch
