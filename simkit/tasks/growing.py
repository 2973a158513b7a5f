"""Files that grow while a long task runs and can be cut back to where the task continues."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from simkit.errors import SimkitError


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


def require_same_run(folder: Path, found: dict[str, Any], expected: dict[str, Any]) -> None:
    """Check that an interrupted run was started with the settings it is continued with.

    Raises:
        SimkitError: naming what differs.
    """
    changed = [name for name in sorted({*found, *expected}) if found.get(name) != expected.get(name)]
    if changed:
        differences = "; ".join(f"{name}: {found.get(name)} there, {expected.get(name)} now" for name in changed)
        raise SimkitError(
            f"{folder} holds a run with other settings ({differences}): "
            "give another folder, remove that one, or restore the settings to continue it"
        )


def csv_row(values: Sequence[float | int | str]) -> str:
    """One line of a CSV file; floating-point numbers keep all their digits."""
    return ",".join(repr(float(v)) if isinstance(v, float) else str(v) for v in values) + "\n"
