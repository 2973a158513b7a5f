import numpy as np
import pytest
import torch

from simkit.errors import WorkflowError
from simkit.workflow.worker import json_ready


def test_summaries_become_plain_json():
    summary = {"a": np.float32(0.5), "b": np.arange(2), "c": [float("inf"), np.float64("nan")], "d": {1: (2, None)}}
    assert json_ready(summary) == {"a": 0.5, "b": [0, 1], "c": [None, None], "d": {"1": [2, None]}}
    with pytest.raises(WorkflowError, match="found a Tensor in it"):
        json_ready({"energy": torch.zeros(1)})
