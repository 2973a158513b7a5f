"""What the operators of this package have in common: saving for the backward pass, results of threads, and ``vmap``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

Batched = tuple[int | None, ...]
"""For each argument, the axis of ``vmap`` or None."""


def added(parts: Tensor) -> Tensor:
    """The sum over the first axis, which threads filled."""
    return parts[0] if parts.shape[0] == 1 else parts.sum(0)


def remember(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    """Save the tensors among the inputs for the backward pass, in which absent gradients are None."""
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*[value for value in inputs if isinstance(value, Tensor)])


def needed(ctx: Any, found: Sequence[Tensor]) -> tuple[Tensor | None, ...]:
    """For each input of an operator its gradient, None where it is not needed; ``found`` are those of the first."""
    wanted = ctx.needs_input_grad
    rest = [None] * (len(wanted) - len(found))
    return *[value if flag else None for value, flag in zip(found, wanted, strict=False)], *rest


def one_by_one(operator: Callable[..., Any], size: int, batched: Batched, arguments: Sequence[Any]) -> tuple[Any, Any]:
    """Results of ``operator`` for each place along the axes of ``vmap``, stacked, and their axes."""
    members = [
        operator(
            *[
                value if axis is None else value.select(axis, index)
                for value, axis in zip(arguments, batched, strict=True)
            ]
        )
        for index in range(size)
    ]
    if isinstance(members[0], Tensor):
        return torch.stack(members), 0
    return tuple(torch.stack(parts) for parts in zip(*members, strict=True)), (0,) * len(members[0])
