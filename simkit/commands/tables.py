"""Tables on the standard output."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console
from rich.table import Table

WIDTH = 200
"""Columns of a stream that is no terminal."""

SHOWN = 20
"""Systems of many that have a row in the table at the end of a command."""


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], numbers: Iterable[str] = ()) -> None:
    """Print a table.

    Args:
        title: above the table, if not empty.
        columns: headings; none are shown if all are empty.
        rows: cells, which may hold rich's markup.
        numbers: headings of the columns that are aligned to the right.
    """
    headed = any(columns)
    frame = box.SIMPLE_HEAD if headed else None
    table = Table(title=title or None, box=frame, show_header=headed, title_justify="left", pad_edge=not headed)
    right = set(numbers)
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=WIDTH)
    console.print(table)
