"""Equation of state of a crystal with a model file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from simkit.analysis.batches import evaluate_many
from simkit.analysis.equation_of_state import (
    EquationName,
    EquationOfState,
    fit_equation_of_state,
    scaled_cells,
    volumes_of,
)
from simkit.analysis.minimum import minima
from simkit.csv_tables import write_table
from simkit.errors import SimkitError
from simkit.files import write_json
from simkit.progress import Progress, Silent
from simkit.relaxation.cell import CellFilter
from simkit.tasks.crystals import DEFAULT, Opening, Structure, facts, open_crystal


def equation_of_state(
    model: str | os.PathLike[str],
    structure: Structure,
    folder: str | os.PathLike[str],
    *,
    opening: Opening = DEFAULT,
    equation: EquationName = "birch-murnaghan",
    volume_range: float = 0.06,
    points: int = 13,
    relax_atoms: bool = True,
    relax_shape: bool = True,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Energy over volume, and bulk modulus; see :mod:`simkit.analysis.equation_of_state`.

    Writes ``equation_of_state.csv`` (volume in Å³ and energy in eV, both per atom), ``equation_of_state.json`` and the
    relaxed ``crystal.xyz``.

    Args:
        model: model file.
        structure: crystal, or file with one.
        folder: where results go.
        opening: how they are opened, and whether the crystal is relaxed first.
        equation: ``birch-murnaghan`` or ``vinet``.
        volume_range: largest change of the volume, as a fraction, to either side.
        points: number of volumes.
        relax_atoms: move the atoms to their minimum at each volume.
        relax_shape: with that, also the shape of the cell at constant volume.
        progress: where progress is shown.

    Returns:
        Volume, energy, bulk modulus in GPa and its derivative, with standard errors of the fit.

    Raises:
        DataError: no minimum within the range.
        SimkitError: a relaxation that did not converge.
    """
    if not 0 < volume_range < 0.5:
        raise SimkitError(f"expected a range of volumes between 0 and 0.5, found {volume_range:g}")
    target = Path(folder)
    progress = progress or Silent()
    with progress.task("equation of state", points) as task:
        potential, system, atoms = open_crystal(model, structure, opening, target, progress)
        systems = scaled_cells(system, np.linspace(1 - volume_range, 1 + volume_range, points))
        if relax_atoms:
            cell = CellFilter(constant_volume=True) if relax_shape else None
            systems = minima(potential, systems, fmax=opening.fmax, max_steps=opening.max_steps, cell=cell)
        predictions = evaluate_many(potential, systems, ("energy",), task=task)
    volumes = volumes_of(systems) / len(atoms)
    energies = np.array([float(one.energy[0]) for one in predictions]) / len(atoms)
    found = fit_equation_of_state(volumes, energies, equation)
    columns = {
        "volume_ang3_per_atom": volumes,
        "energy_ev_per_atom": energies,
        "fit_ev_per_atom": found.energies(volumes),
    }
    write_table(target / "equation_of_state.csv", columns)
    given = atoms.get_volume() / len(atoms)
    summary = facts(atoms, potential, opening) | {"equation": equation} | _fitted(found, given)
    write_json(target / "equation_of_state.json", summary)
    return summary


def _fitted(found: EquationOfState, given_volume: float) -> dict[str, float]:
    """The constants of a fit; ``given_volume`` of the crystal in Å³/atom."""
    return {
        "v0_ang3_per_atom": found.volume,
        "v0_error_ang3_per_atom": found.volume_error,
        "e0_ev_per_atom": found.energy,
        "e0_error_ev_per_atom": found.energy_error,
        "bulk_modulus_gpa": found.bulk_modulus,
        "bulk_modulus_error_gpa": found.bulk_modulus_error,
        "bulk_modulus_derivative": found.derivative,
        "bulk_modulus_derivative_error": found.derivative_error,
        "deviation_mev_per_atom": 1e3 * found.deviation,
        "v0_over_given_volume": float(found.volume / given_volume),
    }
