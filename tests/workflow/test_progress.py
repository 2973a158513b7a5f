import io
import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from rich.console import Console

from simkit.progress import Progress, Silent, Terminal, duration
from simkit.workflow.relay import EventFile, Follower, relayed


def terminal(is_terminal, interval=30.0):
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=is_terminal, width=200, color_system=None)
    return Terminal(console, interval), stream


def test_lines_where_there_is_no_terminal():
    shown, stream = terminal(False)
    shown.say("a [bold]literal[/bold] text")
    with shown.task("epochs", 3, done=1) as task:
        task.advance(note="loss 1")
        task.advance()
    assert stream.getvalue() == "a [bold]literal[/bold] text\nepochs: 3/3 loss 1\n"


def test_lines_now_and_then():
    shown, stream = terminal(False, interval=0.0)
    with shown.task("epochs", 3) as task:
        for epoch in range(3):
            task.advance(note=f"[{epoch}]")
    assert stream.getvalue() == "epochs: 1/3 [0]\nepochs: 2/3 [1]\nepochs: 3/3 [2]\n"


def test_bars_may_be_nested_and_concurrent():
    shown, stream = terminal(True)

    def work(name):
        with shown.task(name, 2) as outer:
            outer.advance()
            with shown.task(f"{name} inner", 1) as inner:
                inner.advance(note="[note]")
            shown.say(f"{name} half")
            outer.advance()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, "abcd"))
    text = stream.getvalue()
    for name in "abcd":
        assert f"{name}: 2/2 in 0." in text
        assert f"{name} inner: 1/1 in 0." in text
        assert "s [note]" in text
        assert f"{name} half" in text
    assert shown._bars is None


def test_a_bar_is_removed_after_an_error():
    shown, stream = terminal(True)
    with pytest.raises(ValueError, match="broken"), shown.task("epochs", 2):
        raise ValueError("broken")
    assert shown._bars is None
    assert "2/2" not in stream.getvalue()


def test_silence():
    with Silent().task("epochs", 2) as task:
        task.advance()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (9.96, "10.0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 0 s"),
        (200.0, "3 min 20 s"),
        (7500.0, "2 h 5 min"),
    ],
)
def test_durations(seconds, text):
    assert duration(seconds) == text


class Counted(Progress):
    def __init__(self):
        self.said = []
        self.counts = {}

    def say(self, text):
        self.said.append(text)

    def task(self, title, total, done=0):
        counted = self

        class Manager:
            def __enter__(self):
                counted.counts[title] = [done, total, "open"]
                return self

            def __exit__(self, *_):
                counted.counts[title][2] = "closed"

            def advance(self, parts=1, note=""):
                counted.counts[title][0] += parts

        return Manager()


def test_events_are_followed_as_they_come(tmp_path):
    path = tmp_path / "progress.jsonl"
    shown = Counted()
    follower = Follower("train", path, shown)
    follower.look()
    events = EventFile(path)
    events.say("begins")
    with events.task("epochs", 1000, done=10) as task:
        for _ in range(980):
            task.advance()
        follower.look()
        assert shown.counts["train: epochs"][1:] == [1000, "open"]
    follower.look()
    assert shown.counts == {"train: epochs": [990, 1000, "closed"]}
    assert shown.said == ["train: begins"]
    assert len(path.read_text().splitlines()) < 20


def test_half_written_lines_wait_for_their_end(tmp_path):
    path = tmp_path / "progress.jsonl"
    shown = Counted()
    follower = Follower("a", path, shown)
    line = json.dumps({"say": "Å whole"}, ensure_ascii=False) + "\n"
    path.write_bytes(line.encode()[:10])
    follower.look()
    assert shown.said == []
    path.write_bytes(line.encode())
    follower.look()
    assert shown.said == ["a: Å whole"]


def test_bars_of_a_killed_step_are_closed(tmp_path):
    path = tmp_path / "progress.jsonl"
    path.write_text('{"say": "of an earlier run"}\n')
    shown = Counted()
    with relayed({"a": path}, shown) as relay:
        EventFile(path).write({"begin": 1, "title": "epochs", "total": 5, "done": 0})
        relay.look()
    assert shown.counts == {"a: epochs": [0, 5, "closed"]}
    assert shown.said == []
