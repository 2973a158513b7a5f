"""Errors of a model against reference values."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ase.data import chemical_symbols
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from simkit.datasets.base import Dataset, Frame, collate
from simkit.errors import DataError, UnsupportedElementError
from simkit.files import atomic_path, file_hash, write_json
from simkit.potential import IgnoredConditions, Potential, require_elements
from simkit.progress import Progress, Silent
from simkit.tasks.data import open_data
from simkit.tasks.frames import in_words
from simkit.tasks.models import foresee, grouped_by_atoms, open_model
from simkit.tasks.settings import BATCH_ATOMS
from simkit.training.sources import ReadingSettings
from simkit.uncertainty.base import UncertainPotential
from simkit.uncertainty.prediction import UncertainPrediction
from simkit.units import ERROR_UNITS

WORST = 5
"""Number of frames that are listed as worst."""


@dataclass(frozen=True)
class Parity:
    """Reference and predicted values of the frames of a file; what is not labelled is NaN.

    Attributes:
        names: of the frames.
        counts: atoms of each frame.
        numbers: atomic numbers, frame after frame.
        energy: reference and prediction in eV.
        forces: reference and prediction in eV/Å.
        stress: reference and prediction in eV/Å³.
        groups: of the frames: what they have in common, such as a trajectory.
        energy_std: standard deviation of the energy in eV, of uncertain potentials.
        forces_cov: covariance of the forces on each atom in (eV/Å)², likewise.
        stress_std: standard deviation of the stress in eV/Å³, in Voigt's order, likewise.
        score: of each atom, of methods that claim no standard deviation.
    """

    names: list[str]
    counts: Int[ndarray, " frames"]
    numbers: Int[ndarray, " atoms"]
    energy: Float[ndarray, "frames 2"]
    forces: Float[ndarray, "atoms 3 2"]
    stress: Float[ndarray, "frames 3 3 2"]
    groups: list[str] = field(default_factory=list)
    energy_std: Float[ndarray, " frames"] | None = None
    forces_cov: Float[ndarray, "atoms 3 3"] | None = None
    stress_std: Float[ndarray, "frames 6"] | None = None
    score: Float[ndarray, " atoms"] | None = None

    @property
    def force_sigma(self) -> Float[ndarray, " atoms"] | None:
        """``√(tr cov / 3)`` of each atom in eV/Å."""
        if self.forces_cov is None:
            return None
        return np.sqrt(np.trace(self.forces_cov, axis1=1, axis2=2).clip(min=0) / 3)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write all arrays to an ``.npz`` file, atomically; :func:`read_parity` reads it."""
        known = {name: np.asarray(value) for name, value in vars(self).items() if value is not None}
        with atomic_path(path) as temporary:
            np.savez_compressed(temporary, **known)


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
        Errors by name, e.g. ``forces_mae_mev_per_ang``; errors of the forces by element; the worst frames. For uncertain
        potentials also the root mean square of what they predict their errors to be, ``forces_sigma_mev_per_ang``, and
        that of the errors divided by it, ``forces_z_rms``, 1 when calibrated.

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


def read_parity(path: str | os.PathLike[str]) -> Parity:
    """The pairs that :func:`assess_file` has left."""
    with np.load(path, allow_pickle=False) as file:
        values = {name: file[name] for name in file.files}
    texts = {name: values[name].tolist() for name in ("names", "groups") if name in values}
    return Parity(**(values | texts))


def compare(potential: Potential, dataset: Dataset, batch_atoms: int, progress: Progress) -> Parity:
    """Evaluate a potential on every frame of a dataset."""
    parts: list[dict[str, ndarray]] = []
    names: list[str] = []
    groups: list[str] = []
    ignored = IgnoredConditions(potential, progress)
    frames = (_checked(potential, dataset[index], ignored) for index in range(len(dataset)))
    with progress.task("evaluate", len(dataset)) as task:
        for group in grouped_by_atoms(frames, lambda frame: frame.system.n_atoms, batch_atoms):
            names += [frame.name for frame in group]
            groups += [frame.group for frame in group]
            parts.append(_pairs(potential, group))
            task.advance(len(group))
    return Parity(names, groups=groups, **{key: np.concatenate([part[key] for part in parts]) for key in parts[0]})


def _checked(potential: Potential, frame: Frame, ignored: IgnoredConditions) -> Frame:
    try:
        require_elements(potential, frame.system)
    except UnsupportedElementError as error:
        raise UnsupportedElementError(f"{frame.name}: {error}") from error
    ignored.look_at(frame.system, frame.name)
    return frame


def _pairs(potential: Potential, frames: list[Frame]) -> dict[str, ndarray]:
    batch = collate(frames, potential.cutoff, potential.dtype).to(potential.device)
    stressed = potential.capabilities.conservative and batch.labels.stress is not None
    outputs = ("energy", "forces", "stress") if stressed else ("energy", "forces")
    prediction = foresee(potential, batch.system, batch.neighbours, outputs)
    n_atoms, n_systems = batch.system.n_atoms, batch.system.n_systems
    arrays = {
        "counts": batch.system.counts.cpu().numpy(),
        "numbers": batch.system.numbers.cpu().numpy(),
        "energy": _stacked(batch.labels.energy, prediction.energy, (n_systems,)),
        "forces": _stacked(batch.labels.forces, prediction.forces, (n_atoms, 3)),
        "stress": _stacked(batch.labels.stress, prediction.stress, (n_systems, 3, 3)),
    }
    if isinstance(prediction, UncertainPrediction):
        arrays |= _spreads(prediction, n_systems)
    return arrays


def _spreads(prediction: UncertainPrediction, n_systems: int) -> dict[str, ndarray]:
    """What an uncertain potential tells of its errors; stress is NaN in batches without such labels."""
    known = {
        "energy_std": prediction.energy_std,
        "forces_cov": prediction.forces_cov,
        "score": prediction.score,
    }
    arrays = {name: value.double().cpu().numpy() for name, value in known.items() if value is not None}
    if prediction.score is None:
        stress = prediction.stress_std
        arrays["stress_std"] = np.full((n_systems, 6), np.nan) if stress is None else stress.double().cpu().numpy()
    return arrays


def _stacked(reference: Tensor | None, predicted: Tensor | None, shape: tuple[int, ...]) -> ndarray:
    def array(values: Tensor | None) -> ndarray:
        return np.full(shape, np.nan) if values is None else values.double().cpu().numpy()

    return np.stack([array(reference), array(predicted)], -1)


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
