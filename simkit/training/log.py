"""The table of losses and errors that a training run leaves."""

from __future__ import annotations

import csv
import io
from importlib.util import find_spec
from math import isnan
from pathlib import Path
from typing import Any

from simkit.csv_tables import read_table
from simkit.files import write_text

WHOLE = ("epoch", "step", "stage")
"""Columns of integers."""


class Log:
    """One row for each epoch in a CSV file, and in TensorBoard's files beside it if that package is installed.

    The CSV file is whole at every moment. A column that only later rows have is added to all.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[dict[str, Any]] = read_log(path) if path.exists() else []
        self._board = _board(path.parent / "tensorboard")

    def keep_before(self, epoch: int) -> None:
        """Drop the rows from ``epoch`` on: an interrupted run makes them again."""
        self.rows = [row for row in self.rows if row["epoch"] < epoch]
        self._write()

    def append(self, row: dict[str, Any]) -> None:
        """Add an epoch."""
        self.rows.append(row)
        self._write()
        if self._board is not None:
            for name, value in row.items():
                if name != "epoch":
                    self._board.add_scalar(name, value, row["epoch"])

    def close(self) -> None:
        """Finish TensorBoard's file."""
        if self._board is not None:
            self._board.close()

    def _write(self) -> None:
        columns = list(dict.fromkeys(name for row in self.rows for name in row))
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        write_text(self.path, text.getvalue())


def read_log(path: Path) -> list[dict[str, Any]]:
    """The rows of a log as numbers; empty cells are left out."""
    table = read_table(path)
    rows = (zip(table, row, strict=True) for row in zip(*table.values(), strict=True))
    return [
        {name: int(value) if name in WHOLE else float(value) for name, value in row if not isnan(value)} for row in rows
    ]


def _board(folder: Path) -> Any:
    if find_spec("tensorboard") is None:
        return None
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder))
