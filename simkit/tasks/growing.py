"""Files that grow while a long task runs and can be cut back to where the task continues."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType


class GrowingFile:
    """A text file that is only appended to.

    Args:
        path: created if absent.
        length: bytes to keep of what is there; the rest, written after the last checkpoint, is cut off.
    """

    def __init__(self, path: str | os.PathLike[str], length: int = 0) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self.path.open("r+b" if self.path.exists() else "w+b")
        self._file.truncate(length)
        self._file.seek(length)

    def write(self, text: str) -> None:
        """Append text; it reaches the disk with :meth:`sync`."""
        self._file.write(text.encode())

    def sync(self) -> int:
        """Bring everything to the disk and return the length in bytes."""
        self._file.flush()
        os.fsync(self._file.fileno())
        return self._file.tell()

    def __enter__(self) -> GrowingFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
