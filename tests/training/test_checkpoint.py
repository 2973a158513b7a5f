"""Checkpoints that are damaged or of another version."""

from pathlib import Path

import pytest
import torch

from simkit.errors import SimkitError
from simkit.training.checkpoint import load_checkpoint, save_checkpoint


def test_round_trip(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "a.ckpt", {"tensor": torch.arange(3.0), "nested": {"best": float("inf")}})
    state = load_checkpoint(tmp_path / "a.ckpt")
    assert torch.equal(state["tensor"], torch.arange(3.0))
    assert state["nested"] == {"best": float("inf")}


def test_truncated(tmp_path: Path) -> None:
    path = tmp_path / "a.ckpt"
    save_checkpoint(path, {"tensor": torch.arange(1000.0)})
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(SimkitError, match=r"not a readable checkpoint .* delete it"):
        load_checkpoint(path)


def test_code_in_the_file_is_not_run(tmp_path: Path) -> None:
    torch.save({"version": 1, "bad": Path("x")}, tmp_path / "a.ckpt")
    with pytest.raises(SimkitError, match="not a readable checkpoint"):
        load_checkpoint(tmp_path / "a.ckpt")


def test_other_version(tmp_path: Path) -> None:
    torch.save({"version": 99}, tmp_path / "a.ckpt")
    with pytest.raises(SimkitError, match="expected a checkpoint of version 1, found 99"):
        load_checkpoint(tmp_path / "a.ckpt")
