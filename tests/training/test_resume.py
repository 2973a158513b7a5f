"""A run that was interrupted, however, gives the same numbers as one that was not."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import simkit
from simkit.training.checkpoint import load_checkpoint
from simkit.training.log import read_log
from tests.training.running import small_trainer

ROOT = Path(simkit.__file__).parents[1]
EPOCHS = 4


def start(folder: Path, epochs: int = EPOCHS, seconds: float = 0.02) -> subprocess.Popen:
    command = [sys.executable, "-P", "-m", "tests.training.running", str(folder), str(epochs), str(seconds)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)


def wait_until_step(folder: Path, step: int) -> None:
    for _ in range(3000):
        time.sleep(0.01)
        if (folder / "last.ckpt").exists() and load_checkpoint(folder / "last.ckpt")["position"]["step"] >= step:
            return
    raise TimeoutError


def numbers(folder: Path) -> list[dict]:
    return [{key: value for key, value in row.items() if key != "seconds"} for row in read_log(folder / "log.csv")]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("uninterrupted")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    small_trainer(folder, EPOCHS).fit()
    torch.set_num_threads(before)
    return folder


def require_same(first: Path, second: Path) -> None:
    assert numbers(first) == numbers(second)
    assert len(numbers(first)) == EPOCHS
    states = [load_checkpoint(folder / name)["potential"] for folder in (first, second) for name in ("last.ckpt",)]
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name]), name


def test_killed_in_the_middle_of_an_epoch(tmp_path: Path, uninterrupted: Path) -> None:
    process = start(tmp_path)
    wait_until_step(tmp_path, 4)  # epochs have 3 steps
    process.kill()
    process.communicate()
    step = load_checkpoint(tmp_path / "last.ckpt")["position"]["step"]
    assert 4 <= step < 3 * EPOCHS
    assert step % 3, "the run was killed between epochs: this test needs the middle of one"
    small_trainer(tmp_path, EPOCHS).fit()
    require_same(uninterrupted, tmp_path)


def test_stopped_by_control_c(tmp_path: Path, uninterrupted: Path) -> None:
    process = start(tmp_path)
    wait_until_step(tmp_path, 1)
    process.send_signal(signal.SIGINT)
    _, message = process.communicate(timeout=60)
    assert process.returncode == 3
    assert "training stopped on request in epoch" in message
    assert "run the same command again to continue" in message
    small_trainer(tmp_path, EPOCHS).fit()
    require_same(uninterrupted, tmp_path)


def test_continued_after_its_end(tmp_path: Path) -> None:
    small_trainer(tmp_path, 1, stage_two=None).fit()
    longer = small_trainer(tmp_path, 2, stage_two=None).fit()
    straight = small_trainer(tmp_path / "straight", 2, stage_two=None).fit()
    assert numbers(tmp_path) == numbers(tmp_path / "straight")
    assert longer.best_loss == straight.best_loss


def test_again_after_its_end_changes_nothing(tmp_path: Path) -> None:
    first = small_trainer(tmp_path, 2).fit()
    again = small_trainer(tmp_path, 2).fit()
    assert (again.best_loss, again.best_epoch, again.errors) == (first.best_loss, first.best_epoch, first.errors)
    assert len(numbers(tmp_path)) == 2
