"""Intervals divided into equal cells."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from simkit.errors import SimkitError

QUADRATURE = 5
"""Points of Gauss and Legendre in a cell: exact for polynomials up to degree nine."""


@dataclass(frozen=True)
class CellGrid:
    """Equal cells of an interval; fields are known by their averages over cells, with the cells last.

    Attributes:
        start: of the interval.
        end: of the interval.
        cells: their number, six or more.
        dtype: of fields.
        device: of fields.

    Raises:
        SimkitError: fewer cells than a stencil has, or an end that is not behind the start.
    """

    start: float
    end: float
    cells: int
    dtype: torch.dtype = torch.float64
    device: torch.device | str = "cpu"

    def __post_init__(self) -> None:
        if self.cells < 6:
            raise SimkitError(f"expected at least 6 cells, as many as the stencils have, found {self.cells}")
        if not 0 < self.end - self.start < math.inf:
            raise SimkitError(f"expected an interval with start < end, found [{self.start:g}, {self.end:g}]")

    @property
    def length(self) -> float:
        """Of the interval."""
        return self.end - self.start

    @property
    def width(self) -> float:
        """Of a cell."""
        return self.length / self.cells

    @cached_property
    def centres(self) -> Float[Tensor, " cells"]:
        """Middles of the cells."""
        return self.start + self.width * (torch.arange(self.cells, dtype=self.dtype, device=self.device) + 0.5)

    @cached_property
    def faces(self) -> Float[Tensor, " faces"]:
        """Both ends of the interval and what is between two cells."""
        return self.start + self.width * torch.arange(self.cells + 1, dtype=self.dtype, device=self.device)

    def averages(self, function: Callable[[Tensor], Tensor]) -> Float[Tensor, "*batch cells"]:
        """Averages of a smooth function over each cell, by Gauss-Legendre quadrature with five points.

        Args:
            function: of coordinates with the axes (cells, points), which it keeps as its last ones.
        """
        nodes, weights = np.polynomial.legendre.leggauss(QUADRATURE)
        shifts = torch.as_tensor(0.5 * self.width * nodes, dtype=self.dtype, device=self.device)
        shares = torch.as_tensor(0.5 * weights, dtype=self.dtype, device=self.device)
        return function(self.centres[:, None] + shifts) @ shares

    def coarsened(self, averages: Float[Tensor, "*batch cells"], cells: int) -> Float[Tensor, "*batch coarse"]:
        """Averages over fewer, larger cells of the same interval.

        Raises:
            SimkitError: a number of cells that does not divide this grid's.
        """
        if cells < 1 or self.cells % cells:
            raise SimkitError(f"expected a number of cells that divides {self.cells}, found {cells}")
        return averages.unflatten(-1, (cells, -1)).mean(-1)
