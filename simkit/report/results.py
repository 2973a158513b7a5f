"""Result folders of workflow steps, as the report reads them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simkit.errors import WorkflowError


@dataclass(frozen=True)
class Result:
    """What a step left.

    Attributes:
        folder: with its files.
        record: content of ``result.json``.
    """

    folder: Path
    record: dict[str, Any]

    @property
    def name(self) -> str:
        """Name of the step in its workflow."""
        return str(self.record["step"])

    @property
    def kind(self) -> str:
        """Kind of the step."""
        return str(self.record["kind"])

    @property
    def summary(self) -> dict[str, Any]:
        """What the step returned."""
        return dict(self.record["summary"])


def read_results(folders: Sequence[Path]) -> list[Result]:
    """Read ``result.json`` of each folder.

    Raises:
        WorkflowError: a folder has none.
    """
    results = []
    for folder in folders:
        try:
            record = json.loads((folder / "result.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise WorkflowError(f"expected the folder of a finished step, found none at {folder} ({error})") from error
        results.append(Result(folder, record))
    return results


def find(results: Sequence[Result], kind: str) -> Result | None:
    """The first result of a kind."""
    return next((result for result in results if result.kind == kind), None)


def all_citations(results: Sequence[Result]) -> list[str]:
    """References of all steps, each once, in the order in which they are first used."""
    found: list[str] = []
    for result in results:
        nested = result.summary.get("check") or {}
        found += [
            *result.record.get("citations", ()),
            *result.summary.get("citations", ()),
            *nested.get("citations", ()),
        ]
    return list(dict.fromkeys(found))
