"""The variables of many systems as rows of three numbers: atoms, and the three rows of each cell behind its atoms."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from simkit.system import System


@dataclass(frozen=True)
class Rows:
    """Which row belongs to which system, atom and cell.

    Sums over the rows of a system run in the order of its rows, so they do not depend on the other systems.

    Attributes:
        owner: system of each row, non-decreasing.
        atoms: row of each atom.
        cells: rows of the cell of each system; None where cells do not change.
        n_systems: number of systems.
    """

    owner: Int[Tensor, " rows"]
    atoms: Int[Tensor, " atoms"]
    cells: Int[Tensor, "systems 3"] | None
    n_systems: int

    @classmethod
    def of(cls, system: System, with_cell: bool) -> Rows:
        """The rows of a batch of systems."""
        atoms = torch.arange(system.n_atoms, device=system.device)
        if not with_cell:
            return cls(system.batch, atoms, None, system.n_systems)
        systems = torch.arange(system.n_systems, device=system.device)
        ends = system.counts.cumsum(0)
        cells = (ends + 3 * systems)[:, None] + torch.arange(3, device=system.device)
        owner = systems.repeat_interleave(system.counts + 3)
        return cls(owner, atoms + 3 * system.batch, cells, system.n_systems)

    def pack(
        self, atoms: Float[Tensor, "atoms 3"], cells: Float[Tensor, "systems 3 3"] | None
    ) -> Float[Tensor, "rows 3"]:
        """One array of what atoms and cells have."""
        if self.cells is None or cells is None:
            return atoms
        packed = atoms.new_empty(self.owner.shape[0], 3)
        packed[self.atoms] = atoms
        packed[self.cells] = cells
        return packed

    def sum(self, values: Float[Tensor, " rows"]) -> Float[Tensor, " systems"]:
        """Sum over the rows of each system."""
        return values.new_zeros(self.n_systems).index_add(0, self.owner, values)

    def dot(self, a: Float[Tensor, "rows 3"], b: Float[Tensor, "rows 3"]) -> Float[Tensor, " systems"]:
        """Inner product of each system."""
        return self.sum((a * b).sum(1))

    def norm(self, values: Float[Tensor, "rows 3"]) -> Float[Tensor, " systems"]:
        """Euclidean norm of each system."""
        return self.dot(values, values).sqrt()

    def longest(self, values: Float[Tensor, "rows 3"]) -> Float[Tensor, " systems"]:
        """Norm of the longest row of each system; NaN where one is NaN."""
        lengths = values.norm(dim=1)
        return lengths.new_zeros(self.n_systems).scatter_reduce(0, self.owner, lengths, "amax")

    def spread(self, values: Shaped[Tensor, " systems"]) -> Shaped[Tensor, "rows 1"]:
        """A value of each system for each of its rows."""
        return values[self.owner, None]
