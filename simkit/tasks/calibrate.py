"""Uncertainty of a model: fitted on training frames, calibrated on others, judged on others still."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simkit.datasets.base import Dataset
from simkit.errors import SimkitError
from simkit.files import file_hash, write_json
from simkit.potential import Potential
from simkit.potentials.file_format import Format, detect_format
from simkit.potentials.model_file import read_header, save_model
from simkit.progress import Progress, Silent
from simkit.tasks.calibration import conformal_summary, fitted_map, judged, thresholds_of, told_apart, with_intervals
from simkit.tasks.calibration_checks import (
    calibration_that_does_not_hold,
    frames_in_several_parts,
    groups_of_frames,
)
from simkit.tasks.calibration_data import IN_SAMPLE, File, Frames, open_frames, write_residuals
from simkit.tasks.models import open_model
from simkit.tasks.parity import Parity, compare
from simkit.tasks.settings import BATCH_ATOMS
from simkit.training.sources import ReadingSettings
from simkit.uncertainty.base import UncertainPotential
from simkit.uncertainty.bootstrap import REPEATS
from simkit.uncertainty.calibrated import Calibrated
from simkit.uncertainty.comparison import TARGET_UNITS
from simkit.uncertainty.fit import fit_method
from simkit.uncertainty.settings import CalibrationSettings, ConformalSettings, EnsembleMethod, MethodSettings

METHOD = "method"
"""Folder of what a method that takes long leaves."""


@dataclass(frozen=True)
class Judging:
    """How predictions are compared and judged."""

    batch_atoms: int
    repeats: int
    seed: int
    progress: Progress

    def compare(self, potential: Potential, dataset: Dataset) -> Parity:
        """Predictions beside labels."""
        return compare(potential, dataset, self.batch_atoms, self.progress)


@dataclass(frozen=True)
class Outcome:
    """A potential with an uncertainty, its predictions for each domain, and what was found."""

    potential: UncertainPotential
    domains: dict[str, Parity]
    facts: dict[str, Any]
    warnings: list[str]


def calibrate_files(
    models: File | Sequence[File],
    data: File,
    folder: File,
    *,
    method: MethodSettings | None = None,
    train: File | None = None,
    test: Mapping[str, File] | None = None,
    reading: ReadingSettings | None = None,
    calibration: CalibrationSettings | None = None,
    conformal: ConformalSettings | None = None,
    dtype: str | None = None,
    device: str = "cpu",
    batch_atoms: int = BATCH_ATOMS,
    head: str | None = None,
    repeats: int = REPEATS,
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Give a model an uncertainty, scale it to errors on frames that the model has not seen, and judge it.

    The folder receives ``model.simkit``, which takes a model's place anywhere, ``calibration.json`` with the metrics of
    each test domain beside baselines that cost nothing, and ``calibration.npz`` with errors and deviations.

    Args:
        models: model files: one, or the members of an ensemble.
        data: labelled frames to calibrate on, of five independent trajectories at least; ``info["group"]`` names them.
        folder: for results.
        method: what tells the uncertainty; by default the model's own if it has one, or an ensemble of several models.
        train: frames that the model was trained on: methods that are fitted need them, and shared frames are found.
        test: labelled frames to judge on, by the name of their domain.
        reading: keys, units and signs of all files of frames.
        calibration: the map; its default is one factor.
        conformal: conformal intervals, around the calibrated potential; around a model without uncertainty if there is
            no method.
        dtype: ``float64`` or ``float32``; the model's own by default.
        device: torch device.
        batch_atoms: number of atoms that are evaluated together.
        head: level of theory, for models trained on several.
        repeats: resamplings of the trajectories for error bars; 0 for none.
        seed: of random numbers.
        progress: where progress is shown.

    Returns:
        The content of ``calibration.json``.

    Raises:
        SimkitError: one model without a method, a method that the model does not suit, or nothing to calibrate on: one
            trajectory, no errors, NaN.
        DataError: frames that cannot be read or have no labels.
    """
    progress, folder = progress or Silent(), Path(folder)
    paths = [models] if isinstance(models, str | os.PathLike) else list(models)
    frames, judging = open_frames(data, train, test or {}, reading), Judging(batch_atoms, repeats, seed, progress)
    opened = [open_model(path, device=device, dtype=dtype, head=head) for path in paths]
    shared = frames_in_several_parts(frames.parts)
    if conformal is not None and method is None and len(opened) == 1 and not isinstance(opened[0], UncertainPotential):
        outcome = _intervals_alone(opened[0], frames, conformal, judging)
    else:
        raw = uncertain_potential(opened, method, frames.training, folder=folder / METHOD, seed=seed, progress=progress)
        outcome = _calibrated(raw, frames, calibration or CalibrationSettings(), conformal, judging)
    said = [*shared, *outcome.warnings]
    for text in said:
        progress.warn(text)
    summary = outcome.facts | {
        "frames": {name: len(parity.counts) for name, parity in outcome.domains.items()},
        "in_sample": IN_SAMPLE in outcome.domains,
        "warnings": said,
        "citations": list(outcome.potential.capabilities.citations),
    }
    _write(folder, outcome.potential, paths, {"calibration": data, "training": train, **(test or {})}, summary)
    comparisons = {name: parity.comparison() for name, parity in outcome.domains.items()}
    write_residuals(folder / "calibration.npz", comparisons)
    write_json(folder / "calibration.json", summary)
    return summary


