"""Constants of a model that survive conversions between floating-point types."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


class Constants(nn.Module):
    """A module whose constant buffers keep their float64 values when the module is converted to float32 and back.

    Coupling coefficients that were rounded to float32 would break rotational symmetry at 1e-7 in a float64 model.
    """

    def __init__(self) -> None:
        super().__init__()
        self._exact: dict[str, Tensor] = {}

    def register_constant(self, name: str, value: Tensor, persistent: bool = True) -> None:
        """Add a buffer in the default floating-point type, and remember ``value``."""
        self._exact[name] = value.detach().to("cpu", torch.float64)
        self.register_buffer(name, value.to(torch.get_default_dtype()), persistent=persistent)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Constants:
        before = {name: self.get_buffer(name).dtype for name in self._exact}
        super()._apply(fn, recurse)
        for name, exact in self._exact.items():
            buffer = self.get_buffer(name)
            if buffer.dtype != before[name]:
                setattr(self, name, exact.to(buffer.device, buffer.dtype))
        return self

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
        for name in self._exact:
            if prefix + name in state_dict:
                self._exact[name] = self.get_buffer(name).detach().to("cpu", torch.float64)
