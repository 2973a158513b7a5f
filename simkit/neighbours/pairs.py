"""Lists of pairs, and how lists of several systems are joined and taken apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from simkit.system import System, concatenated_ranges


@dataclass(frozen=True)
class Neighbours:
    """Every ordered pair (centre, neighbour) that is closer than ``cutoff + skin``, sorted by centre.

    The vector from centre to neighbour is ``r = x[neighbour] - x[centre] + shift @ cell``. It is not stored: it is
    computed where it is needed, so that derivatives of any order exist.

    Attributes:
        centre: index of the first atom of each pair.
        neighbour: index of the second atom; may equal ``centre`` if the pair crosses a periodic boundary.
        shift: lattice translations of the second atom (whole numbers, in the type of the coordinates).
        cutoff: distance in Å up to which the list is complete.
        skin: extra distance in Å that the list covers beyond the cutoff.
    """

    centre: Int[Tensor, " edges"]
    neighbour: Int[Tensor, " edges"]
    shift: Float[Tensor, "edges 3"]
    cutoff: float
    skin: float = 0.0
    _known: list[tuple[Tensor, Tensor]] = field(default_factory=list, init=False, repr=False, compare=False)

    @property
    def n_edges(self) -> int:
        """Number of pairs."""
        return self.centre.shape[0]

    def offsets(self, system: System) -> Float[Tensor, "edges 3"]:
        """``shift @ cell`` of each pair in Å, differentiable in the cell."""
        lattice = system.lattice
        if system.n_systems == 1:
            return self.shift @ lattice[0]
        first, second, third = lattice.index_select(0, system.batch.index_select(0, self.centre)).unbind(1)
        n = self.shift[:, :, None]
        return n[:, 0] * first + n[:, 1] * second + n[:, 2] * third

    def known_offsets(self, system: System) -> Float[Tensor, "edges 3"]:
        """:meth:`offsets`, remembered while the cells stay the same, and cut from the autograd graph."""
        lattice = system.lattice.detach()
        if not self._known or not torch.equal(self._known[0][0], lattice):
            with torch.no_grad():
                self._known[:] = [(lattice, self.offsets(system))]
        return self._known[0][1]

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Neighbours:
        """The same pairs on another device and/or for coordinates of another floating-point type."""
        return replace(
            self,
            centre=self.centre.to(device),
            neighbour=self.neighbour.to(device),
            shift=self.shift.to(device=device, dtype=dtype),
        )


def concatenate_neighbours(parts: Sequence[Neighbours], atoms: Sequence[int]) -> Neighbours:
    """Join the lists of systems that are concatenated into one batch; ``atoms`` are their numbers of atoms."""
    offsets = np.cumsum([0, *atoms[:-1]]).tolist()
    return Neighbours(
        centre=torch.cat([part.centre + offset for part, offset in zip(parts, offsets, strict=True)]),
        neighbour=torch.cat([part.neighbour + offset for part, offset in zip(parts, offsets, strict=True)]),
        shift=torch.cat([part.shift for part in parts]),
        cutoff=min(part.cutoff for part in parts),
        skin=min(part.skin for part in parts),
    )


def select_neighbours(
    neighbours: Neighbours, counts: Int[Tensor, " systems"], kept: Int[Tensor, " kept"]
) -> Neighbours:
    """The pairs of the systems with the indices ``kept``, in that order, numbered as in ``system.select(kept)``.

    Args:
        neighbours: pairs of a batch.
        counts: number of atoms of each system of that batch, ``system.counts``.
        kept: indices of systems.
    """
    bounds = torch.searchsorted(neighbours.centre, torch.cat([counts.new_zeros(1), counts.cumsum(0)]))
    edges = bounds.diff()[kept]
    rows = concatenated_ranges(bounds[:-1][kept], edges)
    sizes = counts[kept]
    offset = sizes.cumsum(0) - sizes - (counts.cumsum(0) - counts)[kept]
    offset = torch.repeat_interleave(offset, edges, output_size=rows.shape[0])
    return replace(
        neighbours,
        centre=neighbours.centre[rows] + offset,
        neighbour=neighbours.neighbour[rows] + offset,
        shift=neighbours.shift[rows],
    )
