"""Operators of torch with derivatives and a rule for ``vmap``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

Batched = tuple[int | None, ...]
"""For each argument, the axis of ``vmap`` or None."""

Backward = Callable[..., tuple[Tensor | None, ...]]


class Operator:
    """What ``torch.library`` made, with a derivative, for ``torch.func`` and batches of gradients too.

    Args:
        defined: the operator.
        backward: its derivative; the tensors among the inputs are saved for it, and absent gradients are None.
        batch: arguments with one more axis, as the operator takes them: (size, axes, arguments) -> arguments. It is
            called if only the first ``batched`` arguments have that axis; else the operator is called for each place.
        unbatch: (size, result) -> the result with that axis in front.
        batched: number of arguments that ``batch`` treats.
    """

    def __init__(
        self,
        defined: Any,
        backward: Backward | None,
        batch: Callable[[int, Batched, Sequence[Any]], list[Any]],
        unbatch: Callable[[int, Tensor], Tensor],
        batched: int,
    ) -> None:
        self.overload = defined._opoverload
        self.batch, self.unbatch, self.batched = batch, unbatch, batched
        members: dict[str, Any] = {
            "forward": staticmethod(lambda *inputs: self.overload(*inputs)),
            "setup_context": staticmethod(remember),
            "vmap": staticmethod(self._vmap),
        }
        if backward is not None:
            defined.register_autograd(backward, setup_context=remember)
            members["backward"] = staticmethod(backward)
        self.function: Any = type(self.overload._opname, (torch.autograd.Function,), members)

    def __call__(self, *inputs: Any) -> Any:
        """Call the operator; where ``torch.func`` is at work, by a function that it can transform."""
        if not torch.compiler.is_compiling() and torch._C._are_functorch_transforms_active():
            return self.function.apply(*inputs)
        return self.overload(*inputs)

    def _vmap(self, info: Any, axes: Batched, *inputs: Any) -> tuple[Any, Any]:
        count, size = self.batched, info.batch_size
        if any(axis is not None for axis in axes[count:]):
            return one_by_one(self, size, axes, inputs)
        found = self(*self.batch(size, axes, inputs[:count]), *inputs[count:])
        if isinstance(found, Tensor):
            return self.unbatch(size, found), 0
        return tuple(self.unbatch(size, value) for value in found), (0,) * len(found)


def remember(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    """Save the tensors among the inputs for the backward pass, in which absent gradients are None."""
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*[value for value in inputs if isinstance(value, Tensor)])


def needed(ctx: Any, found: Sequence[Tensor]) -> tuple[Tensor | None, ...]:
    """For each input of an operator its gradient, None where it is not needed; ``found`` are those of the first."""
    wanted = ctx.needs_input_grad
    rest = [None] * (len(wanted) - len(found))
    return *[value if flag else None for value, flag in zip(found, wanted, strict=False)], *rest


def one_by_one(operator: Callable[..., Any], size: int, axes: Batched, inputs: Sequence[Any]) -> tuple[Any, Any]:
    """Results of an operator for each place along the axes of ``vmap``, stacked, and their axes."""
    pairs = list(zip(inputs, axes, strict=True))
    places = range(size)
    found = [operator(*[v if axis is None else v.select(axis, place) for v, axis in pairs]) for place in places]
    if isinstance(found[0], Tensor):
        return torch.stack(found), 0
    return tuple(torch.stack(parts) for parts in zip(*found, strict=True)), (0,) * len(found[0])


def added(parts: Tensor) -> Tensor:
    """The sum over the first axis, which threads filled."""
    return parts[0] if parts.shape[0] == 1 else parts.sum(0)
