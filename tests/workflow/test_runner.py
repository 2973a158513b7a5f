import json
import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from simkit.errors import WorkflowError
from simkit.progress import Progress, Silent
from simkit.workflow.lock import locked
from simkit.workflow.machine import ProcessesProfile, SerialProfile
from simkit.workflow.runner import run_plan
from simkit.workflow.store import discard, is_begun, point_to_latest, read_result

CHAIN = """
name: demo
seed: 4
steps:
  a: {kind: number, value: 2}
  b: {kind: number, source: $a/number.txt, value: 0.5}
  total: {kind: add, terms: [$a/number.txt, $b/number.txt]}
  page: {kind: page, folder: $total}
"""
SERIAL = SerialProfile(device="cpu")


class Heard(Silent):
    """Keeps the lines that were said."""

    def __init__(self):
        self.lines = []

    def say(self, text):
        self.lines.append(text)


def run(plan, profile=SERIAL):
    heard = Heard()
    return run_plan(plan, profile, heard), heard.lines


def result(plan, name):
    return read_result(plan.steps[name].folder)


def test_the_whole_graph_runs_once(plan, tmp_path):
    planned = plan(CHAIN)
    report, _ = run(planned)
    assert report.succeeded
    assert set(report.finished) == {"a", "b", "total", "page"}
    assert result(planned, "total")["summary"] == {"sum": 4.5, "first_epoch": 0, "undefined": None}
    again, lines = run(plan(CHAIN))
    assert set(again.reused) == {"a", "b", "total", "page"}
    assert not again.finished
    assert lines[0] == "a: finished earlier"
    assert (planned.steps["a"].folder / "runs.txt").read_text() == "x"


def test_what_a_result_says(plan):
    planned = plan(CHAIN)
    run(planned)
    content = result(planned, "b")
    assert content["kind"] == "number"
    assert content["seed"] == 4
    assert content["settings"] == {"value": 0.5, "source": "$a/number.txt"}
    assert content["citations"] == ["Euclid, Elements VII"]
    assert content["units"]["energy"] == "eV"
    assert content["inputs"]["$a/number.txt"]["step"] == planned.steps["a"].address
    assert set(content["versions"]) == {"simkit", "torch", "python"}
    assert content["timings"]["seconds"] >= 0
    assert content["timings"]["continued"] is False
    assert content["machine"]["device"] == "cpu"


def test_people_find_the_latest_results_by_name(plan, tmp_path):
    planned = plan(CHAIN)
    run(planned)
    newer = plan(CHAIN.replace("0.5", "0.75"))
    run(newer)
    assert (tmp_path / "runs/demo/total").resolve() == newer.steps["total"].folder.resolve()
    assert json.loads((tmp_path / "runs/demo/index.json").read_text())["a"] == planned.steps["a"].folder.name
    assert (tmp_path / "runs/demo/total/sum.txt").read_text() == "4.75"
    (tmp_path / "runs/demo/mine").mkdir()
    with pytest.raises(WorkflowError, match=r"expected .*mine to be a link"):
        point_to_latest(tmp_path / "runs/demo", {"mine": planned.steps["a"].folder})


def test_an_interrupted_step_continues_in_its_folder(plan):
    planned = plan(CHAIN)
    folder = planned.steps["total"].folder
    folder.mkdir(parents=True)
    (folder / "state.txt").write_text("2")
    _, lines = run(planned)
    assert f"total: continues in {folder}" in lines
    assert result(planned, "total")["summary"]["first_epoch"] == 2
    assert result(planned, "total")["timings"]["continued"] is True


@pytest.mark.parametrize("damage", ["truncate result", "remove product", "other address"])
def test_a_damaged_result_is_made_again(plan, damage):
    planned = plan(CHAIN)
    run(planned)
    step = planned.steps["a"]
    path = step.folder / ("number.txt" if damage == "remove product" else "result.json")
    if damage == "truncate result":
        path.write_bytes(path.read_bytes()[:50])
    elif damage == "remove product":
        path.unlink()
    else:
        path.write_text(path.read_text().replace(step.address, "0" * 64))
    assert not step.finished
    report, _ = run(planned)
    assert set(report.finished) == {"a"}
    assert step.finished


def test_discarding_removes_all_but_the_lock(plan):
    planned = plan(CHAIN)
    run(planned)
    folder = planned.steps["a"].folder
    (folder / "sub").mkdir()
    discard(folder)
    assert [path.name for path in folder.iterdir()] == ["lock"]
    assert not is_begun(folder)
    discard(folder / "absent")


FAILING = """
name: fails
steps:
  bad: {kind: fail, how: HOW}
  after: {kind: number, source: $bad/nothing.txt}
  last: {kind: number, source: $after/number.txt}
  good: {kind: number, value: 1}
"""
FAILURES = {
    "simkit": "expected 3 atoms, found [bold]2[/bold]",
    "bug": "ZeroDivisionError: division by zero",
    "forgets": "the step ended without making nothing.txt",
    "object": "expected a JSON-compatible summary, found a type",
}


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("how", FAILURES)
def test_other_branches_go_on_after_an_error(plan, how):
    planned = plan(FAILING.replace("HOW", how))
    report, lines = run(planned)
    assert not report.succeeded
    assert FAILURES[how] in report.failed["bad"]
    assert report.blocked == {"after": ("bad",), "last": ("after",)}
    assert set(report.finished) == {"good"}
    log = planned.steps["bad"].folder / "log.txt"
    assert any(str(log) in line for line in lines)
    text = log.read_text()
    assert "about to fail" in text
    assert "Traceback" in text
    assert result(planned, "bad") is None
    report, _ = run(planned)
    assert "bad" in report.failed


