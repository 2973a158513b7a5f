"""Progress of long work: a bar on a terminal, a line now and then in a log file."""

from __future__ import annotations

import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from threading import Lock
from typing import Protocol, runtime_checkable

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

from simkit.errors import SimkitWarning


@runtime_checkable
class Task(Protocol):
    """One piece of work with a known number of parts."""

    def advance(self, parts: int = 1, note: str = "") -> None:
        """Report that ``parts`` more are done; ``note`` is a short live text such as the current loss."""


class Progress(ABC):
    """Where progress is shown. Tasks may be nested, and may come from several threads."""

    @abstractmethod
    def task(self, title: str, total: int, done: int = 0) -> AbstractContextManager[Task]:
        """Show a piece of work of ``total`` parts, of which ``done`` were done before an interruption."""

    @abstractmethod
    def say(self, text: str) -> None:
        """Print a line above the bars."""

    def warn(self, text: str) -> None:
        """Tell people that something may not be what they meant; where nothing is shown, by a Python warning."""
        self.say(f"warning: {text}")


class Silent(Progress):
    """Shows nothing."""

    @contextmanager
    def task(self, title: str, total: int, done: int = 0) -> Iterator[Task]:
        """Accept reports and drop them."""
        yield _NoTask()

    def say(self, text: str) -> None:
        """Drop the text."""

    def warn(self, text: str) -> None:
        """Warn in Python's way."""
        warnings.warn(text, SimkitWarning, stacklevel=3)


class _NoTask:
    def advance(self, parts: int = 1, note: str = "") -> None:
        pass


class Terminal(Progress):
    """Bars with elapsed and remaining time; on a stream that is no terminal, lines of text.

    Args:
        console: where to write; the standard error stream if absent, so that the output of a command stays clean.
        interval: seconds between two lines of one task on a stream that is no terminal.
    """

    def __init__(self, console: Console | None = None, interval: float = 30.0) -> None:
        self.console = console or Console(stderr=True)
        self.interval = interval
        self._lock = Lock()
        self._bars: RichProgress | None = None
        self._running = 0

    @contextmanager
    def task(self, title: str, total: int, done: int = 0) -> Iterator[Task]:
        """A bar that becomes a line when finished."""
        if not self.console.is_terminal:
            lines = _Lines(self, title, total, done)
            yield lines
            lines.show()
            return
        with self._live() as bars:
            bar = _Bar(bars, bars.add_task(title, total=total, completed=done, note=""), title, total, done)
            try:
                yield bar
            finally:
                bars.remove_task(bar.identifier)
        self.say(bar.summary())

    def say(self, text: str) -> None:
        """Print a line."""
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    @contextmanager
    def _live(self) -> Iterator[RichProgress]:
        """The one live display that all bars share."""
        with self._lock:
            if self._bars is None:
                self._bars = RichProgress(*_columns(), console=self.console, transient=True)
                self._bars.start()
            bars = self._bars
            self._running += 1
        try:
            yield bars
        finally:
            with self._lock:
                self._running -= 1
                if self._running == 0:
                    bars.stop()
                    self._bars = None


class _Lines:
    def __init__(self, terminal: Terminal, title: str, total: int, done: int) -> None:
        self.terminal = terminal
        self.title = title
        self.total = total
        self.done = done
        self.note = ""
        self.shown = time.monotonic()

    def advance(self, parts: int = 1, note: str = "") -> None:
        self.done += parts
        self.note = note or self.note
        if time.monotonic() - self.shown >= self.terminal.interval and self.done < self.total:
            self.show()

    def show(self) -> None:
        self.shown = time.monotonic()
        self.terminal.say(f"{self.title}: {self.done}/{self.total} {self.note}".rstrip())


class _Bar:
    def __init__(self, bars: RichProgress, identifier: TaskID, title: str, total: int, done: int) -> None:
        self.bars = bars
        self.identifier = identifier
        self.title = title
        self.total = total
        self.done = done
        self.note = ""
        self.started = time.monotonic()

    def advance(self, parts: int = 1, note: str = "") -> None:
        self.done += parts
        self.note = note or self.note
        self.bars.update(self.identifier, advance=parts, note=self.note)

    def summary(self) -> str:
        seconds = time.monotonic() - self.started
        return f"{self.title}: {self.done}/{self.total} in {duration(seconds)} {self.note}".rstrip()


def duration(seconds: float) -> str:
    """A time for people: ``0.4 s``, ``12 s``, ``3 min 20 s``, ``2 h 5 min``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes == 0:
        return f"{rest} s"
    hours, minutes_left = divmod(minutes, 60)
    return f"{hours} h {minutes_left} min" if hours else f"{minutes} min {rest} s"


def _columns() -> tuple:
    return (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False, style="dim"),
    )
