"""Applying a function that differs from element to element."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Int
from torch import Tensor


class ElementGroups:
    """Atoms grouped by element, computed once for all uses within an evaluation.

    Outside of compilation atoms are sorted by element and each present element's rows are treated together. Within
    :func:`torch.compile`, where sizes must not depend on data, every element's function sees all atoms and a mask
    selects.

    Args:
        index: of each atom's element, from 0.
        n_elements: number of elements of the model.
    """

    def __init__(self, index: Int[Tensor, " atoms"], n_elements: int) -> None:
        self.index = index
        self.n_elements = n_elements
        self.present: list[tuple[int, int]] | None = None
        if torch.compiler.is_compiling() or n_elements == 1:
            return
        counts = torch.bincount(index, minlength=n_elements).tolist()
        self.present = [(element, count) for element, count in enumerate(counts) if count]
        if len(self.present) > 1:
            self.order = torch.argsort(index, stable=True)
            self.inverse = torch.empty_like(self.order)
            self.inverse[self.order] = torch.arange(len(index), device=index.device)

    def apply(self, function: Callable[[Tensor, int], Tensor], rows: Tensor) -> Tensor:
        """``function(rows of one element, its index)`` for every element, in the order of the atoms."""
        if self.n_elements == 1:
            return function(rows, 0)
        if self.present is None:
            return self._masked(function, rows)
        if len(self.present) <= 1:
            return function(rows, self.present[0][0] if self.present else 0)
        parts = rows[self.order].split([count for _, count in self.present])
        results = [function(part, element) for part, (element, _) in zip(parts, self.present, strict=True)]
        return torch.cat(results)[self.inverse]

    def _masked(self, function: Callable[[Tensor, int], Tensor], rows: Tensor) -> Tensor:
        total: Tensor | None = None
        for element in range(self.n_elements):
            values = function(rows, element)
            mask = (self.index == element).view(-1, *[1] * (values.dim() - 1))
            part = torch.where(mask, values, 0)
            total = part if total is None else total + part
        assert total is not None
        return total
