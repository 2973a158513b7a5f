"""Files that are either whole or absent: written under a temporary name, then renamed."""

import hashlib
import json
import os
import platform
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success it is flushed to disk and renamed, on failure removed.

    The temporary name keeps the suffixes of ``path``, so writers that choose a format by suffix work, and says which
    process it belongs to. What a process that was killed has left for the same ``path`` is removed first.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    suffix = "".join(target.suffixes)
    start = f".{target.name}.{_machine()}-"
    _remove_abandoned(target.parent, start)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f"{start}{os.getpid()}-", suffix=suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def _machine() -> str:
    """A short name of the set of processes that one can look into from here: this host or, on Linux, this container."""
    facts: list[object] = [platform.node()]
    with suppress(OSError):
        facts.append(Path("/etc/machine-id").read_bytes())
    with suppress(OSError):
        facts.append(os.stat("/proc/self/ns/pid").st_ino)
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:8]


def _remove_abandoned(folder: Path, start: str) -> None:
    """Remove files whose names begin so and go on with the number of a process that does not exist any more."""
    for name in os.listdir(folder):
        owner = re.match(r"(\d+)-", name.removeprefix(start)) if name.startswith(start) else None
        if owner and not _is_alive(int(owner[1])):
            with suppress(OSError):  # somebody else removed it, or it is somebody else's
                (folder / name).unlink()


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # it is somebody else's, or a number that no process has here
        return True
    return True


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write ``text`` to ``path`` atomically, as UTF-8."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | os.PathLike[str], data: Any) -> None:
    """Write ``data`` to ``path`` atomically, as indented JSON; NaN and infinity are refused."""
    write_text(path, json.dumps(data, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def file_hash(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file's content."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def shown(path: Path) -> str:
    """A path as people read it: relative to the working directory if it lies within."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
