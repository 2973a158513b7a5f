"""Reference values beside predictions, with the uncertainties of those that tell them."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from simkit.datasets.base import Dataset, Frame, collate
from simkit.errors import UnsupportedElementError
from simkit.files import atomic_path
from simkit.potential import IgnoredConditions, Potential, require_elements
from simkit.progress import Progress
from simkit.tasks.models import foresee, grouped_by_atoms
from simkit.uncertainty.comparison import Comparison
from simkit.uncertainty.prediction import UncertainPrediction

VANISHING = 1e-9
"""Forces and their deviations below this, in eV/Å, are zero by symmetry and say nothing."""


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

    def comparison(self) -> Comparison:
        """The same, to calibrate or to judge; forces that are zero by symmetry are left out, as is their deviation."""
        forces = self.forces
        if self.forces_cov is not None:
            sizes = np.abs(forces).max((1, 2)) + np.abs(self.forces_cov).max((1, 2)) ** 0.5
            forces = np.where((sizes < VANISHING)[:, None, None], np.nan, forces)
        return Comparison(
            counts=self.counts,
            energy=self.energy,
            forces=forces,
            stress=self.stress,
            groups=self.groups,
            energy_std=self.energy_std,
            forces_cov=self.forces_cov,
            stress_std=None if self.stress_std is None or np.isnan(self.stress_std).all() else self.stress_std,
            score=self.score,
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write all arrays to an ``.npz`` file, atomically; :func:`read_parity` reads it."""
        known = {name: np.asarray(value) for name, value in vars(self).items() if value is not None}
        with atomic_path(path) as temporary:
            np.savez_compressed(temporary, **known)  # type: ignore[arg-type]


def read_parity(path: str | os.PathLike[str]) -> Parity:
    """The pairs that :meth:`Parity.save` has left."""
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
