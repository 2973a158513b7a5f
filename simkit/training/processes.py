"""One or many processes: devices, sums over processes, agreed interruptions."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from simkit.errors import MissingExtraError, SimkitError

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def connect(device: str = "cpu") -> Fabric:
    """Join the processes that ``torchrun`` started, or be alone.

    Args:
        device: ``cpu``, ``cuda`` (each process takes the GPU of its local rank), ``cuda:1`` or another torch device.

    Raises:
        MissingExtraError: Lightning Fabric is not installed.
    """
    try:
        from lightning_fabric import Fabric
    except ImportError as error:
        raise MissingExtraError("lightning-fabric", "train", "training") from error
    world = int(os.environ.get("WORLD_SIZE", "1"))
    local = int(os.environ.get("LOCAL_WORLD_SIZE", str(world)))
    chosen = torch.device(device)
    accelerator = "gpu" if chosen.type == "cuda" else chosen.type
    if accelerator not in ("cpu", "gpu", "mps"):
        raise SimkitError(f"expected the device cpu, cuda or mps; found '{device}'")
    if world > 1:
        fabric = Fabric(accelerator=accelerator, strategy="ddp", devices=local, num_nodes=world // local)
    else:
        one = [chosen.index or 0] if accelerator == "gpu" else 1
        fabric = Fabric(accelerator=accelerator, strategy="auto", devices=one)
    fabric.launch()
    return fabric


def total(fabric: Fabric, tensor: Tensor) -> Tensor:
    """Sum over processes; the tensor itself if there is one process.

    (Fabric's own ``all_reduce`` also waits at a barrier, every time.)
    """
    if fabric.world_size == 1:
        return tensor
    result = tensor.clone()
    torch.distributed.all_reduce(result)
    return result


def sum_gradients(fabric: Fabric, parameters: Sequence[nn.Parameter]) -> None:
    """Replace every gradient by its sum over processes, in one message for each floating-point type.

    The forces are derivatives that are taken outside the potential's forward call, and the gradients flow through them
    (a double backward). The hooks of DistributedDataParallel are made for one forward and one backward, and they
    average over processes, which is wrong when these hold different numbers of labels. Here each process divides by
    the *global* number of labels before its backward, so that plain sums are the gradients of the whole batch.
    """
    if fabric.world_size == 1:
        return
    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    for kind in sorted({parameter.dtype for parameter in parameters}, key=str):
        gradients = [p.grad for p in parameters if p.dtype == kind and p.grad is not None]
        joined = total(fabric, torch.cat([gradient.flatten() for gradient in gradients]))
        parts = joined.split([gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))


class StopRequest:
    """Whether somebody asked the run to stop."""

    def __init__(self) -> None:
        self.made = False

    def make(self, number: int, frame: FrameType | None) -> None:
        """Signal handler: remember the first request; obey a second one at once."""
        if self.made:
            raise KeyboardInterrupt
        self.made = True


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Within the block Ctrl-C and SIGTERM are noted instead of breaking a step in the middle."""
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    kinds = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(kind, request.make) for kind in kinds]
    try:
        yield request
    finally:
        for kind, handler in zip(kinds, before, strict=True):
            signal.signal(kind, handler)


def replicate(fabric: Fabric, tensors: Iterable[Tensor]) -> None:
    """Give every process the values that the first one has."""
    if fabric.world_size == 1:
        return
    for tensor in tensors:
        torch.distributed.broadcast(tensor.data, src=0)


def gather_random_state(fabric: Fabric) -> list[Tensor]:
    """State of torch's random numbers on the CPU and, if it is in use, the GPU, of every process."""
    state = torch.get_rng_state()
    if fabric.device.type == "cuda":
        state = torch.cat([state, torch.cuda.get_rng_state(fabric.device)])
    if fabric.world_size == 1:
        return [state]
    states = [torch.zeros_like(state, device=fabric.device) for _ in range(fabric.world_size)]
    torch.distributed.all_gather(states, state.to(fabric.device))
    return states


def restore_random_state(fabric: Fabric, states: Sequence[Tensor]) -> None:
    """Set what :func:`gather_random_state` saved; another number of processes starts new sequences."""
    if len(states) != fabric.world_size:
        return
    state = states[fabric.global_rank].cpu()
    size = torch.get_rng_state().numel()
    torch.set_rng_state(state[:size])
    if fabric.device.type == "cuda" and state.numel() > size:
        torch.cuda.set_rng_state(state[size:], fabric.device)
