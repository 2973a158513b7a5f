"""Hashes of settings and of files, of which the addresses of results are made."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic_core import to_jsonable_python

from simkit.errors import WorkflowError
from simkit.files import file_hash, write_json
from simkit.workflow.step import Source, Step

LARGE = 64 * 2**20
"""Files of at least so many bytes are hashed again only when their size or time of modification changes."""


class FileDigests:
    """SHA-256 of files and folders, remembered for large files in a small JSON file."""

    def __init__(self, memory: Path) -> None:
        self.memory = memory
        self.known = _read_memory(memory)

    def digest(self, path: Path) -> str:
        """The hash of a file's bytes; of a folder, of the names and bytes of all files in it."""
        if path.is_file():
            return self._of_file(path)
        parts = [(p.relative_to(path).as_posix(), self._of_file(p)) for p in sorted(path.rglob("*")) if p.is_file()]
        return digest_of(parts)

    def _of_file(self, path: Path) -> str:
        status = path.stat()
        if status.st_size < LARGE:
            return file_hash(path)
        key = f"{path.resolve()}|{status.st_size}|{status.st_mtime_ns}"
        if key not in self.known:
            self.known[key] = file_hash(path)
            write_json(self.memory, self.known)
        return self.known[key]


def digest_of(value: Any) -> str:
    """SHA-256 of a value's canonical JSON: sorted keys, no spaces."""
    try:
        plain = to_jsonable_python(value)
    except ValueError as error:
        raise WorkflowError(f"settings must be representable in JSON: {error}") from error
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def address_of(kind: str, step: Step, origins: Mapping[str, Any], seed: int) -> str:
    """The address of a step's results: equal addresses mean equal results.

    Args:
        kind: of the step.
        step: its settings.
        origins: address or content hash of each input, by its value in the file.
        seed: of every random choice.
    """
    settings = _replaced(step.model_dump(), origins)
    return digest_of({"kind": kind, "version": type(step).version, "settings": settings, "seed": seed})


def _replaced(value: Any, origins: Mapping[str, Any]) -> Any:
    if isinstance(value, Source):
        return origins[value]
    if isinstance(value, Mapping):
        return {key: _replaced(inner, origins) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_replaced(inner, origins) for inner in value]
    return value


def _read_memory(path: Path) -> dict[str, str]:
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}
