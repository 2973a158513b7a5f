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

CHUNK = 2**20
"""Candidates that are examined at once: bounds the memory to about 200 MB."""


class _Atoms(NamedTuple):
    """Coordinates along the orthonormal directions in which the lattice is upper triangular, all in Å."""

    coordinates: Float[Tensor, "3 atoms"]
    lattice: Float[Tensor, "3 3 atoms"]
    periodic: Bool[Tensor, "3 atoms"]


def search_all_pairs(system: System, cutoff: float) -> Neighbours:
    """Pairs closer than ``cutoff`` (Å), sorted by centre, neighbour and shift.

    In directions in which the lattice is upper triangular, the first component of the vector between two atoms depends
    on the first lattice translation only, the second on the first two, the third on all. The translations that bring a
    pair within the cutoff are therefore listed one after another, each within what the components before it leave of
    the cutoff. Time is proportional to the sum of squares of the numbers of atoms plus the number of pairs found,
    memory is bounded. Atoms at NaN have no neighbours.
    """
    lattice, directions = triangular(completed_lattice(system))
    positions = (directions[system.batch] @ system.positions.detach().double()[:, :, None])[:, :, 0]
    per_atom = lattice[system.batch].permute(1, 2, 0).contiguous()
    atoms = _Atoms(positions.T.contiguous(), per_atom, system.pbc[system.batch].T.contiguous())
    counts = system.counts
    partners = counts[system.batch]
    first = (counts.cumsum(0) - counts)[system.batch]
    found = [
        _search_rows(atoms, cutoff, rows, first[rows], partners[rows]) for rows in _chunks(atoms, cutoff, partners)
    ]
    centre, neighbour, shift = (torch.cat(parts) for parts in zip(*found, strict=True))
    return Neighbours(centre, neighbour, shift.to(system.dtype), cutoff)


def _chunks(atoms: _Atoms, cutoff: float, partners: Int[Tensor, " atoms"]) -> list[slice]:
    """Consecutive centres that have about ``CHUNK`` candidates together."""
    spacing = atoms.lattice.diagonal().T
    images = torch.where(atoms.periodic, 2 * cutoff / spacing, 1).clamp(min=1).nan_to_num(1).prod(0)
    group = ((partners * images).cumsum(0) / CHUNK).floor()
    bounds = [0, *(torch.nonzero(group.diff())[:, 0] + 1).tolist(), len(partners)]
    return [slice(*pair) for pair in pairwise(bounds)]


def _search_rows(
    atoms: _Atoms, cutoff: float, rows: slice, first: Int[Tensor, " centres"], partners: Int[Tensor, " centres"]
) -> tuple[Int[Tensor, " edges"], Int[Tensor, " edges"], Float[Tensor, "edges 3"]]:
    """Pairs whose centres are the atoms ``rows``; their partners are consecutive, from ``first``."""
    i = torch.repeat_interleave(torch.arange(rows.start, rows.stop, device=first.device), partners)
    j = concatenated_ranges(first, partners)
    left = torch.full_like(i, cutoff**2, dtype=torch.float64)
    shifts: list[Tensor] = []
    for axis in range(3):
        component = atoms.coordinates[axis][j] - atoms.coordinates[axis][i]
        for before, shift in enumerate(shifts):
            component = component + shift * atoms.lattice[before, axis][i]
        spacing = atoms.lattice[axis, axis][i]
        lowest, number = _translations(component, spacing, left.clamp(min=0).sqrt(), atoms.periodic[axis][i])
        parent = torch.repeat_interleave(number)
        step = torch.arange(len(parent), device=i.device) - (number.cumsum(0) - number)[parent]
        shift = lowest[parent] + step
        i, j = i[parent], j[parent]
        shifts = [*(earlier[parent] for earlier in shifts), shift]
        left = left[parent] - (component[parent] + shift * spacing[parent]).square()
    itself = (i == j) & (shifts[0] == 0) & (shifts[1] == 0) & (shifts[2] == 0)
    kept = torch.nonzero((left > 0) & ~itself)[:, 0]
    return i[kept], j[kept], torch.stack([shift[kept] for shift in shifts], 1)


def _translations(
    component: Float[Tensor, " pairs"],
    spacing: Float[Tensor, " pairs"],
    reach: Float[Tensor, " pairs"],
    periodic: Bool[Tensor, " pairs"],
) -> tuple[Float[Tensor, " pairs"], Int[Tensor, " pairs"]]:
    """Lowest k and number of k with ``|component + k·spacing| <= reach``; k is 0 along axes that are not periodic."""
    scaled, most = component / spacing, reach / spacing
    lowest = torch.where(periodic, (-most - scaled).ceil(), 0)
    number = torch.where(periodic, (most - scaled).floor() - lowest + 1, component.abs() <= reach)
    return lowest, torch.minimum(number, 2 * most + 2).nan_to_num(0).clamp(min=0).long()
