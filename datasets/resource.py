"""Open files that survive forks and pickling, as data loaders with helper processes need; the package for HDF5."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from simkit.errors import MissingExtraError

T = TypeVar("T")


class PerProcess(Generic[T]):
    """Something that is opened once in each process, when first used, and closed when this object goes.

    Args:
        opener: opens it; must be picklable.
        closer: closes it.
    """

    def __init__(self, opener: Callable[[], T], closer: Callable[[T], Any]) -> None:
        self._opener = opener
        self._closer = closer
        self._opened: list[T] = []
        self._owner = -1

    def get(self) -> T:
        """The open thing of this process."""
        if self._owner != os.getpid():
            opened = self._opener()
            weakref.finalize(self, self._closer, opened)
            # what a parent process opened stays referenced: closing it is the parent's affair
            self._opened.append(opened)
            self._owner = os.getpid()
        return self._opened[-1]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": [], "_owner": -1}


def import_h5py() -> Any:
    """The package h5py.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import h5py
    except ImportError as error:
        raise MissingExtraError("h5py", "data", "reading or writing HDF5 files") from error
    return h5py
