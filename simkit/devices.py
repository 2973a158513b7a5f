"""Torch devices, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simkit.errors import SimkitError

if TYPE_CHECKING:
    import torch


def require_device(device: torch.device | str | None) -> None:
    """Check that tensors can be put on a device; None is allowed.

    Raises:
        SimkitError: there is no such device.
    """
    import torch

    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise SimkitError(f"expected a device such as cpu, cuda, cuda:1 or mps, found {device!r}: {reason}") from error


def resolve_device(name: str) -> str:
    """The name of a torch device that is there; ``auto`` means a CUDA device if there is one, else the CPU.

    Raises:
        SimkitError: no such device here.
    """
    if name == "cpu":
        return name
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    kind, _, index = name.partition(":")
    counts = {"cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    if kind not in counts or not (index or "0").isdigit():
        raise SimkitError(f"expected the device auto, cpu, cuda, cuda:1 or mps, found '{name}'")
    if int(index or 0) >= counts[kind]:
        raise SimkitError(
            f"the device {name} is not there: this PyTorch ({torch.__version__}) sees {counts[kind]} {kind} devices; "
            "use the device cpu, or install PyTorch for your device"
        )
    return name
