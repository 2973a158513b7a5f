import numpy as np
import pytest
import torch

from simkit.errors import SimkitError, WorkflowError
from simkit.workflow.worker import json_ready, resolve_device


def test_devices(monkeypatch):
    assert resolve_device("cpu") == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [resolve_device(name) for name in ("auto", "cuda", "cuda:1")] == ["cuda", "cuda", "cuda:1"]
    with pytest.raises(SimkitError, match=r"the device cuda:2 is not there: .* sees 2 cuda devices"):
        resolve_device("cuda:2")
    with pytest.raises(SimkitError, match=r"expected the device auto, cpu, .* found 'gpu'"):
        resolve_device("gpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("auto") == "cpu"


def test_summaries_become_plain_json():
    summary = {"a": np.float32(0.5), "b": np.arange(2), "c": [float("inf"), np.float64("nan")], "d": {1: (2, None)}}
    assert json_ready(summary) == {"a": 0.5, "b": [0, 1], "c": [None, None], "d": {"1": [2, None]}}
    with pytest.raises(WorkflowError, match="found a Tensor in it"):
        json_ready({"energy": torch.zeros(1)})
