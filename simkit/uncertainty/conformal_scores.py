"""Conformal scores of energies, forces and stresses of labelled frames."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Literal

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from simkit.errors import SimkitWarning
from simkit.uncertainty.comparison import Comparison, Target
from simkit.uncertainty.conformal import FEWEST_OF_A_GROUP, Reduction, draw_scores
from simkit.uncertainty.residuals import ENOUGH_GROUPS, CalibrationError, Residuals

Unit = Literal["frame", "trajectory"]
"""What is exchangeable: frames with new frames, or trajectories with new trajectories."""

QUANTITIES: Mapping[str, Target] = {"energy": "energy", "forces": "force-vectors", "stress": "stress"}
"""Targets of the scores, by the names of outputs."""

TWICE = np.array([1.0, 1, 1, 2, 2, 2])
"""How often components in Voigt's order count in a Frobenius norm."""


def frobenius(voigt: Float[ndarray, "rows 6"]) -> Float[ndarray, " rows"]:
    """Frobenius norm of symmetric tensors in Voigt's order."""
    return np.sqrt((TWICE * np.square(voigt)).sum(1))


def frame_scores(
    comparison: Comparison,
    *,
    relative: bool = True,
    over_atoms: Reduction = "max",
    unit: Unit = "frame",
    numbers: Int[ndarray, " atoms"] | None = None,
    seed: int = 0,
) -> dict[str, Float[ndarray, " draws"]]:
    """One score for each frame or trajectory, of every quantity with labels and, if ``relative``, an uncertainty.

    Energies: ``|ΔE| / σ_E``, or ``|ΔE| / N``. Forces: ``‖ΔF_i‖ / σ_i``, or ``‖ΔF_i‖``, joined over a frame's atoms.
    Stresses: ``‖ΔS‖ / ‖σ_S‖``, or ``‖ΔS‖``, in the Frobenius norm.

    Args:
        comparison: predictions with reference values that the model has not seen.
        relative: divide errors by predicted deviations, so that intervals are wide where the model is uncertain.
        over_atoms: how the scores of a frame's atoms become one.
        unit: ``trajectory`` takes one frame of each at random.
        numbers: atomic numbers, for a score of the forces on each element that is in 50 draws or more.
        seed: of random choices.

    Raises:
        CalibrationError: nothing to score.

    Warns:
        SimkitWarning: frames of fewer than five groups are taken as exchangeable.
    """
    groups = np.unique(comparison.frame_groups)
    if unit == "frame" and len(groups) < ENOUGH_GROUPS:
        warnings.warn(
            f"conformal intervals from frames of {len(groups)} trajectories hold for further frames of these, not for "
            f"those of others: give at least {ENOUGH_GROUPS} trajectories",
            SimkitWarning,
            stacklevel=2,
        )
    scores: dict[str, ndarray] = {}
    for name, target in QUANTITIES.items():
        if not comparison.has(target) or (relative and comparison.sigmas(target) is None):
            continue
        rows = comparison.residuals(target) if relative else comparison.without_uncertainty(target)
        values = _row_scores(rows, target, relative)
        frames = comparison.row_frames(target)
        scores[name] = _of_draws(values, frames, comparison, over_atoms, unit, seed)
        if name == "forces" and numbers is not None:
            kinds = numbers[comparison.labelled(target)]
            for number in np.unique(kinds):
                some = kinds == number
                found = _of_draws(values[some], frames[some], comparison, over_atoms, unit, seed)
                if len(found) >= FEWEST_OF_A_GROUP:
                    scores[f"forces-{number}"] = found
    if not scores:
        raise CalibrationError(
            "expected labelled frames with predicted deviations to make intervals of, found none: label them, or use "
            "relative=False for a model without deviations"
        )
    return scores


def _row_scores(rows: Residuals, target: Target, relative: bool) -> ndarray:
    if target != "stress":
        return rows.norms / rows.sigmas
    sizes = frobenius(rows.errors.reshape(-1, 6))
    return sizes / frobenius(rows.sigmas.reshape(-1, 6)) if relative else sizes


def _of_draws(
    values: ndarray, frames: ndarray, comparison: Comparison, over_atoms: Reduction, unit: Unit, seed: int
) -> ndarray:
    found = draw_scores(values, frames, over_atoms, seed=seed)
    if unit == "frame":
        return found
    return draw_scores(found, comparison.frame_groups[np.unique(frames)], "sample", seed=seed + 1)
