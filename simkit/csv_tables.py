"""Tables of numbers in CSV files."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray


def csv_row(values: Sequence[float | int | str]) -> str:
    """One line of a CSV file; floating-point numbers keep all their digits."""
    return ",".join(repr(float(v)) if isinstance(v, float) else str(v) for v in values) + "\n"


def read_table(path: str | os.PathLike[str]) -> dict[str, Float[ndarray, " rows"]]:
    """Columns of a CSV file of numbers, by name; empty cells are NaN."""
    with Path(path).open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        rows = list(reader)
        names = reader.fieldnames or []
    return {name: np.array([float(row[name] or "nan") for row in rows]) for name in names}
