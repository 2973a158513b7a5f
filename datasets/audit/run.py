"""The audit itself."""

from __future__ import annotations

from typing import Any

import numpy as np
from ase.data import chemical_symbols

from simkit.datasets.audit.duplicates import Duplicate, find_duplicates
from simkit.datasets.audit.frames import FrameFacts, frame_facts, frame_findings
from simkit.datasets.audit.report import LISTED, SEVERITIES, AuditReport, Finding
from simkit.datasets.audit.units import unit_findings
from simkit.datasets.base import Dataset
from simkit.datasets.combine import Subset
from simkit.errors import DataError
from simkit.progress import Progress, Silent
from simkit.units import GPA


def audit(
    dataset: Dataset,
    *,
    largest_force: float = 30.0,
    tolerance: float = 1e-3,
    progress: Progress | None = None,
) -> AuditReport:
    """Look for what spoils a training run: damaged, duplicate, contradictory or extreme frames, wrong units and signs.

    Frames are read one at a time; a few hundred bytes of each are kept, and suspected duplicates are read again.

    Args:
        dataset: any dataset; open train and test files together to find frames that they share.
        largest_force: forces above this, in eV/Å, are reported.
        tolerance: in Å, between the distances of frames that count as the same structure.
        progress: where progress is shown.
    """
    facts: list[FrameFacts] = []
    unreadable: list[str] = []
    with (progress or Silent()).task("audit", len(dataset)) as task:
        for index in range(len(dataset)):
            try:
                facts.append(frame_facts(index, dataset[index]))
            except DataError as error:
                unreadable.append(str(error))
            task.advance()
    sound = [fact for fact in facts if not fact.problem]
    readable = Subset(dataset, [fact.index for fact in sound])
    findings = frame_findings(facts, largest_force)
    if unreadable:
        remedy = "correct or remove these frames"
        count = len(unreadable)
        findings.append(
            Finding("error", "unreadable", "frames that cannot be read", remedy, tuple(unreadable[:5]), count)
        )
    if sound:
        descriptors = np.array([fact.descriptor for fact in sound])
        compositions = [tuple(sorted(fact.numbers)) for fact in sound]
        found = find_duplicates(readable, compositions, descriptors, tolerance)
        findings += _duplicates(sound, found)
        findings += unit_findings(readable, [fact.numbers for fact in sound], descriptors)
    findings.sort(key=lambda finding: SEVERITIES.index(finding.severity))
    return AuditReport(len(dataset), tuple(findings), _summary(facts))


def _duplicates(facts: list[FrameFacts], found: list[Duplicate]) -> list[Finding]:
    conflicting = [pair for pair in found if pair.conflicting]
    agreeing = [pair for pair in found if not pair.conflicting]

    def names(pairs: list[Duplicate]) -> tuple[str, ...]:
        return tuple(f"{facts[pair.first].name} = {facts[pair.second].name}" for pair in pairs[:LISTED])

    findings = []
    if agreeing:
        message = (
            f"{len(agreeing)} frames repeat the structure of another (position, orientation, order of atoms aside)"
        )
        remedy = "keep one of each; in particular none may be both in training and in test"
        findings.append(Finding("warning", "duplicate", message, remedy, names(agreeing), len(agreeing)))
    if conflicting:
        energy = max(pair.energy_difference for pair in conflicting)
        force = max(pair.force_difference for pair in conflicting)
        stress = max(pair.stress_difference for pair in conflicting)
        message = (
            "the same structure with different labels, by up to "
            f"{1e3 * energy:.1f} meV/atom, {force:.2f} eV/Å, {stress / GPA:.1f} GPa"
        )
        remedy = "find out which is right: other settings, spin or charge, or a structure paired with wrong labels"
        findings.append(Finding("warning", "conflicting-labels", message, remedy, names(conflicting), len(conflicting)))
    return findings


def _summary(facts: list[FrameFacts]) -> dict[str, Any]:
    elements = sorted({number for fact in facts for number in fact.numbers})
    forces = [fact.largest_force for fact in facts if fact.largest_force is not None]
    return {
        "elements": " ".join(chemical_symbols[number] for number in elements),
        "compositions": len({tuple(sorted(fact.numbers)) for fact in facts}),
        "with_energy": sum(fact.energy is not None for fact in facts),
        "with_forces": len(forces),
        "with_stress": sum(fact.has_stress for fact in facts),
        "largest_force_ev_per_ang": max((force for force in forces if np.isfinite(force)), default=None),
    }
