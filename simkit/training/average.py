"""Running averages of the weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


class WeightAverage:
    """Exponential or uniform average of parameters over optimiser steps.

    Exponential: ``θ̄ ← d·θ̄ + (1-d)·θ`` with ``d = min(decay, (1+n)/(10+n))`` at update n = 1, 2, ..., so that the start
    is forgotten soon. Uniform (``decay`` None): ``θ̄ ← θ̄ + (θ - θ̄)/n``, the mean of all weights since the start.

    References: B. T. Polyak, A. B. Juditsky, SIAM J. Control Optim. 30, 838 (1992); P. Izmailov et al.,
    arXiv:1803.05407.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], decay: float | None) -> None:
        self.parameters = list(parameters)
        self.decay = decay
        self.updates = 0
        self.values = [parameter.detach().clone() for parameter in self.parameters]

    @torch.no_grad()
    def update(self) -> None:
        """Take in the present weights."""
        self.updates += 1
        n = self.updates
        share = 1 / n if self.decay is None else 1 - min(self.decay, (1 + n) / (10 + n))
        if self.values:
            torch._foreach_lerp_(self.values, [parameter.detach() for parameter in self.parameters], share)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Within the block the parameters hold the average; afterwards exactly what they held before."""
        before = [parameter.detach().clone() for parameter in self.parameters]
        self._assign(self.values)
        try:
            yield
        finally:
            self._assign(before)

    @torch.no_grad()
    def _assign(self, values: list[Tensor]) -> None:
        for parameter, value in zip(self.parameters, values, strict=True):
            parameter.copy_(value)

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"decay": self.decay, "updates": self.updates, "values": self.values}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a checkpoint."""
        self.decay, self.updates = state["decay"], state["updates"]
        for own, value in zip(self.values, state["values"], strict=True):
            own.copy_(value)
