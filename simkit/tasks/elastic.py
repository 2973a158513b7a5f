"""Elastic constants of a crystal with a model file."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from simkit.analysis.elastic import ElasticConstants, elastic_constants
from simkit.analysis.elastic_moduli import moduli, point_group, symmetrised
from simkit.analysis.minimum import minima
from simkit.csv_tables import write_table
from simkit.files import write_json
from simkit.progress import Progress, Silent
from simkit.tasks.crystals import DEFAULT, Opening, Structure, facts, open_crystal
from simkit.voigt import VOIGT

NAMES = tuple("xyz"[i] + "xyz"[j] for i, j in VOIGT)


def elastic(
    model: str | os.PathLike[str],
    structure: Structure,
    folder: str | os.PathLike[str],
    *,
    opening: Opening = DEFAULT,
    strain: float = 0.01,
    points: int = 6,
    relax_atoms: bool = True,
    symmetrise: bool = True,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Elastic constants and moduli; see :mod:`simkit.analysis.elastic`.

    Writes ``elastic.csv`` (6 x 6, in GPa, order xx yy zz yz xz xy), ``stresses.csv`` (stress in GPa under each strain),
    ``elastic.json`` and the relaxed ``crystal.xyz``.

    Args:
        model: model file.
        structure: crystal, or file with one.
        folder: where results go.
        opening: how they are opened, and whether the crystal is relaxed first.
        strain: largest magnitude of the strains.
        points: magnitudes of each strain.
        relax_atoms: move the atoms to their minimum in each strained cell; otherwise they are clamped.
        symmetrise: average over the rotations of the crystal.
        progress: where progress is shown.

    Returns:
        Constants and standard errors in GPa, eigenvalues, moduli (None where the crystal is unstable) and the stress
        without strain.

    Raises:
        SimkitError: a relaxation that did not converge, or a model without stress.
    """
    target = Path(folder)
    progress = progress or Silent()
    with progress.task("elastic constants", 6 * points + 1) as task:
        potential, system, atoms = open_crystal(model, structure, opening, target, progress)
        relax = partial(minima, potential, fmax=opening.fmax, max_steps=opening.max_steps) if relax_atoms else None
        found = elastic_constants(potential, system, strain=strain, points=points, relax=relax, task=task)
    matrix, broken = found.matrix, 0.0
    if symmetrise:
        matrix = symmetrised(found.matrix, point_group(system))
        broken = float(np.abs(matrix - found.matrix).max())
    eigenvalues = np.linalg.eigvalsh(matrix)
    write_table(target / "elastic.csv", {f"{name}_gpa": matrix[:, i] for i, name in enumerate(NAMES)})
    write_table(target / "stresses.csv", _stresses(found))
    summary = facts(atoms, potential, opening) | {
        "order": list(NAMES),
        "atoms_relaxed": relax_atoms,
        "elastic_constants_gpa": matrix.tolist(),
        "elastic_constants_error_gpa": found.error.tolist(),
        "stable": bool(eigenvalues[0] > 0),
        "eigenvalues_gpa": eigenvalues.tolist(),
        "asymmetry_gpa": found.asymmetry,
        "broken_symmetry_gpa": broken,
        "stress_without_strain_gpa": found.stress.tolist(),
        "moduli": _moduli(matrix) if eigenvalues[0] > 0 else None,
    }
    write_json(target / "elastic.json", summary)
    return summary


def _moduli(matrix: np.ndarray) -> dict[str, float]:
    found = moduli(matrix)
    return {
        "bulk_gpa": found.bulk,
        "bulk_voigt_gpa": found.bulk_voigt,
        "bulk_reuss_gpa": found.bulk_reuss,
        "shear_gpa": found.shear,
        "shear_voigt_gpa": found.shear_voigt,
        "shear_reuss_gpa": found.shear_reuss,
        "young_gpa": found.young,
        "poisson": found.poisson,
        "anisotropy": found.anisotropy,
    }


def _stresses(found: ElasticConstants) -> dict[str, np.ndarray]:
    magnitudes = len(found.strains)
    columns = {
        "strained": np.repeat(np.array(NAMES), magnitudes),
        "strain": np.tile(found.strains, 6),
    }
    stresses = found.stresses.reshape(-1, 6)
    return columns | {f"stress_{name}_gpa": stresses[:, i] for i, name in enumerate(NAMES)}
