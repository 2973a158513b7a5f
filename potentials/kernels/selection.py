"""Which implementation is used: the kernels or the reference."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Literal, get_args

import torch
from torch import Tensor

from simkit.errors import MissingExtraError, SimkitError

Choice = Literal["auto", "reference", "numba"]

_chosen: Choice = "auto"
_INSTALLED = find_spec("numba") is not None


@contextmanager
def kernels(choice: Choice) -> Iterator[None]:
    """Within the block, in all threads, use ``reference`` (plain torch), ``numba``, or what suits (``auto``).

    Raises:
        SimkitError: an unknown choice.
        MissingExtraError: numba is not installed.
    """
    if choice not in get_args(Choice):
        raise SimkitError(f"expected kernels 'auto', 'reference' or 'numba', found {choice!r}")
    if choice == "numba" and not _INSTALLED:
        raise MissingExtraError("numba", "fast", "computing with compiled kernels")
    global _chosen
    before, _chosen = _chosen, choice
    try:
        yield
    finally:
        _chosen = before


def kernels_apply(like: Tensor) -> bool:
    """Whether kernels compute with tensors such as ``like``.

    They do on the CPU, in float32 and float64; for ``torch.compile`` they are operators that it calls as they are.
    Forward-mode derivatives are those of the reference.

    Raises:
        SimkitError: ``numba`` was asked for, but ``like`` is on another device or of another type.
    """
    if torch.autograd.forward_ad._current_level >= 0:
        return False
    suitable = like.device.type == "cpu" and like.dtype in (torch.float32, torch.float64)
    if _chosen == "numba" and not suitable:
        raise SimkitError(
            f"numba's kernels compute in float32 and float64 on the CPU, found {like.dtype} on {like.device}: "
            "use kernels('auto')"
        )
    return suitable and _INSTALLED and _chosen != "reference"
