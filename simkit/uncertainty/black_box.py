"""Calibrated deviations and conformal intervals around any ASE calculator, which itself stays as it is."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.outputs import Properties
from numpy import ndarray

from simkit.errors import DataError, SimkitError
from simkit.files import write_json
from simkit.system import System
from simkit.uncertainty.ase_results import (
    NEED_FORCES,
    NEED_STRESS,
    UNCERTAINTIES,
    as_results,
    full_stress,
    keep_in_atoms,
)
from simkit.uncertainty.calculator_potential import CalculatorPotential, Score
from simkit.uncertainty.calibrated import Calibrated
from simkit.uncertainty.calibration_fits import fit_map
from simkit.uncertainty.calibration_maps import CalibrationMap, map_from_config
from simkit.uncertainty.comparison import Comparison
from simkit.uncertainty.conformal import Reduction
from simkit.uncertainty.conformal_potential import ConformalRule
from simkit.uncertainty.conformal_scores import frame_scores
from simkit.uncertainty.intervals import IntervalRule, Intervals
from simkit.uncertainty.prediction import UncertainPrediction

FORMAT = "simkit-black-box-1"


class BlackBox(Calculator):
    """An ASE calculator around another one: the same energies, forces and stress, with what they are worth.

    ``force_sigma`` and so on are among the results, calibrated on frames with reference values; :meth:`interval` gives
    conformal intervals, which hold the promised share of frames like those. The calculator may be any program or model:
    nothing but its results is used.

    Args:
        calculator: with energy and forces.
        score: what the uncertainty is taken from; see :data:`~simkit.uncertainty.calculator_potential.Score`.
        calibration: the map from scores to deviations.
        relative: conformal scores in units of the raw score or deviation, by quantity.
        plain: conformal scores of plain errors, by quantity.

    Raises:
        SimkitError: the calculator does not give what the score needs.
    """

    def __init__(
        self,
        calculator: Any,
        calibration: CalibrationMap,
        relative: Mapping[str, ndarray],
        plain: Mapping[str, ndarray],
        *,
        score: Score | None = None,
    ) -> None:
        super().__init__()
        self.raw = CalculatorPotential(calculator, score)
        self.calibrated = Calibrated(self.raw, calibration)
        self.relative, self.plain = dict(relative), dict(plain)
        outputs = [name for name in ("energy", "energies", "forces", "stress") if name in self.raw.capabilities.outputs]
        self.implemented_properties = [*outputs, "free_energy", *UNCERTAINTIES]

    @classmethod
    def fit(
        cls,
        calculator: Any,
        frames: Sequence[Atoms],
        *,
        score: Score | None = None,
        map: str | None = None,
        over_atoms: Reduction = "max",
        groups: Sequence[str] | None = None,
    ) -> BlackBox:
        """Compare a calculator with reference values, and keep how far it was off.

        Args:
            calculator: with energy and forces.
            frames: with reference results attached, which the model behind the calculator was not trained on. Leave out
                the energies if their zeros differ.
            score: what the uncertainty is taken from; by default the calculator's own deviations, else a constant.
            map: of :func:`~simkit.uncertainty.calibration_fits.fit_map`; ``nll`` by default.
            over_atoms: what the intervals of forces are about: ``max`` holds all atoms of a frame.
            groups: what frames have in common, such as a trajectory; by default ``info["group"]``.

        Raises:
            DataError: frames without forces.
            CalibrationError: nothing can be fitted.

        Warns:
            SimkitWarning: fewer than five groups.
        """
        raw = CalculatorPotential(calculator, score)
        comparison = compare_frames(raw, frames, groups)
        rows = comparison.residuals("force-vectors")
        fitted = fit_map(map or "nll", rows.errors, rows.sigmas[:, None], rows.groups)
        return cls(
            calculator,
            fitted,
            frame_scores(comparison, over_atoms=over_atoms),
            frame_scores(comparison, relative=False, over_atoms=over_atoms),
            score=score,
        )

    def predict(self, atoms: Atoms, outputs: Sequence[str] = ("energy", "forces")) -> UncertainPrediction:
        """The calculator's results with calibrated deviations and a rule for conformal intervals."""
        system = System.from_ase(atoms)
        found = self.calibrated.predict(system, outputs=outputs)
        raw = self.raw.predict(system, outputs=outputs)
        scaled = ConformalRule(self.relative, system.counts, system.numbers, True)
        constant = ConformalRule(self.plain, system.counts, system.numbers, False)
        return replace(found, rule=_Both(raw, scaled, constant))

    def interval(self, atoms: Atoms, level: float = 0.9) -> Intervals:
        """Conformal intervals of energy, forces and, of crystals, stress, with the probability ``level`` each."""
        outputs = [name for name in ("energy", "forces", "stress") if name in self.implemented_properties]
        return self.predict(atoms, outputs if atoms.pbc.all() else outputs[:2]).interval(level)

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """The calculator's results, and their deviations."""
        super().calculate(atoms, properties, system_changes)
        given = self.atoms if atoms is None else atoms
        if given is None:
            raise SimkitError("expected atoms, or a calculation before: call atoms.get_potential_energy() first")
        derivatives = (NEED_FORCES | NEED_STRESS) & set(properties)
        outputs = ["energy", "energies", *(["forces", "stress"] if derivatives else [])]
        known = [name for name in outputs if name in self.implemented_properties]
        results = as_results(self.calibrated.predict(System.from_ase(given), outputs=known))
        keep_in_atoms(given, results, self.calibrated.provenance)
        self.results.update(results | {"free_energy": results["energy"]})

    def export_properties(self) -> Properties:
        """The results that ASE's table of properties has names for."""
        return Properties({name: value for name, value in self.results.items() if name not in UNCERTAINTIES})

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write what was fitted as JSON; the calculator itself is not in the file.

        Raises:
            SimkitError: the score is a function.
        """
        if not isinstance(self.raw.score, str):
            raise SimkitError("expected a score with a name, found a function: a file cannot hold it")
        content = {"format": FORMAT, "score": self.raw.score, "calibration": self.calibrated.calibration.config()}
        scores = {name: _lists(getattr(self, name)) for name in ("relative", "plain")}
        write_json(path, content | scores)

    @classmethod
    def load(cls, calculator: Any, path: str | os.PathLike[str]) -> BlackBox:
        """What :meth:`save` has written, around a calculator of the same kind.

        Raises:
            DataError: another file.
        """
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        if content.get("format") != FORMAT:
            raise DataError(f"{path}: expected a file of the format {FORMAT}, found {content.get('format')!r:.40}")
        return cls(
            calculator,
            map_from_config(content["calibration"]),
            {name: np.array(values) for name, values in content["relative"].items()},
            {name: np.array(values) for name, values in content["plain"].items()},
            score=content["score"],
        )


@dataclass(frozen=True)
class _Both(IntervalRule):
    """Intervals in proportion to raw deviations, and constant ones of what has none."""

    raw: UncertainPrediction
    scaled: ConformalRule
    constant: ConformalRule

    def interval(self, prediction: UncertainPrediction, level: float) -> Intervals:
        first, second = (rule.interval(self.raw, level) for rule in (self.scaled, self.constant))
        missing = [field.name for field in fields(Intervals) if getattr(first, field.name) is None]
        return replace(first, **{name: getattr(second, name) for name in missing})


def compare_frames(
    potential: CalculatorPotential, frames: Sequence[Atoms], groups: Sequence[str] | None = None
) -> Comparison:
    """Predictions for labelled frames beside their reference values.

    Raises:
        DataError: no frames, or one without reference forces.
    """
    if not frames:
        raise DataError("expected frames with reference values, found none")
    bare = [index for index, one in enumerate(frames) if one.calc is None or "forces" not in one.calc.results]
    if bare:
        raise DataError(f"expected frames with reference forces attached, found none in frames {bare[:10]}: label them")
    parts = []
    for frame in frames:
        stressed = bool(frame.pbc.all()) and "stress" in potential.capabilities.outputs
        outputs = ("energy", "forces", "stress") if stressed else ("energy", "forces")
        parts.append(as_results(potential.predict(System.from_ase(frame), outputs=outputs)))
    labels = [frame.calc.results for frame in frames]
    spreads: dict[str, ndarray] = {
        name: np.concatenate([part[name] for part in parts])
        for name in ("forces_cov", "score")
        if all(name in part for part in parts)
    }
    for name, empty in (("energy_std", np.nan), ("stress_std", np.full(6, np.nan))):
        if any(name in part for part in parts):
            spreads[name] = np.array([part.get(name, empty) for part in parts])
    return Comparison(
        counts=np.array([len(frame) for frame in frames]),
        energy=np.array([[one.get("energy", np.nan), part["energy"]] for one, part in zip(labels, parts, strict=True)]),
        forces=np.concatenate(
            [np.stack([one["forces"], part["forces"]], -1) for one, part in zip(labels, parts, strict=True)]
        ),
        stress=np.array([_stresses(one, part) for one, part in zip(labels, parts, strict=True)]),
        groups=[str(frame.info.get("group", "")) for frame in frames] if groups is None else list(groups),
        **spreads,
    )


def _stresses(label: Mapping[str, Any], part: Mapping[str, Any]) -> ndarray:
    """NaN where either is missing."""
    if "stress" not in label or "stress" not in part:
        return np.full((3, 3, 2), np.nan)
    return np.stack([full_stress(one["stress"]) for one in (label, part)], -1)


def _lists(scores: Mapping[str, ndarray]) -> dict[str, list[float]]:
    return {name: values.tolist() for name, values in scores.items()}
