"""Predictions beside reference values of many frames, and the errors of each quantity in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from simkit.uncertainty.residuals import CalibrationError, Residuals
from simkit.voigt import VOIGT

Target = Literal["energy", "forces", "force-vectors", "stress"]
"""Energy per atom, components of forces, forces as vectors, components of the stress."""

TARGET_UNITS: Mapping[str, str] = {"energy": "eV/atom", "forces": "eV/Å", "force-vectors": "eV/Å", "stress": "eV/Å³"}
"""Unit of the errors of each target."""

FLOOR = 0.01
"""Fraction of the root-mean-square force that is added to small forces, where forces stand for uncertainties."""


@dataclass(frozen=True)
class Comparison:
    """Reference and predicted values of frames, in this order along the last axis; NaN where there is no label.

    Attributes:
        counts: atoms of each frame.
        energy: in eV.
        forces: in eV/Å, frame after frame.
        stress: in eV/Å³.
        groups: what frames have in common, such as their trajectory; a frame without one is independent of all others.
        energy_std: predicted standard deviation of the energy in eV.
        forces_cov: predicted covariance of the forces on each atom in (eV/Å)².
        stress_std: predicted standard deviation of the stress in eV/Å³, in Voigt's order.
        score: of each atom, of methods that claim no standard deviation.
    """

    counts: Int[ndarray, " frames"]
    energy: Float[ndarray, "frames 2"]
    forces: Float[ndarray, "atoms 3 2"]
    stress: Float[ndarray, "frames 3 3 2"]
    groups: Sequence[str] = ()
    energy_std: Float[ndarray, " frames"] | None = None
    forces_cov: Float[ndarray, "atoms 3 3"] | None = None
    stress_std: Float[ndarray, "frames 6"] | None = None
    score: Float[ndarray, " atoms"] | None = None

    def __post_init__(self) -> None:
        frames, atoms = len(self.counts), int(self.counts.sum())
        if len(self.energy) != frames or len(self.forces) != atoms or len(self.groups) not in (0, frames):
            raise CalibrationError(
                f"expected energies and groups of {frames} frames and forces on {atoms} atoms, found "
                f"{len(self.energy)}, {len(self.groups)} and {len(self.forces)}"
            )

    @property
    def frame_of_atom(self) -> Int[ndarray, " atoms"]:
        """Index of the frame of each atom."""
        return np.repeat(np.arange(len(self.counts)), self.counts)

    @property
    def frame_groups(self) -> Int[ndarray, " frames"]:
        """Independent group of each frame, counted from 0."""
        names = [group or f"\0{index}" for index, group in enumerate(self.groups or [""] * len(self.counts))]
        return np.unique(np.array(names), return_inverse=True)[1]

    def labelled(self, target: Target) -> Bool[ndarray, " all_rows"]:
        """Which rows have reference values: frames, or atoms of all frames."""
        if target not in get_args(Target):
            raise CalibrationError(f"expected a target among {', '.join(get_args(Target))}; found {target!r}")
        labels = {"energy": self.energy[:, None, 0], "stress": self.stress[..., 0].reshape(-1, 9)}
        return ~np.isnan(labels.get(target, self.forces[..., 0])).any(1)

    def has(self, target: Target) -> bool:
        """Whether any frame has reference values of a target."""
        return bool(self.labelled(target).any())

    def errors(self, target: Target) -> Float[ndarray, "rows components"]:
        """Prediction minus reference of the labelled rows; a row is a frame, or an atom."""
        return self._errors(target)[self.labelled(target)]

    def sigmas(self, target: Target) -> Float[ndarray, "rows components"] | None:
        """Predicted standard deviations of :meth:`errors`, or scores; None where the method predicts neither."""
        values = self._sigmas(target)
        return None if values is None else values[self.labelled(target)]

    def row_groups(self, target: Target) -> Int[ndarray, " rows"]:
        """Independent group of each row."""
        return self.frame_groups[self.row_frames(target)]

    def row_frames(self, target: Target) -> Int[ndarray, " rows"]:
        """Index of the frame of each row."""
        frames = self.frame_of_atom if _per_atom(target) else np.arange(len(self.counts))
        return frames[self.labelled(target)]

    def residuals(self, target: Target) -> Residuals:
        """Errors with their standard deviations; force vectors keep three components with ``√(tr cov / 3)``.

        Raises:
            CalibrationError: no labels, or no uncertainty of this target; more in :meth:`Residuals.of`.
        """
        sigmas = self.sigmas(target)
        if sigmas is None:
            raise CalibrationError(
                f"expected predictions with an uncertainty of the {target.replace('-', ' ')}, found none: the method "
                "does not give it, or it was not asked for"
            )
        vectors = target == "force-vectors"
        return Residuals.of(
            self._some_errors(target), sigmas[:, 0] if vectors else sigmas, self.row_groups(target), vectors=vectors
        )

    def free_scores(self, target: Target) -> dict[str, Float[ndarray, " rows"]]:
        """Numbers that come without any method, and that an uncertainty should beat, for each row of the residuals.

        A constant; the size of the predicted force; the number of atoms, if it varies.
        """
        known = self.labelled(target)
        repeats = {"forces": 3, "stress": 6}.get(target, 1)
        scores = {"constant": np.ones(int(known.sum()) * repeats)}
        if _per_atom(target):
            squares = np.square(self.forces[known][:, :, 1]).sum(1)
            norms = np.sqrt(squares + FLOOR**2 * (squares.mean() or 1.0))
            scores["size of the force"] = np.repeat(norms, repeats)
        elif np.ptp(self.counts[known]) > 0:
            scores["number of atoms"] = np.repeat(self.counts[known].astype(float), repeats)
        return scores

    def without_uncertainty(self, target: Target) -> Residuals:
        """Errors with a standard deviation of one, in the rows of :meth:`residuals`."""
        return Residuals.of(self._some_errors(target), 1.0, self.row_groups(target), vectors=target == "force-vectors")

    def _some_errors(self, target: Target) -> ndarray:
        errors = self.errors(target)
        if len(errors) == 0:
            raise CalibrationError(
                f"expected frames with reference values of the {target.replace('-', ' ')}, found none: label them, or "
                "check the keys of the file"
            )
        return errors

    def _errors(self, target: Target) -> ndarray:
        if target == "energy":
            return ((self.energy[:, 1] - self.energy[:, 0]) / self.counts)[:, None]
        if target == "stress":
            rows, columns = zip(*VOIGT, strict=True)
            return (self.stress[..., 1] - self.stress[..., 0])[:, list(rows), list(columns)]
        return self.forces[..., 1] - self.forces[..., 0]

    def _sigmas(self, target: Target) -> ndarray | None:
        if target == "energy":
            return None if self.energy_std is None else (self.energy_std / self.counts)[:, None]
        if target == "stress":
            return self.stress_std
        if self.forces_cov is None:
            return None if self.score is None else np.repeat(self.score[:, None], 3, axis=1)
        variances = np.diagonal(self.forces_cov, axis1=1, axis2=2).clip(min=0)
        if target == "force-vectors":
            variances = np.repeat(variances.mean(1, keepdims=True), 3, axis=1)
        return np.sqrt(variances)


def _per_atom(target: Target) -> bool:
    return target in ("forces", "force-vectors")
