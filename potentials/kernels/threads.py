"""Running loops over atoms: a few at a time, shared among threads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any

import numpy as np
import torch
from torch import Tensor

SMALLEST_SHARE = 1024
"""Rows that a thread is worth starting for."""


def array(tensor: Tensor) -> np.ndarray:
    """The memory of a tensor, in row-major order."""
    return tensor.detach().contiguous().numpy()


class Workers:
    """As many threads as torch uses, where there is work for them; a context manager.

    Args:
        pointers: the rows of atom i are ``pointers[i]`` to ``pointers[i + 1]``.
        rows_at_once: rows of a chunk, about, for each thread.
    """

    def __init__(self, pointers: np.ndarray, rows_at_once: int) -> None:
        self.pointers = pointers
        self.count = max(1, min(torch.get_num_threads(), int(pointers[-1]) // SMALLEST_SHARE))
        self.rows_at_once = rows_at_once * self.count
        self.pool = ThreadPoolExecutor(self.count) if self.count > 1 else None

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        if self.pool is not None:
            self.pool.shutdown()

    def chunks(self) -> Iterator[tuple[int, int, slice]]:
        """First atom, end of the atoms and the rows of each chunk; a chunk holds whole atoms."""
        first, atoms = 0, len(self.pointers) - 1
        while first < atoms:
            limit = self.pointers[first] + self.rows_at_once
            last = max(first + 1, int(np.searchsorted(self.pointers, limit, "right")) - 1)
            yield first, last, slice(int(self.pointers[first]), int(self.pointers[last]))
            first = last

    def run(self, task: Callable[[int, int, int], Any], first: int, last: int) -> None:
        """``task(thread, first atom, end)`` for parts of a range of atoms with about equally many rows."""
        if self.pool is None:
            task(0, first, last)
            return
        limits = np.linspace(self.pointers[first], self.pointers[last], self.count + 1)
        cuts = np.clip(np.searchsorted(self.pointers, limits), first, last)
        cuts[0], cuts[-1] = first, last
        parts = zip(range(self.count), cuts[:-1].tolist(), cuts[1:].tolist(), strict=True)
        for future in [self.pool.submit(task, *part) for part in parts]:
            future.result()
