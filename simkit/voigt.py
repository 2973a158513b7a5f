"""Symmetric 3x3 tensors as six numbers, in Voigt's order."""

from __future__ import annotations

from jaxtyping import Shaped
from torch import Tensor

VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
"""Rows and columns of the components xx yy zz yz xz xy."""


def to_voigt(tensors: Shaped[Tensor, "*batch 3 3"]) -> Shaped[Tensor, "*batch 6"]:
    """The six components of symmetric tensors, as stresses are written: no factors of two."""
    rows, columns = zip(*VOIGT, strict=True)
    return tensors[..., list(rows), list(columns)]