def uncertain_potential(
    models: Sequence[Potential],
    method: MethodSettings | None,
    training: Dataset | None,
    *,
    folder: File,
    seed: int = 0,
    progress: Progress | None = None,
) -> UncertainPotential:
    """The potential to calibrate: what a file holds, or what a method makes of it.

    Raises:
        SimkitError: a model without uncertainty and no method, or one with an uncertainty and a method.
    """
    progress = progress or Silent()
    if len(models) == 1 and isinstance(models[0], UncertainPotential):
        own = models[0]
        if method is not None:
            raise SimkitError(
                f"the model has an uncertainty of its own ({own.provenance.method}): leave the method out, or give the "
                "model that it was made from"
            )
        if isinstance(own, Calibrated):
            progress.say("note: the model is calibrated already; its calibration is replaced")
            own = own.potential
        return own
    if method is None and len(models) == 1:
        raise SimkitError(
            "one model alone does not tell its errors: give a method, such as llpr, with the frames that it was "
            "trained on, or several models that were trained with other seeds"
        )
    fitted = fit_method(method or EnsembleMethod(), models, training, folder=folder, seed=seed, progress=progress)
    return fitted.requires_grad_(False).eval()


def _calibrated(
    raw: UncertainPotential,
    frames: Frames,
    settings: CalibrationSettings,
    conformal: ConformalSettings | None,
    judging: Judging,
) -> Outcome:
    """The potential with a calibration map, and conformal intervals if they are asked for."""
    before = judging.compare(raw, frames.calibration)
    said = groups_of_frames(before, frames.training_groups)
    found, more = fitted_map(raw, before, settings)
    calibrated = Calibrated(raw, found)
    domains = {name: judging.compare(calibrated, dataset) for name, dataset in frames.domains.items()}
    lines = judged(calibrated, domains, before, judging.repeats, judging.seed)
    said += [*more, *calibration_that_does_not_hold(lines)]
    provenance = calibrated.provenance
    rule = found.rule(provenance.dof)
    facts = _facts(before) | {
        "method": provenance.method,
        "calibration": provenance.calibration,
        "map": found.config(),
        "degrees_of_freedom": None if provenance.dof == float("inf") else provenance.dof,
        "interval_rule": {"dof": None if rule.dof == float("inf") else rule.dof, "widening": rule.widening},
        "cost": provenance.cost,
        "assessments": [line.as_json() for line in lines],
        "told_from_first_domain_auroc": told_apart(domains),
        "thresholds": thresholds_of(before, found),
        "units": dict(TARGET_UNITS),
    }
    if conformal is None:
        return Outcome(calibrated, domains, facts, said)
    after = judging.compare(calibrated, frames.calibration)
    wrapped, more = with_intervals(calibrated, after, conformal, judging.seed)
    facts["conformal"] = conformal_summary(wrapped, conformal, domains, judging.seed)
    return Outcome(wrapped, domains, facts, [*said, *more])


def _intervals_alone(potential: Potential, frames: Frames, conformal: ConformalSettings, judging: Judging) -> Outcome:
    """Conformal intervals around a model that does not tell its errors."""
    before = judging.compare(potential, frames.calibration)
    wrapped, said = with_intervals(potential, before, conformal, judging.seed)
    domains = {name: judging.compare(wrapped, dataset) for name, dataset in frames.domains.items()}
    facts = _facts(before) | {"method": wrapped.provenance.method, "cost": wrapped.provenance.cost, "assessments": []}
    facts["conformal"] = conformal_summary(wrapped, conformal, domains, judging.seed)
    return Outcome(wrapped, domains, facts, [*groups_of_frames(before, frames.training_groups), *said])


def _facts(calibration: Parity) -> dict[str, Any]:
    groups = set(calibration.comparison().frame_groups.tolist())
    return {"calibration_frames": len(calibration.counts), "calibration_groups": len(groups)}


def _write(
    folder: Path,
    potential: UncertainPotential,
    paths: Sequence[File],
    data: Mapping[str, File | None],
    summary: dict[str, Any],
) -> None:
    """The model file, with what it was made from."""
    own = detect_format(paths[0]) is Format.SIMKIT
    first = read_header(paths[0])["provenance"] if own else {}
    model = {"model": first, "models_sha256": {Path(path).name: file_hash(path) for path in paths}}
    used = {name: file_hash(path) for name, path in data.items() if path is not None and Path(path).is_file()}
    facts = {name: value for name, value in summary.items() if name not in ("assessments", "citations")}
    metadata = {**model, "calibration_data_sha256": used, "uncertainty": facts}
    save_model(folder / "model.simkit", potential, metadata=metadata)
