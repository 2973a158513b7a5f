"""Progress on a terminal, in a log file, and nowhere."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor

import pytest
from rich.console import Console

from simkit.progress import Progress, Silent, Terminal, duration


def work(progress: Progress, title: str = "training") -> None:
    progress.say("starting [bold]")
    with progress.task(title, total=10, done=4) as task:
        for step in range(6):
            task.advance(note=f"loss {step}")
        task.advance(0)


def shown(terminal: bool, interval: float = 30.0) -> str:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=terminal, width=100, legacy_windows=False)
    work(Terminal(console, interval))
    return stream.getvalue()


def test_log_file_has_a_line_for_each_finished_task() -> None:
    assert shown(False).splitlines() == ["starting [bold]", "training: 10/10 loss 5"]


def test_log_file_has_lines_in_between_after_the_interval() -> None:
    between = [f"training: {4 + step}/10 loss {step - 1}" for step in range(1, 6)]
    assert shown(False, interval=0.0).splitlines() == ["starting [bold]", *between, "training: 10/10 loss 5"]


def test_terminal_ends_with_a_summary() -> None:
    text = shown(True)
    assert "starting [bold]" in text
    assert "training: 10/10 in 0.0 s loss 5" in text.splitlines()[-1]


def test_tasks_of_several_threads_share_one_display() -> None:
    stream = io.StringIO()
    progress = Terminal(Console(file=stream, force_terminal=True, width=100, legacy_windows=False))
    with progress.task("all", total=4) as task, ThreadPoolExecutor(4) as pool:
        for _ in pool.map(lambda index: work(progress, f"part {index}"), range(4)):
            task.advance()
    for title in ("all: 4/4", *(f"part {index}: 10/10" for index in range(4))):
        assert title in stream.getvalue()


def test_silence(capsys: pytest.CaptureFixture[str]) -> None:
    work(Silent())
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


def stopped(progress: Progress) -> None:
    with progress.task("training", total=2):
        raise ValueError("broken")


def test_errors_pass_through() -> None:
    for terminal in (True, False):
        stream = io.StringIO()
        with pytest.raises(ValueError, match="broken"):
            stopped(Terminal(Console(file=stream, force_terminal=terminal)))
        assert "2/2" not in stream.getvalue()
    with pytest.raises(ValueError, match="broken"):
        stopped(Silent())


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.44, "0.4 s"), (12.3, "12 s"), (59.6, "1 min 0 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")],
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text
