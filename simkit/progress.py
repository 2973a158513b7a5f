"""Progress of long work: a bar on a terminal, a line now and then in a log file."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol, runtime_checkable

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress


@runtime_checkable
class Task(Protocol):
    """One piece of work with a known number of parts."""

    def advance(self, parts: int = 1, note: str = "") -> None:
        """Report that ``parts`` more are done; ``note`` is a short live text such as the current loss."""


class Progress(ABC):
    """Where progress is shown."""

    @abstractmethod
    def task(self, title: str, total: int, done: int = 0) -> AbstractContextManager[Task]:
        """Show a piece of work of ``total`` parts, of which ``done`` were done before an interruption."""

    @abstractmethod
    def say(self, text: str) -> None:
        """Print a line above the bars."""


class Silent(Progress):
    """Shows nothing."""

    @contextmanager
    def task(self, title: str, total: int, done: int = 0) -> Iterator[Task]:
        """Accept reports and drop them."""
        yield _NoTask()

    def say(self, text: str) -> None:
        """Drop the text."""


class _NoTask:
    def advance(self, parts: int = 1, note: str = "") -> None:
        pass


class Terminal(Progress):
    """Bars with elapsed and remaining time; on a stream that is no terminal, a line at the start and end of each task."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True)

    @contextmanager
    def task(self, title: str, total: int, done: int = 0) -> Iterator[Task]:
        """A bar that disappears into a line when finished."""
        if not self.console.is_terminal:
            self.console.print(f"{title}: {done} of {total} done")
            task = _CountedTask(done)
            yield task
            self.console.print(f"{title}: {task.done} of {total} done {task.note}")
            return
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("[dim]{task.fields[note]}"),
        )
        with RichProgress(*columns, console=self.console) as bars:
            yield _BarTask(bars, bars.add_task(title, total=total, completed=done, note=""))

    def say(self, text: str) -> None:
        """Print a line."""
        self.console.print(text)


class _CountedTask:
    def __init__(self, done: int) -> None:
        self.done = done
        self.note = ""

    def advance(self, parts: int = 1, note: str = "") -> None:
        self.done += parts
        self.note = note or self.note


class _BarTask:
    def __init__(self, bars: RichProgress, identifier) -> None:
        self.bars = bars
        self.identifier = identifier

    def advance(self, parts: int = 1, note: str = "") -> None:
        if note:
            self.bars.update(self.identifier, advance=parts, note=note)
        else:
            self.bars.update(self.identifier, advance=parts)
