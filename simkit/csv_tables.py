"""Tables of numbers in CSV files."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from simkit.errors import DataError
from simkit.files import write_text


def csv_row(values: Sequence[float | int | str]) -> str:
    """One line of a CSV file; floating-point numbers keep all their digits."""
    return ",".join(repr(float(v)) if isinstance(v, float) else str(v) for v in values) + "\n"


def write_table(path: str | os.PathLike[str], columns: Mapping[str, ndarray]) -> None:
    """Write columns of equal length as a CSV file, atomically; NaN becomes an empty cell."""
    rows = zip(*(column.tolist() for column in columns.values()), strict=True)
    cells = (["" if isinstance(value, float) and math.isnan(value) else value for value in row] for row in rows)
    write_text(path, csv_row(tuple(columns)) + "".join(csv_row(row) for row in cells))


def read_table(path: str | os.PathLike[str]) -> dict[str, Float[ndarray, " rows"]]:
    """Columns of a CSV file of numbers, by name; empty cells are NaN.

    Raises:
        DataError: a cell that is no number.
    """
    with Path(path).open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        rows = list(reader)
        names = reader.fieldnames or []
    try:
        return {name: np.array([float(row[name] or "nan") for row in rows]) for name in names}
    except ValueError as error:
        raise DataError(f"{path}: expected a CSV file of numbers below a line of names: {error}") from error
