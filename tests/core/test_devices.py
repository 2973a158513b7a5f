import pytest
import torch

from simkit.devices import require_device, resolve_device
from simkit.errors import SimkitError


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


@pytest.mark.parametrize("device", ["banana", "cuda:99"])
def test_devices_that_are_not_there_are_named(device):
    require_device("cpu")
    require_device(None)
    with pytest.raises(SimkitError, match=f"expected a device such as cpu, .*found '{device}'"):
        require_device(device)
