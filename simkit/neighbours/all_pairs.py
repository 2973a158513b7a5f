"""Search among all pairs of atoms of each system: the fastest way for batches of many small systems."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from simkit.neighbours.lattice import completed_lattice, triangular
from simkit.neighbours.pairs import Neighbours
from simkit.system import System, concatenated_ranges

CHUNK = {"cpu": 2**16, "cuda": 2**22}
"""Candidates examined at once: about 10 MB, as much as stays in the caches, and on a GPU 600 MB."""

LOST = 1e12
"""Atoms farther than so many lattice vectors from the origin have no digits left for their place in the cell."""


class _Atoms(NamedTuple):
    """Coordinates along the orthonormal directions in which the lattice is upper triangular, all in Å."""

    coordinates: Float[Tensor, "3 atoms"]
    lattice: Float[Tensor, "3 3 atoms"]
    fixed: Bool[Tensor, "3 atoms"] | None  # axes that are not periodic; None where all are


def search_all_pairs(system: System, cutoff: float) -> Neighbours:
    """Pairs closer than ``cutoff`` (Å), sorted by centre, neighbour and shift.

    In directions in which the lattice is upper triangular, the first component of the vector between two atoms depends
    on the first lattice translation only, the second on the first two, the third on all. The translations that bring a
    pair within the cutoff are therefore listed one after another, each within what the components before it leave of
    the cutoff. Time is proportional to the sum of squares of the numbers of atoms plus the number of pairs found,
    memory beyond the result is bounded. Atoms at NaN or infinity have no neighbours.
    """
    atoms = _turned(system)
    counts = system.counts
    partners = counts[system.batch]
    first = (counts.cumsum(0) - counts)[system.batch]
    found = [
        _search_rows(atoms, cutoff, rows, first[rows], partners[rows]) for rows in _chunks(atoms, cutoff, partners)
    ]
    centre, neighbour, shift = (torch.cat(parts) for parts in zip(*found, strict=True))
    return Neighbours(centre, neighbour, shift.to(system.dtype), cutoff)


def _turned(system: System) -> _Atoms:
    lattice, directions = triangular(completed_lattice(system))
    positions = system.positions.detach().double()
    coordinates = (directions[system.batch] @ positions[:, :, None])[:, :, 0].T
    per_atom = lattice[system.batch].permute(1, 2, 0).contiguous()
    periodic = system.pbc[system.batch].T
    lost = periodic & ~(coordinates.abs() < LOST * per_atom.diagonal().T)
    fixed = None if bool(periodic.all()) else ~periodic
    return _Atoms(torch.where(lost, torch.nan, coordinates).contiguous(), per_atom, fixed)


def _chunks(atoms: _Atoms, cutoff: float, partners: Int[Tensor, " atoms"]) -> list[slice]:
    """Consecutive centres that have about as many candidates together as a chunk should."""
    images = 2 * cutoff / atoms.lattice.diagonal().T
    if atoms.fixed is not None:
        images = images.masked_fill(atoms.fixed, 1)
    candidates = partners * images.clamp(min=1).nan_to_num(1).prod(0)
    group = (candidates.cumsum(0) / CHUNK.get(partners.device.type, CHUNK["cpu"])).floor()
    bounds = [0, *(torch.nonzero(group.diff())[:, 0] + 1).tolist(), len(partners)]
    return [slice(*pair) for pair in pairwise(bounds)]


def _search_rows(
    atoms: _Atoms, cutoff: float, rows: slice, first: Int[Tensor, " centres"], partners: Int[Tensor, " centres"]
) -> tuple[Int[Tensor, " edges"], Int[Tensor, " edges"], Float[Tensor, "edges 3"]]:
    """Pairs whose centres are the atoms ``rows``; their partners are consecutive, from ``first``."""
    i = torch.repeat_interleave(torch.arange(rows.start, rows.stop, device=first.device), partners)
    j = concatenated_ranges(first, partners)
    left = torch.full(i.shape, cutoff**2, dtype=torch.float64, device=i.device)
    shifts: list[Tensor] = []
    for axis in range(3):
        component = atoms.coordinates[axis].index_select(0, j) - atoms.coordinates[axis].index_select(0, i)
        for before, shift in enumerate(shifts):
            component.addcmul_(shift, atoms.lattice[before, axis].index_select(0, i))
        spacing = atoms.lattice[axis, axis].index_select(0, i)
        fixed = None if atoms.fixed is None else atoms.fixed[axis].index_select(0, i)
        lowest, number = _translations(component, spacing, left.sqrt(), fixed)
        parent = torch.repeat_interleave(number)
        start = lowest - (number.cumsum(0) - number)
        shift = start.index_select(0, parent) + torch.arange(len(parent), device=i.device)
        component = component.index_select(0, parent).addcmul_(shift, spacing.index_select(0, parent))
        left = left.index_select(0, parent).addcmul_(component, component, value=-1).clamp_(min=0)
        i, j = i.index_select(0, parent), j.index_select(0, parent)
        shifts = [*(earlier.index_select(0, parent) for earlier in shifts), shift]
    itself = (i == j) & ~(shifts[0].bool() | shifts[1].bool() | shifts[2].bool())
    kept = torch.nonzero((left > 0) & ~itself)[:, 0]
    shift = torch.stack([shift.index_select(0, kept) for shift in shifts], 1)
    return i.index_select(0, kept), j.index_select(0, kept), shift


def _translations(
    component: Float[Tensor, " pairs"],
    spacing: Float[Tensor, " pairs"],
    reach: Float[Tensor, " pairs"],
    fixed: Bool[Tensor, " pairs"] | None,
) -> tuple[Float[Tensor, " pairs"], Int[Tensor, " pairs"]]:
    """Lowest k and number of k with ``|component + k·spacing| <= reach``; k is 0 along axes that are not periodic."""
    lowest = ((-reach - component) / spacing).ceil_()
    number = ((reach - component) / spacing).floor_().sub_(lowest).add_(1)
    if fixed is not None:
        lowest.masked_fill_(fixed, 0)
        number = torch.where(fixed, component.abs() <= reach, number)
    return lowest, number.nan_to_num_(0).clamp_(min=0).long()
