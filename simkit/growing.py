"""Files that grow while a long task runs and can be cut back to where the task continues."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path
from types import TracebackType

from simkit.errors import SimkitError

NO_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK)
"""What file systems without locks answer: the work goes on there."""


class GrowingFile:
    """A text file that is only appended to.

    Args:
        path: created if absent.
        length: bytes to keep of what is there; the rest, written after the last checkpoint, is cut off.

    Raises:
        SimkitError: another process writes the file, or it is shorter than ``length``.
    """

    def __init__(self, path: str | os.PathLike[str], length: int = 0) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self.path.open("r+b" if self.path.exists() else "w+b")
        try:
            self._prepare(length)
        except BaseException:
            self._file.close()
            raise

    def _prepare(self, length: int) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # until the file is closed, or its process dies
        except BlockingIOError as error:
            raise SimkitError(
                f"another process writes {self.path}: wait until it ends, or stop it, then run the same command to "
                "continue"
            ) from error
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
        found = self._file.seek(0, os.SEEK_END)
        if found < length:
            raise SimkitError(
                f"{self.path} was changed: expected at least {length} bytes, as at the last checkpoint, found {found}. "
                "Put the file back, or delete its folder and start anew"
            )
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

    def close(self) -> None:
        """Close the file, and let others write it."""
        self._file.close()

    def __enter__(self) -> GrowingFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
