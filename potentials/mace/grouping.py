"""Applying a function that differs from element to element."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Int
from torch import Tensor


class ElementGroups:
    """Atoms grouped by element, once for all uses within an evaluation.

    Outside of compilation atoms are sorted by element and each present element's rows are treated together. Within
    :func:`torch.compile`, where sizes must not depend on data, every element's function sees all atoms and a mask
    selects.

    Args:
        numbers: atomic number of each atom.
        index: of each atom's element among ``elements``.
        elements: atomic numbers of the model.
    """

    def __init__(self, numbers: Int[Tensor, " atoms"], index: Int[Tensor, " atoms"], elements: Sequence[int]) -> None:
        self.index = index
        self.n_elements = len(elements)
        self.present: list[tuple[int, int]] | None = None
        if torch.compiler.is_compiling():
            return
        counts = torch.bincount(numbers, minlength=max(elements) + 1).tolist()
        position = {number: place for place, number in enumerate(elements)}
        self.present = [(position[number], count) for number, count in enumerate(counts) if count]
        if len(self.present) > 1:
            self.order = torch.argsort(numbers, stable=True)
            self.inverse = torch.empty_like(self.order)
            self.inverse[self.order] = torch.arange(len(numbers), device=numbers.device)

    def apply(self, function: Callable[[Tensor, int], Tensor], rows: Tensor) -> Tensor:
        """``function(rows of one element, its index)`` for every element, in the order of the atoms."""
        if self.present is None:
            return self._masked(function, rows)
        if len(self.present) <= 1:
            return function(rows, self.present[0][0] if self.present else 0)
        parts = rows[self.order].split([count for _, count in self.present])
        results = [function(part, element) for part, (element, _) in zip(parts, self.present, strict=True)]
        return torch.cat(results)[self.inverse]

    def places(self) -> tuple[Int[Tensor, " present"], Int[Tensor, " atoms"]]:
        """The elements that are present, and the place among them of each atom's; within compilation all elements."""
        if self.present is None:
            return torch.arange(self.n_elements, device=self.index.device), self.index
        present = torch.tensor([element for element, _ in self.present], dtype=torch.int64, device=self.index.device)
        rank = torch.zeros(self.n_elements, dtype=torch.int64, device=self.index.device)
        rank[present] = torch.arange(len(present), device=self.index.device)
        return present, rank[self.index]

    def _masked(self, function: Callable[[Tensor, int], Tensor], rows: Tensor) -> Tensor:
        total = function(rows, 0)
        total = torch.where(self._mask(0, total), total, 0)
        for element in range(1, self.n_elements):
            values = function(rows, element)
            total = total + torch.where(self._mask(element, values), values, 0)
        return total

    def _mask(self, element: int, values: Tensor) -> Tensor:
        return (self.index == element).view(-1, *[1] * (values.dim() - 1))
