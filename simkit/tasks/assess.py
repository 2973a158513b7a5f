"""Errors of a model against reference values."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from ase.data import chemical_symbols
from jaxtyping import Float
from numpy import ndarray

from simkit.errors import DataError
from simkit.files import file_hash, write_json
from simkit.progress import Progress, Silent
from simkit.tasks.data import open_data
from simkit.tasks.models import open_model
from simkit.tasks.parity import Parity, compare
from simkit.tasks.settings import BATCH_ATOMS
from simkit.training.sources import ReadingSettings
from simkit.uncertainty.ase_results import in_words
from simkit.uncertainty.base import UncertainPotential
from simkit.units import ERROR_UNITS

WORST = 5
"""Number of frames that are listed as worst."""


def assess_file(
    model: str | os.PathLike[str],
    data: str | os.PathLike[str],
    *,
    target: str | os.PathLike[str] | None = None,
    reading: ReadingSettings | None = None,
    dtype: str | None = None,
    device: str = "cpu",
    batch_atoms: int = BATCH_ATOMS,
    head: str | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Mean absolute and root-mean-square errors of a model on labelled structures.

    Energies are compared per atom (meV/atom), forces (meV/Å) and stresses (meV/Å³) per Cartesian component.

    Args:
        model: own model file or one of mace-torch.
        data: labelled structures, in any format of :func:`simkit.datasets.files.open_dataset`.
        target: JSON file for the errors; all pairs of reference and prediction go to the ``.npz`` file beside it.
        reading: keys, units and signs of the data file.
        dtype: ``float64`` or ``float32``; the model's own by default.
        device: torch device.
        batch_atoms: number of atoms that are evaluated together.
        head: level of theory, for models trained on several.
        progress: where progress is shown.

    Returns:
        Errors by name, e.g. ``forces_mae_mev_per_ang``; errors of the forces by element; the worst frames. For
        uncertain potentials also the root mean square of what they predict their errors to be,
        ``forces_sigma_mev_per_ang``, and that of the errors divided by it, ``forces_z_rms``, 1 when calibrated.

    Raises:
        DataError: the data cannot be read or have no labels.
        UnsupportedElementError: naming the first frame with an element that the model was not made for.
    """
    potential = open_model(model, device=device, dtype=dtype, head=head)
    parity = compare(potential, open_data(data, reading), batch_atoms, progress or Silent())
    errors = summarise(parity)
    if not any(name.endswith(("per_atom", "per_ang", "per_ang3")) for name in errors):
        raise DataError(f"{data}: expected frames with energies, forces or stresses, found none; check the keys")
    errors |= {
        "dtype": str(potential.dtype).removeprefix("torch."),
        "model_sha256": file_hash(model),
        "citations": list(potential.capabilities.citations),
    }
    if isinstance(potential, UncertainPotential):
        errors["uncertainty"] = in_words(potential.provenance)
    if target is not None:
        parity.save(Path(target).with_suffix(".npz"))
        write_json(target, errors)
    return errors


def summarise(parity: Parity) -> dict[str, Any]:
    """Errors, errors of the forces by element, and the worst frames."""
    residuals = {
        "energy": _difference(parity.energy) / parity.counts,
        "forces": _difference(parity.forces),
        "stress": _difference(parity.stress),
    }
    result: dict[str, Any] = {"frames": len(parity.counts), "atoms": len(parity.numbers)}
    for name, residual in residuals.items():
        unit = ERROR_UNITS[name][0]
        known = residual[np.isfinite(residual)]
        if known.size:
            result[f"{name}_mae_{unit}"], result[f"{name}_rmse_{unit}"] = _mae_rmse(known)
    result |= _predicted_deviations(parity, residuals)
    result["forces_by_element"] = _by_element(parity, residuals["forces"])
    result["worst_frames"] = _worst(parity, residuals["energy"], residuals["forces"])
    return result


def _predicted_deviations(parity: Parity, residuals: dict[str, ndarray]) -> dict[str, float]:
    """Of uncertain potentials: root mean squares of the predicted deviations, and of errors in units of them."""
    energy, force = parity.energy_std, parity.force_sigma
    predicted = {
        "energy": None if energy is None else 1e3 * energy / parity.counts,
        "forces": None if force is None else 1e3 * np.broadcast_to(force[:, None], (len(force), 3)),
    }
    result = {}
    for name, sigma in predicted.items():
        if sigma is None:
            continue
        known = np.isfinite(residuals[name]) & (sigma > 0)
        if known.any():
            result[f"{name}_sigma_{ERROR_UNITS[name][0]}"] = _mae_rmse(sigma[known])[1]
            result[f"{name}_z_rms"] = _mae_rmse(residuals[name][known] / sigma[known])[1]
    return result


def _difference(pairs: ndarray) -> ndarray:
    return 1e3 * (pairs[..., 1] - pairs[..., 0])


def _mae_rmse(residual: ndarray) -> tuple[float, float]:
    return float(np.abs(residual).mean()), float(np.sqrt(np.square(residual).mean()))


def _by_element(parity: Parity, residual: Float[ndarray, "atoms 3"]) -> dict[str, dict[str, float]]:
    elements = {}
    known = np.isfinite(residual).all(1)
    for number in np.unique(parity.numbers[known]):
        mae, rmse = _mae_rmse(residual[known & (parity.numbers == number)])
        elements[chemical_symbols[number]] = {"mae_mev_per_ang": mae, "rmse_mev_per_ang": rmse}
    return elements


def _worst(
    parity: Parity, energy: Float[ndarray, " frames"], forces: Float[ndarray, "atoms 3"]
) -> list[dict[str, Any]]:
    """Frames with the largest root-mean-square error of the forces, or error of the energy if there are no forces."""
    rows = list(_frame_errors(parity, energy, forces))
    rows.sort(key=lambda row: row.get("forces_rmse_mev_per_ang", abs(row.get("energy_error_mev_per_atom", 0.0))))
    return rows[::-1][:WORST]


def _frame_errors(parity: Parity, energy: ndarray, forces: ndarray) -> Iterator[dict[str, Any]]:
    offsets = np.cumsum(parity.counts)[:-1]
    for name, error, part in zip(parity.names, energy, np.split(forces, offsets), strict=True):
        row: dict[str, Any] = {"frame": name}
        if np.isfinite(error):
            row["energy_error_mev_per_atom"] = float(error)
        if part.size and np.isfinite(part).all():
            row["forces_rmse_mev_per_ang"] = _mae_rmse(part)[1]
        yield row
