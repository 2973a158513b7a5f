"""Uncertainty of a model: fitted on training frames, calibrated on others, judged on others still."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simkit.datasets.base import Dataset
from simkit.errors import SimkitError, SimkitWarning
from simkit.files import file_hash, write_json
from simkit.potential import Potential
from simkit.potentials.file_format import Format, detect_format
from simkit.potentials.model_file import read_header, save_model
from simkit.progress import Progress, Silent
from simkit.tasks.calibration_checks import (
    calibration_that_does_not_hold,
    frames_in_several_parts,
    groups_of_frames,
)
from simkit.tasks.calibration_data import write_residuals
from simkit.tasks.data import open_without_isolated_atoms
from simkit.tasks.models import open_model
from simkit.tasks.parity import Parity, compare
from simkit.tasks.settings import BATCH_ATOMS
from simkit.training.sources import ReadingSettings
from simkit.uncertainty.assessment import Assessment, assess_domains
from simkit.uncertainty.base import Committee, UncertainPotential
from simkit.uncertainty.bootstrap import REPEATS
from simkit.uncertainty.calibrated import Calibrated
from simkit.uncertainty.calibration_fits import fit_map
from simkit.uncertainty.calibration_maps import CalibrationMap
from simkit.uncertainty.comparison import TARGET_UNITS, Target
from simkit.uncertainty.fit import fit_method
from simkit.uncertainty.settings import CalibrationSettings, EnsembleMethod, MethodSettings

TARGETS: tuple[Target, ...] = ("energy", "force-vectors", "stress")
IN_SAMPLE = "calibration frames themselves"
"""Domain that is judged where there are no test frames."""

File = str | os.PathLike[str]


@dataclass(frozen=True)
class Frames:
    """The data of a calibration."""

    training: Dataset | None
    calibration: Dataset
    tests: dict[str, Dataset]

    @property
    def parts(self) -> dict[str, Dataset]:
        """All of them by name."""
        first = {} if self.training is None else {"training": self.training}
        return {**first, "calibration": self.calibration, **self.tests}


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
    progress, settings = progress or Silent(), calibration or CalibrationSettings()
    paths = [models] if isinstance(models, str | os.PathLike) else list(models)
    frames = _open(data, train, test or {}, reading)
    opened = [open_model(path, device=device, dtype=dtype, head=head) for path in paths]
    raw = uncertain_potential(opened, method, frames.training, seed=seed, progress=progress)
    said = frames_in_several_parts(frames.parts)
    before = compare(raw, frames.calibration, batch_atoms, progress)
    said += groups_of_frames(before, _groups(frames.training))
    fitted, more = fitted_map(raw, before, settings)
    calibrated = Calibrated(raw, fitted)
    domains = frames.tests or {IN_SAMPLE: frames.calibration}
    parities = {name: compare(calibrated, dataset, batch_atoms, progress) for name, dataset in domains.items()}
    lines = judged(calibrated, parities, before, repeats, seed)
    said += [*more, *calibration_that_does_not_hold(lines)]
    for text in said:
        progress.warn(text)
    summary = _summary(calibrated, before, parities, lines, said)
    folder = Path(folder)
    _write(folder, calibrated, paths, {"calibration": data, "training": train, **(test or {})}, summary)
    write_residuals(folder / "calibration.npz", {name: parity.comparison() for name, parity in parities.items()})
    write_json(folder / "calibration.json", summary)
    return summary


def uncertain_potential(
    models: Sequence[Potential],
    method: MethodSettings | None,
    training: Dataset | None,
    *,
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
    return fit_method(method or EnsembleMethod(), models, training, seed=seed, progress=progress)


def fitted_map(
    raw: UncertainPotential, parity: Parity, settings: CalibrationSettings
) -> tuple[CalibrationMap, list[str]]:
    """The calibration map, and warnings of too little data.

    Raises:
        CalibrationError: nothing can be fitted.
        SimkitError: a global map for a method that only scores.
    """
    scores = parity.forces_cov is None and parity.score is not None
    kind = settings.map or ("power-law" if scores else "nll")
    if scores and kind not in ("power-law", "isotonic"):
        raise SimkitError(
            f"the method {raw.provenance.method} gives scores, not deviations: use the map power-law or isotonic, "
            f"found {kind}"
        )
    comparison = parity.comparison()
    target: Target = "force-vectors"
    if settings.target == "energy" or (settings.target is None and not comparison.has("forces")):
        target = "energy"
    rows = comparison.residuals(target)
    members = raw.n_members if isinstance(raw, Committee) else None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", SimkitWarning)
        found = fit_map(kind, rows.errors, rows.sigmas[:, None], rows.groups, members=members)
    return found, [str(one.message) for one in caught if issubclass(one.category, SimkitWarning)]


def judged(
    calibrated: Calibrated, domains: Mapping[str, Parity], calibration: Parity, repeats: int = REPEATS, seed: int = 0
) -> list[Assessment]:
    """Metrics of every domain and target, with error bars, and those of the baselines."""
    rule = calibrated.calibration.rule(calibrated.provenance.dof)
    comparisons = {name: parity.comparison() for name, parity in domains.items()}
    return assess_domains(
        comparisons, TARGETS, calibration=calibration.comparison(), rule=rule, repeats=repeats, seed=seed
    )


def _open(data: File, train: File | None, test: Mapping[str, File], reading: ReadingSettings | None) -> Frames:
    reserved = {"training", "calibration"} & test.keys()
    if reserved:
        raise SimkitError(f"a test domain cannot be called {reserved.pop()}: give it another name")
    return Frames(
        None if train is None else open_without_isolated_atoms(train, reading),
        open_without_isolated_atoms(data, reading),
        {name: open_without_isolated_atoms(path, reading) for name, path in test.items()},
    )


def _groups(dataset: Dataset | None) -> list[str]:
    return [] if dataset is None else [dataset[index].group for index in range(len(dataset))]


def _summary(
    calibrated: Calibrated,
    before: Parity,
    domains: Mapping[str, Parity],
    lines: Sequence[Assessment],
    said: Sequence[str],
) -> dict[str, Any]:
    provenance = calibrated.provenance
    raw = before.comparison()
    return {
        "method": provenance.method,
        "calibration": provenance.calibration,
        "map": calibrated.calibration.config(),
        "degrees_of_freedom": None if provenance.dof == float("inf") else provenance.dof,
        "cost": provenance.cost,
        "calibration_frames": len(before.counts),
        "calibration_groups": len(set(raw.frame_groups.tolist())),
        "frames": {name: len(parity.counts) for name, parity in domains.items()},
        "in_sample": IN_SAMPLE in domains,
        "assessments": [line.as_json() for line in lines],
        "units": dict(TARGET_UNITS),
        "warnings": list(said),
        "citations": list(calibrated.capabilities.citations),
    }


def _write(
    folder: Path,
    calibrated: Calibrated,
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
    save_model(folder / "model.simkit", calibrated, metadata=metadata)
