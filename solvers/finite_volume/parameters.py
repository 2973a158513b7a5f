"""Parameters that may differ between the systems of a batch."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from simkit.errors import SimkitError


def each(
    parameter: float | Tensor, values: Float[Tensor, "systems fields cells"]
) -> Float[Tensor, "systems_or_one 1 1"]:
    """A parameter, shaped to multiply the values of its systems.

    Raises:
        SimkitError: neither one value nor one for each system.
    """
    tensor = torch.as_tensor(parameter, dtype=values.dtype, device=values.device)
    if tensor.dim() > 1 or tensor.numel() not in (1, len(values)):
        raise SimkitError(
            f"expected a parameter with one value, or one for each of {len(values)} systems; found the shape "
            f"{tuple(tensor.shape)}"
        )
    return tensor.reshape(-1, 1, 1)
