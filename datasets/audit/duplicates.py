"""Frames that hold the same structure, whatever its position, orientation, order of atoms or choice of cell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from simkit.datasets.base import Dataset, Frame
from simkit.graph import Graph, make_graph
from simkit.neighbours import build_neighbours

CUTOFF = 5.0
"""Radius in Å within which structures are described."""

CENTRES = np.linspace(0.75, CUTOFF - 0.25, 8)
"""Distances in Å at which pairs are counted."""


@dataclass(frozen=True)
class Duplicate:
    """Two frames of the same structure, and how far their labels are apart; 0 where one has no such label.

    Attributes:
        first, second: indices of the frames.
        energy_difference: in eV per atom.
        force_difference: largest difference between the sorted magnitudes of the forces in eV/Å.
        stress_difference: largest difference between the sorted eigenvalues of the stress in eV/Å³.
    """

    first: int
    second: int
    energy_difference: float
    force_difference: float
    stress_difference: float

    @property
    def conflicting(self) -> bool:
        """Whether labels differ by more than 2 meV/atom, 0.1 eV/Å or 0.01 eV/Å³ (16 kbar)."""
        return self.energy_difference > 2e-3 or self.force_difference > 0.1 or self.stress_difference > 0.01


def describe(frame: Frame, graph: Graph) -> Float[ndarray, " features"]:
    """Smooth numbers that do not change with translation, rotation, reflection, order of atoms and choice of cell.

    ``d_k = (1/N) Σ_pairs (z_i z_j / z̄²) exp(-(r - μ_k)² / 2w²) (1 - (r/r_c)²)²``, with w = 0.4 Å.
    """
    if graph.centre.numel() == 0:
        return np.zeros(len(CENTRES))
    r = graph.vectors.norm(dim=1).numpy()
    z = frame.system.numbers.double().numpy()
    weight = z[graph.centre.numpy()] * z[graph.neighbour.numpy()] / z.mean() ** 2
    weight = weight * np.clip(1 - (r / CUTOFF) ** 2, 0, None) ** 2 / len(z)
    return (weight[:, None] * np.exp(-((r[:, None] - CENTRES) ** 2) / (2 * 0.4**2))).sum(0)


def find_duplicates(
    dataset: Dataset,
    compositions: Sequence[tuple[int, ...]],
    descriptors: Float[ndarray, "frames features"],
    tolerance: float = 1e-3,
) -> list[Duplicate]:
    """Pairs of frames whose interatomic distances agree within ``tolerance`` (Å).

    Frames are sorted by composition and description; neighbours in that order are compared distance by distance. A
    group of n equal frames gives n - 1 pairs.

    Args:
        dataset: the frames; suspected duplicates are read again.
        compositions: sorted atomic numbers, or anything else that equal structures share, of each frame.
        descriptors: of each frame, from :func:`describe`.
        tolerance: in Å.
    """
    projection = descriptors @ np.random.default_rng(0).normal(size=descriptors.shape[1])
    order = sorted(range(len(projection)), key=lambda index: (compositions[index], projection[index]))
    found = []
    for first, second in pairwise(order):
        if compositions[first] != compositions[second]:
            continue
        difference = np.abs(descriptors[first] - descriptors[second]).max()
        if difference > 10 * tolerance * (1 + descriptors[first].max()):
            continue
        a, b = sorted((first, second))
        one, other = dataset[a], dataset[b]
        if same_structure(one, other, tolerance):
            found.append(Duplicate(a, b, *_label_differences(one, other)))
    return sorted(found, key=lambda pair: (pair.first, pair.second))


def same_structure(one: Frame, other: Frame, tolerance: float = 1e-3) -> bool:
    """Whether the sorted distances between all pairs of elements agree within ``tolerance`` (Å), and the volumes."""
    if one.system.n_atoms != other.system.n_atoms or not bool((one.system.pbc == other.system.pbc).all()):
        return False
    volumes = one.system.volume(), other.system.volume()
    if not bool((volumes[0] - volumes[1]).abs() <= 1e-3 * volumes[0]) and not bool(volumes[0].isnan()):
        return False
    reach = _reach(one)
    first, second = _distances(one, reach), _distances(other, reach)
    return first.keys() == second.keys() and all(_agree(first[k], second[k], reach, tolerance) for k in first)


def _reach(frame: Frame) -> float:
    """Length in Å of the distances to compare: all in molecules, about a hundred for each atom of a crystal."""
    if not bool(frame.system.pbc.any()):
        return float("inf")
    volume = float(frame.system.volume()[0])
    if np.isnan(volume):
        return 12.0
    return float(np.clip((75 * volume / (np.pi * frame.system.n_atoms)) ** (1 / 3), 6.0, 15.0))


def _distances(frame: Frame, reach: float) -> dict[int, ndarray]:
    """Distances of all pairs within reach, ascending, for each pair of elements."""
    if np.isinf(reach):
        positions = frame.system.positions.numpy()
        i, j = np.triu_indices(len(positions), 1)
        r = np.linalg.norm(positions[i] - positions[j], axis=1)
    else:
        graph = make_graph(frame.system, build_neighbours(frame.system, reach))
        i, j, r = graph.centre.numpy(), graph.neighbour.numpy(), graph.vectors.norm(dim=1).numpy()
    z = frame.system.numbers.numpy()
    codes = np.minimum(z[i], z[j]) * 1000 + np.maximum(z[i], z[j])
    return {int(code): np.sort(r[codes == code]) for code in np.unique(codes)}


def _agree(first: ndarray, second: ndarray, reach: float, tolerance: float) -> bool:
    """Whether sorted distances agree; one may have a few more of them just at the end of the reach."""
    common = min(len(first), len(second))
    rest = np.concatenate([first[common:], second[common:]])
    same = bool((np.abs(first[:common] - second[:common]) <= tolerance).all())
    return same and bool((rest >= reach - tolerance).all())


def _label_differences(one: Frame, other: Frame) -> tuple[float, float, float]:
    energy = force = stress = 0.0
    a, b = one.labels, other.labels
    if a.energy is not None and b.energy is not None:
        energy = abs(float(a.energy - b.energy)) / one.system.n_atoms
    if a.forces is not None and b.forces is not None:
        magnitudes = [forces.double().norm(dim=1).sort().values for forces in (a.forces, b.forces)]
        force = float((magnitudes[0] - magnitudes[1]).abs().max())
    if a.stress is not None and b.stress is not None:
        principal = [torch.linalg.eigvalsh(tensor.double()) for tensor in (a.stress, b.stress)]
        stress = float((principal[0] - principal[1]).abs().max())
    return energy, force, stress
