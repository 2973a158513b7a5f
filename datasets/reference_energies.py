"""Energies of elements that explain total energies by composition alone."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

Compositions = Mapping[tuple[tuple[int, int], ...], list[float]]
"""Total energies in eV of the frames of each composition ((atomic number, count), ...)."""


def fit_reference_energies(
    compositions: Compositions, fixed: Mapping[int, float]
) -> tuple[dict[int, float], tuple[int, ...]]:
    """Least-squares energy of each element that is not fixed, and the elements for which it is not unique.

    Args:
        compositions: total energies in eV of the frames of each composition ((atomic number, count), ...).
        fixed: known energies in eV.
    """
    free = sorted({z for composition in compositions for z, _ in composition} - set(fixed))
    if not free:
        return {}, ()
    matrix = np.zeros((len(compositions), len(free)))
    target = np.zeros(len(compositions))
    for row, (composition, energies) in enumerate(compositions.items()):
        weight = len(energies) ** 0.5
        known = sum(count * fixed[z] for z, count in composition if z in fixed)
        target[row] = weight * (float(np.mean(energies)) - known)
        for z, count in composition:
            if z not in fixed:
                matrix[row, free.index(z)] = weight * count
    _, singular, vh = np.linalg.svd(matrix, full_matrices=True)
    rank = int((singular > 1e-9 * singular.max()).sum())
    solution = np.linalg.lstsq(matrix, target, rcond=1e-9)[0]
    ambiguous = np.abs(vh[rank:]).max(axis=0, initial=0.0) > 1e-6
    undetermined = tuple(z for z, flag in zip(free, ambiguous, strict=True) if flag)
    return dict(zip(free, solution.tolist(), strict=True)), undetermined


def energies_per_atom(compositions: Compositions, references: Mapping[int, float]) -> np.ndarray:
    """Energy per atom of every frame in eV, after subtraction of the reference energies."""
    values = [np.zeros(0)]
    for composition, energies in compositions.items():
        atoms = sum(count for _, count in composition)
        reference = sum(count * references.get(z, 0.0) for z, count in composition)
        values.append((np.array(energies) - reference) / atoms)
    return np.concatenate(values)
