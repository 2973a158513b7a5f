"""Floating-point types, by name or as torch knows them."""

from __future__ import annotations

import torch

from simkit.errors import SimkitError

TYPES = {"float32": torch.float32, "float64": torch.float64}


def floating_type(dtype: torch.dtype | str | None) -> torch.dtype | None:
    """The torch type of ``"float32"``, ``"float64"`` or of itself; None stays None.

    Raises:
        SimkitError: any other type.
    """
    if dtype is None or dtype in TYPES.values():
        return dtype  # type: ignore[return-value]
    if dtype not in TYPES:
        raise SimkitError(f"expected dtype float32 or float64, found {dtype}")
    return TYPES[dtype]
