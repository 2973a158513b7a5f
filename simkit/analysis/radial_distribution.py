"""Radial distribution functions of pairs of elements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from simkit.analysis.statistics import mean_and_error
from simkit.analysis.trajectory import Trajectory, heights
from simkit.errors import DataError
from simkit.neighbours import build_neighbours
from simkit.system import System

FRAMES_AT_ONCE = 16


@dataclass(frozen=True)
class RadialDistribution:
    """Radial distribution functions.

    Attributes:
        r: middle of each bin, in Å.
        pairs: atomic numbers of the centre and the neighbour.
        g: density of neighbours at each distance over their mean density.
        error: standard error of g from blocks of time; NaN if there is one block.
        coordination: mean number of neighbours up to the outer edge of each bin, around one centre.
    """

    r: Float[ndarray, " bins"]
    pairs: tuple[tuple[int, int], ...]
    g: Float[ndarray, "pairs bins"]
    error: Float[ndarray, "pairs bins"]
    coordination: Float[ndarray, "pairs bins"]


def radial_distribution(
    trajectories: Sequence[Trajectory], *, r_max: float | None = None, bins: int = 200, blocks: int = 5
) -> RadialDistribution:
    """Radial distribution functions of all pairs of elements.

    ``g_ab(r) = Σ_f n_ab(r) / Σ_f [N_a (N_b - δ_ab)/V · (4π/3)(r₊³ - r₋³)]`` with the number n_ab of ordered pairs whose
    distance lies between the edges r₋ and r₊ of a bin, summed over frames f. An ideal gas has g = 1 whatever its number
    of atoms.

    Args:
        trajectories: of systems of the same elements, periodic along all axes; cells may be triclinic and may change.
        r_max: largest distance in Å, at most half of the smallest height of a cell; that by default.
        bins: number of bins.
        blocks: parts of each trajectory, taken as independent for the errors.

    Raises:
        DataError: a system that is not periodic, too large an ``r_max``, or fewer frames than blocks.

    Reference: M. P. Allen, D. J. Tildesley, Computer Simulation of Liquids, 2nd ed. (Oxford, 2017), section 8.2,
    doi:10.1093/oso/9780198803195.001.0001.
    """
    reach = largest_distance(trajectories)
    r_max = reach if r_max is None else r_max
    if not 0 < r_max <= reach * (1 + 1e-9):
        raise DataError(
            f"expected r_max between 0 and half of the smallest height of the cells, {reach:.3f} Å, found {r_max:g} Å: "
            "beyond, atoms meet their own images; simulate a larger cell"
        )
    edges = np.linspace(0, r_max, bins + 1)
    elements = sorted({int(number) for one in trajectories for number in one.numbers})
    pairs = tuple(combinations_with_replacement(elements, 2))
    parts = [part for one in trajectories for part in np.array_split(np.arange(one.n_frames), blocks)]
    owners = [one for one in trajectories for _ in range(blocks)]
    if any(len(part) == 0 for part in parts):
        raise DataError(f"expected at least one frame for each of {blocks} blocks: ask for fewer blocks")
    sums = np.array([_sums(one, part, pairs, edges) for one, part in zip(owners, parts, strict=True)])
    counts, ideal, centres = sums[:, :, 0], sums[:, :, 1], sums[:, :, 2]
    total = ideal.sum(0)
    g = np.divide(counts.sum(0), total, out=np.zeros_like(total), where=total > 0)
    samples = np.divide(counts, ideal, out=np.zeros_like(ideal), where=ideal > 0)
    coordination = np.cumsum(counts.sum(0), axis=1) / np.maximum(centres.sum(0), 1)
    return RadialDistribution(0.5 * (edges[1:] + edges[:-1]), pairs, g, mean_and_error(samples)[1], coordination)


def largest_distance(trajectories: Sequence[Trajectory]) -> float:
    """Half of the smallest height of all cells, in Å.

    Raises:
        DataError: no trajectory, or one that is not periodic along all axes, so that there is no density.
    """
    if not trajectories:
        raise DataError("expected at least one trajectory, found none")
    if not all(one.pbc.all() for one in trajectories):
        raise DataError(
            "expected systems that are periodic along all three axes: a radial distribution function is relative to "
            "the mean density, which others do not have"
        )
    return 0.5 * min(float(heights(one.cells).min()) for one in trajectories)


def _sums(one: Trajectory, frames: ndarray, pairs: tuple, edges: ndarray) -> Float[ndarray, "pairs 3 bins"]:
    """Ordered pairs counted, pairs of an ideal gas, and centres, of some frames of a trajectory."""
    found = np.zeros((len(pairs), 3, len(edges) - 1))
    shells = 4 * np.pi / 3 * np.diff(edges**3)
    volume = np.abs(np.linalg.det(one.cells[frames]))
    for row, (a, b) in zip(found, pairs, strict=True):
        n_a, n_b = int((one.numbers == a).sum()), int((one.numbers == b).sum())
        row[1] = n_a * (n_b - (a == b)) * (1 / volume).sum() * shells
        row[2] = n_a * len(frames)
    for start in range(0, len(frames), FRAMES_AT_ONCE):
        distances, first, second = _distances(one, frames[start : start + FRAMES_AT_ONCE], float(edges[-1]))
        for row, (a, b) in zip(found, pairs, strict=True):
            row[0] += np.histogram(distances[(first == a) & (second == b)], edges)[0]
    return found


def _distances(one: Trajectory, frames: ndarray, cutoff: float) -> tuple[ndarray, ndarray, ndarray]:
    """Distances (Å) of all ordered pairs within a cutoff, and the atomic numbers of their atoms."""
    count, atoms = len(frames), len(one.numbers)
    system = System(
        positions=torch.as_tensor(one.positions[frames].reshape(-1, 3)),
        numbers=torch.as_tensor(np.tile(one.numbers, count)),
        cell=torch.as_tensor(one.cells[frames]),
        pbc=torch.ones(count, 3, dtype=torch.bool),
        batch=torch.arange(count).repeat_interleave(atoms),
    )
    pairs = build_neighbours(system, cutoff)
    shift = torch.einsum("ei,eij->ej", pairs.shift, system.cell[system.batch[pairs.centre]])
    vectors = system.positions[pairs.neighbour] - system.positions[pairs.centre] + shift
    numbers = system.numbers
    return vectors.norm(dim=1).numpy(), numbers[pairs.centre].numpy(), numbers[pairs.neighbour].numpy()
