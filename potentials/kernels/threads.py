"""Running loops over atoms, in threads."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

SMALLEST_SHARE = 4096
"""Rows that a thread is worth starting for."""


def array(tensor: Tensor) -> np.ndarray:
    """The memory of a tensor, in row-major order."""
    return tensor.detach().contiguous().numpy()


def shares(pointers: np.ndarray) -> list[tuple[int, int]]:
    """Ranges of atoms with about equally many rows, one for each thread of torch that there is work for.

    Args:
        pointers: the rows of atom i are ``pointers[i]`` to ``pointers[i + 1]``.
    """
    rows = int(pointers[-1])
    count = max(1, min(torch.get_num_threads(), rows // SMALLEST_SHARE))
    cuts = np.searchsorted(pointers, np.linspace(0, rows, count + 1))
    cuts[0], cuts[-1] = 0, len(pointers) - 1
    return [(int(first), int(last)) for first, last in pairwise(cuts)]


def run(task: Callable[[int, int, int], Any], ranges: list[tuple[int, int]]) -> None:
    """``task(share, first atom, last atom)`` for every range, in threads if there are several."""
    if len(ranges) == 1:
        task(0, *ranges[0])
        return
    with ThreadPoolExecutor(len(ranges)) as pool:
        for future in [pool.submit(task, share, *limits) for share, limits in enumerate(ranges)]:
            future.result()
