"""Pairs of atoms within a cutoff, periodic images included."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import vesin
from jaxtyping import Bool, Float, Int
from torch import Tensor

from simkit.errors import SimkitError
from simkit.system import System


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

    @property
    def n_edges(self) -> int:
        """Number of pairs."""
        return self.centre.shape[0]

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Neighbours:
        """The same pairs on another device and/or for coordinates of another floating-point type."""
        return replace(
            self,
            centre=self.centre.to(device),
            neighbour=self.neighbour.to(device),
            shift=self.shift.to(device=device, dtype=dtype),
        )


def build_neighbours(system: System, cutoff: float, skin: float = 0.0) -> Neighbours:
    """Find all pairs closer than ``cutoff + skin`` (Å) in every system of a batch.

    Cost is linear in the number of atoms (cell lists, on the CPU). The order of pairs depends on the indices alone, not
    on the search, so sums over neighbours are reproducible.
    """
    positions = system.positions.detach().cpu().double().numpy()
    lattice = system.lattice.detach().cpu().double().numpy()
    pbc = system.pbc.cpu().numpy()
    search = vesin.NeighborList(cutoff=cutoff + skin, full_list=True)
    found, first = [], 0
    for index, count in enumerate(system.counts.tolist()):
        if count:
            points = _without_voids(positions[first : first + count], lattice[index], cutoff + skin)
            found.append(_search_one(search, points, lattice[index], pbc[index], first))
        first += count
    if not found:
        found = [(np.zeros(0, int), np.zeros(0, int), np.zeros((0, 3)))]
    centre, neighbour, shift = (np.concatenate(arrays) for arrays in zip(*found, strict=True))
    return Neighbours(
        centre=torch.as_tensor(centre, device=system.device),
        neighbour=torch.as_tensor(neighbour, device=system.device),
        shift=torch.as_tensor(shift, dtype=system.dtype, device=system.device),
        cutoff=float(cutoff),
        skin=float(skin),
    )


def _without_voids(positions: np.ndarray, lattice: np.ndarray, reach: float) -> np.ndarray:
    """Positions with the same pairs, but no gap wider than twice ``reach`` across directions that are not periodic.

    Cell lists over the empty space around atoms that have flown away would fill the memory.
    """
    _, lengths, directions = np.linalg.svd(lattice)
    directions = directions[lengths <= 1e-9 * max(lengths.max(), 1e-9)]
    heights = positions @ directions.T
    order = heights.argsort(axis=0)
    gaps = np.diff(np.take_along_axis(heights, order, 0), axis=0)
    if gaps.size == 0 or gaps.max() <= 10 * reach:
        return positions
    compact = np.zeros_like(heights)
    np.put_along_axis(compact, order[1:], np.minimum(gaps, 2 * reach).cumsum(0), 0)
    return positions - heights @ directions + compact @ directions


def _search_one(
    search: vesin.NeighborList, positions: np.ndarray, lattice: np.ndarray, pbc: np.ndarray, offset: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    i, j, shift = search.compute(points=positions, box=lattice, periodic=pbc, quantities="ijS")
    i, j = i.astype(np.int64), j.astype(np.int64)
    order = np.lexsort((shift[:, 2], shift[:, 1], shift[:, 0], j, i))
    return i[order] + offset, j[order] + offset, shift[order]


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


class NeighbourList:
    """A neighbour list with a skin, rebuilt only when a pair could have come within the cutoff unnoticed.

    Let the cell change by the linear map F and each atom move by δ beyond it. A pair outside ``cutoff + skin`` is then
    still farther apart than ``σ_min(F)·(cutoff + skin) - 2·max|δ|``; the list is reused while that exceeds the cutoff
    in every system. Changes of atoms, periodicity or device rebuild it.
    """

    def __init__(self, cutoff: float, skin: float = 0.5) -> None:
        if not 0 <= skin < np.inf:
            raise SimkitError(f"expected a skin of at least 0 Å, found {skin}")
        self.cutoff = cutoff
        self.skin = skin
        self.builds = 0
        self._system: System | None = None
        self._neighbours: Neighbours | None = None

    def update(self, system: System) -> Neighbours:
        """The pairs of ``system``, from memory where that is safe."""
        if self._neighbours is None or not self._reusable(system):
            self._system = system
            self._neighbours = build_neighbours(system, self.cutoff, self.skin)
            self.builds += 1
        return self._neighbours

    def _reusable(self, system: System) -> bool:
        old = self._system
        if old is None or old.device != system.device or old.dtype != system.dtype:
            return False
        same = (
            torch.equal(old.batch, system.batch)
            and torch.equal(old.numbers, system.numbers)
            and torch.equal(old.pbc, system.pbc)
        )
        return same and bool(_still_covered(old, system, self.cutoff, self.skin).all())


def _still_covered(old: System, new: System, cutoff: float, skin: float) -> Bool[Tensor, " systems"]:
    """Whether every pair within ``cutoff`` in ``new`` was within ``cutoff + skin`` in ``old``."""
    deformation = torch.linalg.solve(_completed(old), _completed(new))  # cell_new = cell_old @ F
    stretch = torch.linalg.svdvals(deformation).amin(1)
    moved = new.positions - torch.einsum("ai,aij->aj", old.positions, deformation[old.batch])
    # a common translation of a whole system changes no distance
    mean = torch.zeros_like(old.cell[:, 0]).index_add(0, old.batch, moved) / old.counts.clamp(min=1)[:, None]
    displacement = (moved - mean[old.batch]).norm(dim=1)
    largest = displacement.new_zeros(old.n_systems).scatter_reduce(0, old.batch, displacement, "amax")
    return stretch * (cutoff + skin) - 2 * largest > cutoff


def _completed(system: System) -> Float[Tensor, "systems 3 3"]:
    """The lattice with non-periodic axes replaced by unit vectors orthogonal to the periodic ones."""
    u, s, vh = torch.linalg.svd(system.lattice)
    null = (s <= 1e-9 * s.amax(1, keepdim=True).clamp(min=1e-9)).to(s.dtype)
    return system.lattice + torch.einsum("sik,sk,skj->sij", u, null, vh)
