import pytest
import torch

from simkit.errors import SimkitError
from simkit.floating import floating_type


@pytest.mark.parametrize(
    ("given", "expected"),
    [(None, None), ("float32", torch.float32), ("float64", torch.float64), (torch.float32, torch.float32)],
)
def test_types_by_name(given, expected):
    assert floating_type(given) is expected


@pytest.mark.parametrize("given", ["double", "float16", torch.float16, torch.int64])
def test_other_types_are_refused(given):
    with pytest.raises(SimkitError, match="expected dtype float32 or float64"):
        floating_type(given)