@pytest.mark.filterwarnings("default")
def test_ctrl_c_in_a_step_reaches_the_caller(plan):
    planned = plan(FAILING.replace("HOW", "interrupt"))
    with pytest.raises(KeyboardInterrupt):
        run(planned)
    assert "bad interrupted" in (planned.steps["bad"].folder / "log.txt").read_text()


def test_logging_is_restored(plan):
    before = logging.getLogger().handlers[:]
    run(plan(CHAIN))
    assert logging.getLogger().handlers == before


def test_only_one_process_works_in_a_folder(plan):
    planned = plan(CHAIN)
    with locked(planned.steps["a"].folder):
        report, _ = run(planned)
        with pytest.raises(WorkflowError, match=f"another process works in .*process {os.getpid()} on"):
            discard(planned.steps["a"].folder)
    assert f"process {os.getpid()} on" in report.failed["a"]
    assert set(report.blocked) == {"b", "total", "page"}
    assert run(planned)[0].succeeded


def test_the_lock_of_a_dead_process_does_not_count(tmp_path):
    (tmp_path / "lock").write_text("process 999999999 on elsewhere\n")
    with locked(tmp_path):
        assert (tmp_path / "lock").read_text().startswith(f"process {os.getpid()} ")


def test_processes_share_the_work_and_report(plan, tmp_path):
    text = """
name: parallel
steps:
  a: {kind: number, value: 2}
  one: {kind: add, terms: [$a/number.txt], pause: 0.2}
  two: {kind: add, terms: [$a/number.txt, $a/number.txt], pause: 0.2}
  page: {kind: page, folder: $two}
  bad: {kind: fail, how: bug}
"""
    planned = plan(text)
    heard = Recorder()
    report = run_plan(planned, ProcessesProfile(executor="processes", workers=2, device="cpu"), heard)
    assert set(report.finished) == {"a", "one", "two", "page"}
    assert report.failed == {"bad": "ZeroDivisionError: division by zero"}
    assert result(planned, "two")["summary"]["sum"] == 4
    assert result(planned, "two")["timings"]["continued"] is False
    page = result(planned, "page")["summary"]
    assert page["pid"] != os.getpid()
    assert page["threads"] == str(max(1, (os.cpu_count() or 1) // 2))
    assert heard.bars == {"one: epochs": [3, 3], "two: epochs": [3, 3]}
    assert "two: sum 4.0" in heard.lines
    assert heard.lines.index("two: sum 4.0") < heard.lines.index(f"page: runs in {planned.steps['page'].folder}")


@pytest.mark.filterwarnings("default")
def test_a_killed_worker_is_told(plan):
    planned = plan("name: dies\nsteps: {bad: {kind: fail, how: dies}}")
    report = run_plan(planned, ProcessesProfile(executor="processes", workers=1, device="cpu"), Heard())
    assert "a worker process was killed, perhaps for lack of memory" in report.failed["bad"]


class Recorder(Progress):
    """Keeps lines, and the parts done of every bar."""

    def __init__(self):
        self.lines = []
        self.bars = {}

    def say(self, text):
        self.lines.append(text)

    def task(self, title, total, done=0):
        self.bars[title] = [done, total]
        return Recorded(self.bars[title])


class Recorded:
    def __init__(self, counts):
        self.counts = counts

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def advance(self, parts=1, note=""):
        self.counts[0] += parts


def test_toys_are_found_where_the_tests_put_them():
    import simkit_toys

    assert Path(simkit_toys.__file__).parent.name == "toys"


class Interrupting(Recorder):
    """Presses Ctrl-C as soon as a bar moves."""

    def task(self, title, total, done=0):
        super().task(title, total, done)
        return InterruptingTask(self.bars[title])


class InterruptingTask(Recorded):
    def advance(self, parts=1, note=""):
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)


@pytest.fixture
def heeded() -> Iterator[None]:
    """Ctrl-C is heeded, also where tests run in the background of a shell, which makes processes ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heeded")
def test_ctrl_c_stops_the_processes_and_the_next_run_continues(plan):
    text = "name: stop\nsteps:\n  a: {kind: number}\n  one: {kind: add, terms: [$a/number.txt], pause: PAUSE}\n"
    text = text.replace("PAUSE", "0.5, training: {epochs: 8}")
    planned = plan(text)
    with pytest.raises(KeyboardInterrupt):
        run_plan(planned, ProcessesProfile(executor="processes", workers=1, device="cpu"), Interrupting())
    assert multiprocessing.active_children() == []
    assert result(planned, "one") is None
    assert run(planned)[0].succeeded
    assert result(planned, "one")["summary"]["first_epoch"] > 0
