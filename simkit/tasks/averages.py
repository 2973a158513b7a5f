"""Averages of the columns of a log, with errors that know of correlations."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from simkit.analysis.statistics import average, blocking
from simkit.csv_tables import read_table, write_table
from simkit.errors import DataError
from simkit.files import write_json

CLOCKS = ("step", "time_fs")
"""Columns that count time and are not averaged."""


def average_log(
    source: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    *,
    columns: Sequence[str] | None = None,
    system: int | None = None,
    skip_fraction: float = 0.2,
) -> dict[str, Any]:
    """Mean, standard error and statistical inefficiency of columns of a CSV file; see
    :mod:`simkit.analysis.statistics`.

    Writes ``averages.json``, and ``blocking.csv`` with the standard error of each column over the size of blocks.

    Args:
        source: table of numbers, such as the ``log.csv`` of molecular dynamics.
        folder: where results go.
        columns: names; all that do not count time by default.
        system: index of the system, for logs of several.
        skip_fraction: part of the rows left out at the start, where the run is not yet in equilibrium.

    Returns:
        For each column what :class:`simkit.analysis.statistics.Average` holds, in the unit that its name ends with.

    Raises:
        DataError: a column or system that is not there, values that are no numbers, or too few rows.
    """
    table = _of_system(read_table(source), system, source)
    names = [name for name in table if name not in CLOCKS] if columns is None else list(columns)
    missing = [name for name in names if name not in table]
    if missing or not names:
        raise DataError(f"{source}: expected the columns {', '.join(missing) or '...'}, found {', '.join(table)}")
    rows = len(table[names[0]])
    skip = int(skip_fraction * rows)
    if rows - skip < 4:
        raise DataError(f"{source}: expected at least four rows after the first {skip}, found {rows - skip}")
    series = {name: table[name][skip:] for name in names}
    levels = {name: blocking(values) for name, values in series.items()}
    errors: dict[str, np.ndarray] = {"block_size": next(iter(levels.values())).sizes}
    for name, level in levels.items():
        errors |= {f"error_{name}": level.errors, f"uncertainty_{name}": level.uncertainties}
    write_table(Path(folder) / "blocking.csv", errors)
    summary = {
        "rows": rows,
        "skipped_rows": skip,
        "columns": {
            name: asdict(average(values)) | {"block_size": int(levels[name].sizes[levels[name].chosen])}
            for name, values in series.items()
        },
    }
    write_json(Path(folder) / "averages.json", summary)
    return summary


def _of_system(
    table: dict[str, np.ndarray], system: int | None, source: str | os.PathLike[str]
) -> dict[str, np.ndarray]:
    """The rows of one system; logs of one system have no column for it."""
    owners = table.get("system", np.zeros(0)).astype(int)
    values = {name: column for name, column in table.items() if name != "system"}
    there = np.unique(owners).tolist()
    if system is None and len(there) <= 1:
        return values
    if system not in there:
        choice = ", ".join(map(str, there[:20])) or "none"
        raise DataError(
            f"{source}: systems are averaged one at a time: expected system to be one of {choice}, found {system}"
        )
    return {name: column[owners == system] for name, column in values.items()}
