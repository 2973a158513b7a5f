"""Findings of an audit that concern units and signs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from simkit.datasets.audit.consistency import (
    all_electron_unit,
    energy_force_slope,
    energy_stress_slope,
    explain_force_ratio,
    explain_stress_ratio,
)
from simkit.datasets.audit.pair_fit import pair_fit_slope
from simkit.datasets.audit.report import Finding
from simkit.datasets.base import Dataset, Frame

SAMPLE = 150
"""Number of frames from which units are judged."""


def unit_findings(
    dataset: Dataset,
    numbers: Sequence[tuple[int, ...]],
    descriptors: Float[ndarray, "frames features"],
) -> list[Finding]:
    """Judge units from a sample of the frames of the most frequent composition.

    Args:
        dataset: the frames.
        numbers: atomic numbers of each frame.
        descriptors: of each frame.
    """
    sizes = Counter(number for number in numbers if len(number) > 1)
    if not sizes:
        return []
    common = sizes.most_common(1)[0][0]
    places = _sample([place for place, number in enumerate(numbers) if number == common])
    frames = [dataset[place] for place in places]
    labelled = [i for i, f in enumerate(frames) if f.labels.energy is not None and f.labels.forces is not None]
    chosen = [frames[i] for i in labelled]
    described = descriptors[[places[i] for i in labelled]]
    against_forces = _energy_and_forces(chosen, described) if len(chosen) >= 8 else []
    alone = [dataset[place] for place, number in enumerate(numbers) if len(number) == 1]
    inconsistent = any(finding.kind == "inconsistent-units" for finding in against_forces)
    findings = _all_electron(frames, [frame for frame in alone if frame.is_isolated_atom], inconsistent)
    if len(chosen) >= 8:
        findings += against_forces or _force_scale(chosen)
        with_stress = [i for i, frame in enumerate(chosen) if frame.labels.stress is not None]
        findings += _stress([chosen[i] for i in with_stress], described[with_stress])
    return findings


def _sample(places: list[int]) -> list[int]:
    """Up to :data:`SAMPLE` places: runs of two, evenly spaced."""
    if len(places) <= SAMPLE:
        return places
    starts = np.linspace(0, len(places) - 2, SAMPLE // 2).astype(int)
    return [places[i] for i in sorted({*starts.tolist(), *(starts + 1).tolist()})]


def _all_electron(frames: list[Frame], alone: list[Frame], inconsistent: bool) -> list[Finding]:
    """Energies that have the size of all-electron ones in another unit than eV.

    With pseudopotentials or a tight-binding model, energies in eV may by chance have the size of all-electron energies
    in Hartree or Rydberg: then isolated atoms rule these out, or it is an error only if the forces disagree as well.
    In kcal/mol and kJ/mol they are beyond all energies in eV.
    """
    units = Counter(_unit(frame) for frame in frames if frame.labels.energy is not None)
    if not units:
        return []
    unit, count = units.most_common(1)[0]
    if unit in (None, "eV") or count < 0.9 * units.total():
        return []
    if any(_unit(atom) != unit for atom in alone if atom.labels.energy is not None):
        return []
    certain = inconsistent or unit in ("kcal/mol", "kJ/mol")
    message = f"the energies, taken as eV, have the size of all-electron total energies in {unit}"
    remedy = f"open the data with energy_unit='{unit}'"
    if certain:
        return [Finding("error", "energy-unit", message, remedy)]
    return [Finding("note", "energy-unit", f"{message}, perhaps by chance", f"if that is their unit, {remedy}")]


def _unit(frame: Frame) -> str | None:
    assert frame.labels.energy is not None
    return all_electron_unit(frame.system.numbers.tolist(), float(frame.labels.energy[0]))


def _energy_and_forces(frames: list[Frame], descriptors: ndarray) -> list[Finding]:
    near = energy_force_slope(frames, descriptors)
    if near.reliable:
        ratio, wide, method = near.ratio, 1.4, f"the work of the forces between {near.pairs} pairs of similar frames"
    else:
        fit = pair_fit_slope(frames)
        if abs(fit.correlation) < 0.55:
            return []
        ratio, wide, method = fit.ratio, 3.0, f"a pair potential fitted to the forces of {len(frames)} frames"
    if ratio < 0:
        message = f"energies fall where forces point uphill, by {method}: the forces have the wrong sign"
        return [Finding("error", "force-sign", message, "these are gradients: multiply them by -1")]
    if 1 / wide < ratio < wide:
        return []
    guesses = explain_force_ratio(ratio, 0.2 if near.reliable else 0.7)[:4]
    meaning = f"; with energies and forces in {', or '.join(guesses)} it would be 1" if guesses else ""
    message = f"energy differences are {ratio:.3g} times what {method} tells{meaning}"
    remedy = "find out the units and open the data with energy_unit=..., forces_unit=..."
    return [Finding("error", "inconsistent-units", message, remedy)]


def _force_scale(frames: list[Frame]) -> list[Finding]:
    squares = [
        float(frame.labels.forces.double().square().mean()) for frame in frames if frame.labels.forces is not None
    ]
    rms = float(np.sqrt(np.median(squares)))
    if rms < 10:
        return []
    message = f"the typical force is {rms:.0f} eV/Å, as of thermal motion in kcal/mol/Å or kJ/mol/Å"
    remedy = "if the file is in such units: energy_unit='kcal/mol', forces_unit='kcal/mol/Å'"
    return [Finding("warning", "force-scale", message, remedy)]


def _stress(frames: list[Frame], descriptors: ndarray) -> list[Finding]:
    if len(frames) < 8:
        return []
    found = energy_stress_slope(frames, descriptors)
    if not found.reliable:
        return []
    if found.ratio < 0:
        message = "energies rise where the stress says that they fall: the stress has the wrong sign"
        remedy = "VASP and others count compression as positive: multiply by -1 (simkit and ASE: tension positive)"
        return [Finding("error", "stress-sign", message, remedy)]
    if 0.7 < found.ratio < 1.4:
        return []
    guesses = explain_stress_ratio(found.ratio)
    meaning = f", as if it were in {', or '.join(guesses)}" if guesses else ""
    message = f"energy differences under strain are {found.ratio:.3g} times what the stress tells{meaning}"
    return [Finding("error", "stress-unit", message, "open the data with stress_unit=...")]
