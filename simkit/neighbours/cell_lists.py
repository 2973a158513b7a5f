"""Search by cell lists on the CPU: linear in the number of atoms, the fastest way for large systems."""

from __future__ import annotations

import numpy as np
import torch
import vesin

from simkit.neighbours.pairs import Neighbours
from simkit.system import System


def search_cell_lists(system: System, cutoff: float) -> Neighbours:
    """Pairs closer than ``cutoff`` (Å), sorted by centre, neighbour and shift; none of atoms at NaN or infinity."""
    positions = system.positions.detach().cpu().double().numpy()
    lattice = system.lattice.detach().cpu().double().numpy()
    pbc = system.pbc.cpu().numpy()
    search = vesin.NeighborList(cutoff=cutoff, full_list=True)
    pairs, shifts, first = [np.zeros((0, 2), np.int64)], [np.zeros((0, 3), np.int64)], 0
    for index, count in enumerate(system.counts.tolist()):
        points = positions[first : first + count]
        usable = np.flatnonzero(np.isfinite(points).all(1) & np.isfinite(lattice[index]).all())
        if usable.size:
            points = points[usable]
            if not pbc[index].all():
                points = _without_voids(points, lattice[index], cutoff)
            found, shift = search.compute(points, lattice[index], pbc[index], quantities="PS", copy=False)
            pair, shift = _sorted(found.astype(np.int64), shift.astype(np.int64), usable.size)
            pairs.append(usable[pair] + first)
            shifts.append(shift)
        first += count
    pair, shift = np.concatenate(pairs), np.concatenate(shifts)
    return Neighbours(
        centre=torch.as_tensor(np.ascontiguousarray(pair[:, 0]), device=system.device),
        neighbour=torch.as_tensor(np.ascontiguousarray(pair[:, 1]), device=system.device),
        shift=torch.as_tensor(shift, dtype=system.dtype, device=system.device),
        cutoff=cutoff,
    )


def _sorted(pairs: np.ndarray, shifts: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Sorted by first atom, second atom and shift: packed into one whole number if its 63 bits suffice."""
    lowest = shifts.min(0, initial=0)
    sizes = (count, count, *(shifts.max(0, initial=0) - lowest + 1).tolist())
    bits = [int(size - 1).bit_length() for size in sizes]
    if sum(bits) > 63:
        order = np.lexsort((*shifts.T[::-1], pairs[:, 1], pairs[:, 0]))
        return pairs[order], shifts[order]
    columns = [*pairs.T, *(shifts - lowest).T]
    key = columns[0]
    for column, width in zip(columns[1:], bits[1:], strict=True):
        key = (key << width) | column
    key = np.sort(key)
    unpacked = []
    for width in bits[:0:-1]:
        unpacked.append(key & ((1 << width) - 1))
        key = key >> width
    third, second, one, neighbour = unpacked
    return np.stack([key, neighbour], 1), np.stack([one, second, third], 1) + lowest


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
