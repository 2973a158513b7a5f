"""Two processes do what one does."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import simkit
from simkit.errors import MissingExtraError
from simkit.training.log import read_log
from simkit.training.processes import connect
from tests.training.shared_steps import main

ROOT = Path(simkit.__file__).parents[1]


def test_two_processes_give_the_gradients_of_one(tmp_path: Path) -> None:
    main(tmp_path / "one", tmp_path / "one.pt")
    torchrun = [sys.executable, "-P", "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command = [*torchrun, "-m", "tests.training.shared_steps", str(tmp_path / "two"), str(tmp_path / "two.pt")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    one, two = (torch.load(tmp_path / name, weights_only=True) for name in ("one.pt", "two.pt"))
    assert (one["world"], two["world"]) == (1, 2)
    assert len(one["gradients"]) == len(two["gradients"]) == 4
    for first, second in zip(one["gradients"], two["gradients"], strict=True):
        assert float(first.norm()) > 1e-3
        torch.testing.assert_close(first, second, rtol=1e-10, atol=1e-10)
    assert two["loss"] == pytest.approx(one["loss"], rel=1e-10)
    assert two["errors"] == pytest.approx(one["errors"], rel=1e-10)
    rows = [read_log(tmp_path / name / "log.csv") for name in ("one", "two")]
    for first, second in zip(*rows, strict=True):
        assert {**first, "seconds": 0} == pytest.approx({**second, "seconds": 0}, rel=1e-9)


def test_the_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lightning_fabric", None)
    with pytest.raises(MissingExtraError, match=r"training needs the package 'lightning-fabric'.*simkit-sci\[train\]"):
        connect()


def test_steps_are_described_without_torch_and_fabric() -> None:
    program = "import sys, simkit.workflow.steps.train; print({'torch', 'lightning_fabric'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.strip() == "set()", done.stdout + done.stderr
