"""Quantities that depend on the element alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


class ElementIndex(nn.Module):
    """Index of each atom's element in a model's own list; an unsupported element gives an index out of range."""

    lookup: Tensor

    def __init__(self, elements: Sequence[int]) -> None:
        super().__init__()
        lookup = torch.full((119,), len(elements), dtype=torch.int64)
        lookup[torch.tensor(list(elements), dtype=torch.int64)] = torch.arange(len(elements))
        self.register_buffer("lookup", lookup, persistent=False)

    def forward(self, numbers: Int[Tensor, " atoms"]) -> Int[Tensor, " atoms"]:
        """Atomic numbers -> indices."""
        return self.lookup[numbers]


class ReferenceEnergies(nn.Module):
    """Energies of isolated atoms in eV, for each level of theory (head) and element.

    They are large beside what a model learns (carbon: -1000 eV), so they stay float64 when the module is converted to
    another floating-point type.
    """

    values: Tensor

    def __init__(self, values: Float[Tensor, "heads elements"] | Sequence[Sequence[float]]) -> None:
        super().__init__()
        self.register_buffer("values", torch.as_tensor(values, dtype=torch.float64))

    def forward(self, index: Int[Tensor, " atoms"], head: Int[Tensor, " atoms"] | int = 0) -> Float[Tensor, " atoms"]:
        """Energy of each atom, from the index of its element and of its head."""
        return self.values[head, index]

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> ReferenceEnergies:
        exact = self.values
        super()._apply(fn, recurse)
        self.values = exact.to(self.values.device)
        return self
