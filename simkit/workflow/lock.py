"""One process at a time in a folder of results."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from simkit.errors import WorkflowError

LOCK = "lock"
UNSUPPORTED = (errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock; the kernel releases it when the process ends in whatever way, so none is ever stale.

    On a file system without locks a warning is logged and the work goes on.

    Raises:
        WorkflowError: another process holds the lock.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            raise WorkflowError(
                f"another process works in {folder} ({file.read().strip() or 'unknown'}): "
                "wait until it ends, or stop it and run the same command to continue"
            ) from error
        except OSError as error:
            if error.errno not in UNSUPPORTED:
                raise
            logging.getLogger(__name__).warning(
                "the file system of %s has no locks: make sure that no second process runs the same workflow", folder
            )
        file.truncate(0)
        file.write(f"process {os.getpid()} on {platform.node()}\n")
        file.flush()
        yield
        file.truncate(0)
