"""Progress across processes and machines: a step appends events to a file in its folder, the terminal follows it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Any

from simkit.progress import Progress, Task

INTERVAL = 0.3
"""Seconds between two writes of one task, and between two looks at the files."""


class EventFile(Progress):
    """Progress that is written to a file, one JSON object a line."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.count = 0
        path.write_text("", encoding="utf-8")

    @contextmanager
    def task(self, title: str, total: int, done: int = 0) -> Iterator[Task]:
        """Report the begin, the advances (a few a second at most) and the end."""
        self.count += 1
        task = _EventTask(self, self.count)
        self.write({"begin": self.count, "title": title, "total": total, "done": done})
        try:
            yield task
        finally:
            task.flush()
            self.write({"end": task.identifier})

    def say(self, text: str) -> None:
        """Report a line of text."""
        self.write({"say": text})

    def write(self, event: dict[str, Any]) -> None:
        """Append one event."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(event, ensure_ascii=False) + "\n")


class _EventTask:
    def __init__(self, events: EventFile, identifier: int) -> None:
        self.events = events
        self.identifier = identifier
        self.parts = 0
        self.note = ""
        self.written = time.monotonic()

    def advance(self, parts: int = 1, note: str = "") -> None:
        self.parts += parts
        self.note = note or self.note
        if time.monotonic() - self.written >= INTERVAL:
            self.flush()

    def flush(self) -> None:
        if self.parts or self.note:
            self.events.write({"advance": self.identifier, "parts": self.parts, "note": self.note})
        self.parts, self.note, self.written = 0, "", time.monotonic()


class Follower:
    """Shows the events of one file on another progress, each title preceded by the step's name."""

    def __init__(self, name: str, path: Path, progress: Progress) -> None:
        self.name = name
        self.path = path
        self.progress = progress
        self.offset = 0
        self.open_tasks: dict[int, tuple[ExitStack, Task]] = {}

    def look(self) -> None:
        """Show what was written since the last look."""
        try:
            with self.path.open("rb") as file:
                if file.seek(0, 2) < self.offset:
                    self.close()
                file.seek(self.offset)
                whole, newline, _ = file.read().rpartition(b"\n")
        except FileNotFoundError:
            return
        self.offset += len(whole) + len(newline)
        for line in whole.splitlines():
            self._show(json.loads(line))

    def close(self) -> None:
        """Close all bars; the next look begins at the start of the file."""
        for stack, _ in self.open_tasks.values():
            stack.close()
        self.open_tasks.clear()
        self.offset = 0

    def _show(self, event: dict[str, Any]) -> None:
        if "say" in event:
            self.progress.say(f"{self.name}: {event['say']}")
        elif "begin" in event:
            stack = ExitStack()
            manager = self.progress.task(f"{self.name}: {event['title']}", event["total"], event["done"])
            self.open_tasks[event["begin"]] = (stack, stack.enter_context(manager))
        elif "advance" in event:
            self.open_tasks[event["advance"]][1].advance(event["parts"], event["note"])
        else:
            self.open_tasks.pop(event["end"])[0].close()


class Relay:
    """Follows the event files of steps, by name; may be asked from several threads."""

    def __init__(self, files: dict[str, Path], progress: Progress) -> None:
        self.followers = [Follower(name, path, progress) for name, path in files.items()]
        self.lock = Lock()

    def look(self) -> None:
        """Show what was written since the last look."""
        with self.lock:
            for follower in self.followers:
                follower.look()

    def close(self) -> None:
        """Close all bars."""
        with self.lock:
            for follower in self.followers:
                follower.close()


@contextmanager
def relayed(files: dict[str, Path], progress: Progress) -> Iterator[Relay]:
    """Follow the event files of steps, by name, in the background. Files of earlier runs are removed first."""
    for path in files.values():
        path.unlink(missing_ok=True)
    relay, ended = Relay(files, progress), Event()

    def follow() -> None:
        while not ended.wait(INTERVAL):
            relay.look()

    thread = Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield relay
    finally:
        ended.set()
        thread.join()
        relay.look()
        relay.close()
