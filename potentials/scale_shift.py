"""Scale and shift of what a network predicts."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from simkit.errors import SimkitError
from simkit.potentials.constants import Constants


class ScaleShift(Constants):
    """``scale[head] · ε + shift[head]`` in eV, exact in float64 also after a conversion to float32 and back.

    Args:
        scale: in eV; one value, or one for each head.
        shift: in eV; one value, or one for each head.
        n_heads: number of levels of theory.

    Raises:
        SimkitError: another number of values.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, scale: float | Sequence[float], shift: float | Sequence[float], n_heads: int) -> None:
        super().__init__()
        for name, value in (("scale", scale), ("shift", shift)):
            values = [float(value)] * n_heads if isinstance(value, int | float) else list(value)
            if len(values) != n_heads:
                raise SimkitError(f"expected one {name} or one for each of {n_heads} heads, found {len(values)}")
            self.register_constant(name, torch.tensor(values, dtype=torch.float64))

    def forward(self, energies: Float[Tensor, " atoms"], head: Int[Tensor, " atoms"]) -> Float[Tensor, " atoms"]:
        """Energy of each atom without the isolated atom's."""
        return self.scale[head] * energies + self.shift[head]
