"""Phonons of a crystal with a model file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from simkit.analysis.phonons import (
    IMAGINARY,
    Bands,
    DensityOfStates,
    ThermalProperties,
    bands,
    density_of_states,
    finite_displacements,
    supercell_of_size,
    thermal_properties,
)
from simkit.analysis.spectrum import PER_CM
from simkit.csv_tables import write_table
from simkit.errors import SimkitError
from simkit.files import atomic_path, write_json
from simkit.progress import Progress, Silent
from simkit.tasks.crystals import DEFAULT, Opening, Structure, facts, open_crystal


def phonons(
    model: str | os.PathLike[str],
    structure: Structure,
    folder: str | os.PathLike[str],
    *,
    opening: Opening = DEFAULT,
    supercell: Sequence[int] | None = None,
    size: float = 12.0,
    displacement: float = 0.01,
    path_points: int = 200,
    mesh_spacing: float = 0.02,
    max_temperature: float = 1000.0,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Band structure, density of states and thermal properties; see :mod:`simkit.analysis.phonons`.

    Writes ``bands.csv`` and ``dos.csv`` (frequencies in THz, imaginary ones negative), ``thermal.csv`` (kJ/mol and J/(K
    mol) of one primitive cell), ``phonons.json``, ``phonopy_params.yaml`` with the force constants for phonopy itself,
    and the relaxed ``crystal.xyz``.

    Args:
        model: model file.
        structure: crystal, or file with one.
        folder: where results go.
        opening: how they are opened, and whether the crystal is relaxed first.
        supercell: repetitions along each lattice vector; None to make all heights at least ``size``.
        size: in Å.
        displacement: of one atom, in Å.
        path_points: wave vectors of the band structure.
        mesh_spacing: between wave vectors of the density of states, in 1/Å (without 2π).
        max_temperature: of the thermal properties, in K.
        progress: where progress is shown.

    Returns:
        Lowest and highest frequency, whether the crystal is dynamically stable, zero-point energy, free energy and heat
        capacity at 300 K.

    Raises:
        MissingExtraError: phonopy is not installed.
        SimkitError: a relaxation that did not converge.
    """
    target = Path(folder)
    if not max_temperature > 0:
        raise SimkitError(f"expected a positive temperature in K, found {max_temperature:g}")
    progress = progress or Silent()
    potential, _, atoms = open_crystal(model, structure, opening, target, progress)
    repeats = supercell_of_size(atoms, size) if supercell is None else tuple(supercell)
    with progress.task("displacements", 6 * len(atoms)) as task:
        phonon = finite_displacements(potential, atoms, repeats, displacement=displacement, task=task)
    with atomic_path(target / "phonopy_params.yaml") as temporary:
        phonon.save(temporary, settings={"force_constants": True})
    path = bands(phonon, path_points)
    states = density_of_states(phonon, mesh_spacing)
    temperatures = np.unique(np.append(np.linspace(0, max_temperature, 101), min(300.0, max_temperature)))
    heat = thermal_properties(phonon, temperatures, mesh_spacing)
    _write_tables(target, path, states, heat)
    summary = facts(atoms, potential, opening) | {
        "primitive_atoms": len(phonon.primitive),
        "supercell": list(repeats),
        "supercell_atoms": len(phonon.supercell),
        "displaced_supercells": len(phonon.supercells_with_displacements or ()),
        "displacement_ang": displacement,
    }
    summary |= _vibrations(path, states, heat)
    write_json(target / "phonons.json", summary)
    return summary


def _vibrations(path: Bands, states: DensityOfStates, heat: ThermalProperties) -> dict[str, Any]:
    """The extremes of the frequencies, and the thermal properties nearest to 300 K."""
    lowest = min(states.lowest, float(path.frequencies.min()))
    room = int(np.argmin(np.abs(heat.temperature - 300)))
    return {
        "stable": lowest > IMAGINARY,
        "lowest_thz": lowest,
        "highest_thz": float(path.frequencies.max()),
        "highest_per_cm": float(path.frequencies.max()) * PER_CM,
        "path": [[label, tick] for label, tick in zip(path.labels, path.ticks, strict=True)],
        "zero_point_kj_per_mol": heat.zero_point,
        "temperature_k": float(heat.temperature[room]),
        "free_energy_kj_per_mol": float(heat.free_energy[room]),
        "heat_capacity_j_per_k_mol": float(heat.heat_capacity[room]),
    }


def _write_tables(folder: Path, found: Bands, states: DensityOfStates, heat: ThermalProperties) -> None:
    columns = {"distance_per_ang": found.distance}
    columns |= {f"q{axis}": found.points[:, index] for index, axis in enumerate("abc")}
    columns |= {f"band_{band + 1}_thz": found.frequencies[:, band] for band in range(found.frequencies.shape[1])}
    write_table(folder / "bands.csv", columns)
    write_table(folder / "dos.csv", {"frequency_thz": states.frequency, "density_per_thz": states.density})
    columns = {
        "temperature_k": heat.temperature,
        "free_energy_kj_per_mol": heat.free_energy,
        "entropy_j_per_k_mol": heat.entropy,
        "heat_capacity_j_per_k_mol": heat.heat_capacity,
    }
    write_table(folder / "thermal.csv", columns)
