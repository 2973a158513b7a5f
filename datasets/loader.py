"""Batches for training: reproducible, resumable, shared out between processes."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
import torch

from simkit.datasets.base import Batch, Dataset, collate
from simkit.datasets.combine import CachedDataset
from simkit.errors import DataError


class Loader:
    """Batches of a dataset, the same for the same seed and epoch, whatever was drawn before.

    Sizes are those of one optimisation step, over all processes together: each process gets every ``world_size``-th
    frame of each batch, so the steps are the same for any number of processes.

    Args:
        dataset: the frames; they are kept in memory with their neighbours up to ``memory``, unless the dataset already
            is a :class:`CachedDataset`.
        cutoff: length of the neighbours in Å.
        batch_size: number of frames in a batch.
        max_atoms: instead, largest number of atoms in a batch.
        max_edges: instead, largest number of pairs within the cutoff in a batch.
        shuffle: in another order each epoch.
        seed: of the order.
        drop_last: leave out a last batch that is smaller than ``batch_size``.
        dtype: floating-point type of the batches; None for that of the frames.
        rank, world_size: index of this process, and how many there are.
        workers: number of helper processes that read frames and build neighbours; for data that do not fit in memory.
        memory: budget in bytes of frames and neighbours kept in memory; 0 to keep none.
    """

    def __init__(
        self,
        dataset: Dataset,
        cutoff: float,
        *,
        batch_size: int | None = None,
        max_atoms: int | None = None,
        max_edges: int | None = None,
        shuffle: bool = True,
        seed: int = 0,
        drop_last: bool = False,
        dtype: torch.dtype | None = None,
        rank: int = 0,
        world_size: int = 1,
        workers: int = 0,
        memory: float = 4e9,
    ) -> None:
        if sum(limit is not None for limit in (batch_size, max_atoms, max_edges)) != 1:
            raise DataError("expected exactly one of batch_size, max_atoms and max_edges")
        if not len(dataset):
            raise DataError("expected at least one frame to load, found none")
        if not 0 <= rank < world_size:
            raise DataError(f"expected a rank from 0 to {world_size - 1}, found {rank}")
        self.dataset = (
            dataset if isinstance(dataset, CachedDataset) or not memory else CachedDataset(dataset, cutoff, memory)
        )
        self.cutoff, self.batch_size, self.shuffle, self.seed = cutoff, batch_size, shuffle, seed
        self.drop_last, self.dtype, self.rank, self.world_size = drop_last, dtype, rank, world_size
        self.workers = workers
        self._limit = batch_size or max_atoms or max_edges or 0
        self._sizes = self._frame_sizes(max_atoms, max_edges)
        self._check_limit()

    def _frame_sizes(self, max_atoms: int | None, max_edges: int | None) -> np.ndarray:
        if max_atoms is not None:
            return self.dataset.atom_counts()
        if max_edges is not None:
            batches = (collate([self.dataset[index]], self.cutoff) for index in range(len(self.dataset)))
            return np.array([batch.neighbours.n_edges for batch in batches])
        return np.ones(len(self.dataset), dtype=np.int64)

    def _check_limit(self) -> None:
        largest = int(self._sizes.argmax())
        if self._sizes[largest] > self._limit:
            raise DataError(
                f"frame {self.dataset[largest].name} alone has size {self._sizes[largest]}, more than the limit of "
                f"{self._limit} for a batch: raise the limit"
            )
        if self.batch_size is not None and self.batch_size < self.world_size:
            raise DataError(f"expected batch_size of at least one frame per process ({self.world_size})")
        if len(self.dataset) < self.world_size:
            raise DataError(f"expected at least one frame for each of {self.world_size} processes")

    def batches(self, epoch: int = 0) -> list[list[int]]:
        """Indices of the frames of each batch of an epoch, over all processes."""
        order = np.arange(len(self.dataset))
        if self.shuffle:
            order = np.random.default_rng([self.seed, epoch]).permutation(len(self.dataset))
        batches: list[list[int]] = [[]]
        size = 0
        for index in order.tolist():
            if batches[-1] and size + self._sizes[index] > self._limit:
                batches.append([])
                size = 0
            batches[-1].append(index)
            size += self._sizes[index]
        if self.drop_last and self.batch_size and len(batches) > 1 and len(batches[-1]) < self.batch_size:
            batches.pop()
        return self._merged(batches)

    def _merged(self, batches: list[list[int]]) -> list[list[int]]:
        """Join batches with fewer frames than processes to the one before, so that every process always has work."""
        merged: list[list[int]] = []
        for batch in batches:
            if merged and min(len(batch), len(merged[-1])) < self.world_size:
                merged[-1].extend(batch)
            else:
                merged.append(batch)
        return merged

    def __len__(self) -> int:
        """Number of batches of the first epoch; with ``max_atoms`` or ``max_edges`` epochs may differ by a few."""
        return len(self.batches(0))

    def epoch(self, epoch: int = 0, start: int = 0) -> Iterator[Batch]:
        """The batches of an epoch for this process, from batch ``start`` on."""
        shares = [batch[self.rank :: self.world_size] for batch in self.batches(epoch)[start:]]
        join = partial(collate, cutoff=self.cutoff, dtype=self.dtype)
        if not self.workers:
            return (join([self.dataset[index] for index in share]) for share in shares)
        loader = torch.utils.data.DataLoader(
            self.dataset, batch_sampler=shares, collate_fn=join, num_workers=self.workers
        )
        return iter(loader)

    def __iter__(self) -> Iterator[Batch]:
        """The batches of the first epoch."""
        return self.epoch(0)
