"""Compiling loops by numba. Import this only where kernels compute: numba is optional."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numba

FAST_MATHEMATICS = {"reassoc", "contract", "nsz", "arcp"}
"""Sums may be reordered; infinities and NaN keep their meaning."""


def compiled(function: Callable[..., None]) -> Any:
    """``function`` as machine code, which is cached on disk and does not hold Python's lock while it runs."""
    return numba.njit(nogil=True, cache=True, fastmath=FAST_MATHEMATICS)(inspect.unwrap(function))
