"""What a relaxation of a file has done, on disk."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from safetensors.torch import load_file, safe_open, save_file

from simkit.files import atomic_path
from simkit.growing import GrowingFile
from simkit.relaxation import Budget, Outcome


class Journal:
    """Checkpoint of the batch, finished systems one by one, and optionally the path of every system.

    The checkpoint knows the lengths that the other files had; what was written to them later is cut off when the
    relaxation goes on from it. Calls between checkpoints are made again, with the same numbers.

    Args:
        target: file that the relaxation will write; the journal is beside it.
        identity: JSON-compatible facts; a journal of a relaxation with others is not used.
        with_path: keep the geometries of all steps.
    """

    def __init__(self, target: Path, identity: dict[str, Any], with_path: bool) -> None:
        self.checkpoint = target.with_name(f".{target.stem}-unfinished.safetensors")
        self.finished_path = target.with_name(f".{target.stem}-finished.jsonl")
        self.identity = json.loads(json.dumps(identity))
        saved = self._saved_header()
        self.budget = None if saved is None else Budget(**_numbers(saved["budget"]))
        lengths = [0, 0] if saved is None else saved["lengths"]
        self.continued = saved is not None
        self._finished = GrowingFile(self.finished_path, lengths[0])
        path = target.with_name(f"{target.stem}-path.xyz")
        self._path = GrowingFile(path, lengths[1]) if with_path else None

    def _saved_header(self) -> dict[str, Any] | None:
        if not self.checkpoint.exists():
            return None
        with safe_open(self.checkpoint, framework="pt") as file:
            header = json.loads(file.metadata()["header"])
        return header if header["identity"] == self.identity else None

    def tensors(self) -> dict[str, torch.Tensor]:
        """The state of the relaxation at the checkpoint."""
        return load_file(self.checkpoint)

    def save(self, tensors: dict[str, torch.Tensor], budget: Budget) -> None:
        """Replace the checkpoint."""
        lengths = [self._finished.sync(), 0 if self._path is None else self._path.sync()]
        numbers = {name: None if math.isinf(value) else value for name, value in asdict(budget).items()}
        header = json.dumps({"identity": self.identity, "budget": numbers, "lengths": lengths})
        with atomic_path(self.checkpoint) as temporary:
            copies = {name: value.cpu().clone().contiguous() for name, value in tensors.items()}
            save_file(copies, temporary, {"header": header})

    def write_path(self, text: str) -> None:
        """Add geometries to the path, if one is kept."""
        if self._path is not None:
            self._path.write(text)

    @property
    def with_path(self) -> bool:
        """Whether a path is kept."""
        return self._path is not None

    def finish(self, outcome: Outcome) -> None:
        """Add a system that has ended."""
        facts = {name: getattr(outcome, name) for name in ("index", "steps", "force_calls", "remedy")}
        numbers = {name: getattr(outcome, name) for name in ("fmax", "first_energy", "energy")}
        arrays: dict[str, Any] = {}
        if outcome.forces is not None:
            arrays = {"positions": outcome.system.positions.tolist(), "cell": outcome.system.cell[0].tolist()}
            arrays["forces"] = outcome.forces.tolist()
        if outcome.virial is not None:
            arrays["virial"] = outcome.virial.tolist()
        known = {name: None if math.isnan(value) else value for name, value in numbers.items()}
        line = {"status": outcome.status.label, **facts, **known, **arrays}
        self._finished.write(json.dumps(line, allow_nan=False) + "\n")

    def finished(self) -> dict[int, dict[str, Any]]:
        """Systems that have ended, by their index."""
        self._finished.sync()
        lines = self.finished_path.read_text(encoding="utf-8").splitlines()
        return {line["index"]: line for line in map(json.loads, lines)}

    def remove(self) -> None:
        """Delete what only an unfinished relaxation needs."""
        self.checkpoint.unlink(missing_ok=True)
        self.finished_path.unlink()

    def discard(self) -> None:
        """Delete everything, the path too."""
        self.remove()
        if self._path is not None:
            self._path.path.unlink()

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in (self._finished, self._path):
            if file is not None:
                file.__exit__(kind, error, trace)


def _numbers(saved: dict[str, float | None]) -> dict[str, float]:
    return {name: math.inf if value is None else value for name, value in saved.items()}
