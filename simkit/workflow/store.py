"""Folders of results: ``runs/<workflow>/<step>-<hash>``."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from simkit.errors import WorkflowError
from simkit.files import shown, write_json
from simkit.workflow.lock import LOCK, locked

RESULT = "result.json"
LOG = "log.txt"
EVENTS = "progress.jsonl"
INDEX = "index.json"
FORMAT = 1


def read_result(folder: Path) -> dict[str, Any] | None:
    """The result of a finished step, or None if the step is not finished."""
    try:
        result = json.loads((folder / RESULT).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError):
        return None
    return result if isinstance(result, dict) and result.get("format") == FORMAT else None


def is_finished(folder: Path, address: str, produces: Iterable[str]) -> bool:
    """Whether a folder holds the result of these very settings, and all files that belong to it."""
    result = read_result(folder)
    return result is not None and result["address"] == address and all((folder / name).exists() for name in produces)


def is_begun(folder: Path) -> bool:
    """Whether a step has left something in its folder to continue from."""
    return folder.is_dir() and any(path.name not in (LOCK, LOG, EVENTS) for path in folder.iterdir())


def discard(folder: Path) -> None:
    """Remove everything that a step has left in its folder.

    Raises:
        WorkflowError: another process works in it.
    """
    if not folder.is_dir():
        return
    with locked(folder):
        (folder / RESULT).unlink(missing_ok=True)
        for path in folder.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif path.name != LOCK:
                path.unlink()


def point_to_latest(parent: Path, folders: Mapping[str, Path]) -> None:
    """Let people find results by the names of steps: ``index.json``, and links where the file system has them.

    Raises:
        WorkflowError: something that is no link has the name of a step.
    """
    write_json(parent / INDEX, {name: folder.name for name, folder in folders.items()})
    for name, folder in folders.items():
        link = parent / name
        if link.exists() and not link.is_symlink():
            raise WorkflowError(
                f"expected {shown(link)} to be a link to the latest results, found a file or folder: move it"
            )
        temporary = parent / f".{name}.{os.getpid()}"
        try:
            temporary.symlink_to(folder.name, target_is_directory=True)
        except OSError:
            return
        temporary.replace(link)
