"""Findings of an audit that concern single frames."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from ase.data import covalent_radii
from jaxtyping import Float
from numpy import ndarray

from simkit.datasets.audit.duplicates import CUTOFF, describe
from simkit.datasets.audit.report import LISTED, Finding
from simkit.datasets.base import Frame, require_finite_labels
from simkit.errors import DataError
from simkit.graph import Graph, make_graph
from simkit.neighbours import build_neighbours

NOBLE_GASES = frozenset((2, 10, 18, 36, 54, 86))
"""Atoms that form no bonds, and are far from one another."""


@dataclass(frozen=True)
class FrameFacts:
    """What is kept of one frame while the others are read.

    Attributes:
        index: of the frame in the dataset.
        name: of the frame.
        numbers: atomic numbers.
        energy: in eV, None without this label; likewise the following two.
        largest_force: in eV/Å.
        net_force: magnitude of the sum of all forces in eV/Å.
        has_stress: whether there is a stress.
        periodic: along all three axes.
        contact: smallest distance over the sum of the two covalent radii; infinite without pairs.
        lonely: number of atoms without neighbours, in frames of several atoms.
        isolated: whether it is a single isolated atom.
        problem: what is not finite in the labels.
        descriptor: see :func:`~simkit.datasets.audit.duplicates.describe`.
    """

    index: int
    name: str
    numbers: tuple[int, ...]
    energy: float | None
    largest_force: float | None
    net_force: float | None
    has_stress: bool
    periodic: bool
    contact: float
    lonely: int
    isolated: bool
    problem: str
    descriptor: Float[ndarray, " features"]

    def has(self, label: str) -> bool:
        """Whether the label (energy, forces or stress) is there, or cannot be."""
        present = {
            "energy": self.energy is not None,
            "forces": self.largest_force is not None,
            "stress": self.has_stress or not self.periodic,
        }
        return present[label]


@dataclass(frozen=True)
class Rule:
    """A condition on one frame, and the finding that it makes."""

    condition: Callable[[FrameFacts], bool]
    severity: Literal["error", "warning", "note"]
    kind: str
    message: str
    remedy: str


RULES = (
    Rule(
        lambda fact: bool(fact.problem),
        "error",
        "nan-label",
        "labels are NaN or infinite",
        "remove these frames or the labels: training refuses them",
    ),
    Rule(
        lambda fact: (fact.net_force or 0) > 0.05 + 0.01 * len(fact.numbers),
        "warning",
        "net-force",
        "the forces do not sum to zero: loose convergence, frozen atoms with forces set to zero, or an outer field",
        "tighten the calculations, or accept that conservative models cannot fit this part",
    ),
    Rule(
        lambda fact: fact.contact < 0.6,
        "warning",
        "close-atoms",
        "atoms closer than 0.6 times the sum of their covalent radii",
        "look at these frames; positions may be in nm, or the cell wrong",
    ),
    Rule(
        lambda fact: np.isfinite(fact.contact) and fact.contact > 1.6 and not NOBLE_GASES.issuperset(fact.numbers),
        "warning",
        "far-atoms",
        "no two atoms closer than 1.6 times the sum of their covalent radii",
        "check the unit of the positions (Bohr read as Å stretches by 1.89) and the cell",
    ),
    Rule(
        lambda fact: fact.lonely > 0,
        "note",
        "lonely-atoms",
        f"atoms without any neighbour within {CUTOFF:g} Å",
        "nothing, if intended; a local model sees them as isolated",
    ),
    Rule(
        lambda fact: fact.isolated,
        "note",
        "isolated-atoms",
        "frames of one atom: used as reference energies, not for training",
        "nothing, if they are from the same level of theory as the other frames",
    ),
)


def frame_facts(index: int, frame: Frame) -> FrameFacts:
    """Gather the facts of one frame."""
    system, labels = frame.system, frame.labels
    graph = make_graph(system, build_neighbours(system, CUTOFF))
    problem = ""
    try:
        require_finite_labels(frame)
    except DataError as error:
        problem = str(error)
    forces = None if labels.forces is None else labels.forces.double()
    return FrameFacts(
        index=index,
        name=frame.name or str(index),
        numbers=tuple(system.numbers.tolist()),
        energy=None if labels.energy is None else float(labels.energy[0]),
        largest_force=None if forces is None else float(forces.norm(dim=1).max()),
        net_force=None if forces is None else float(forces.sum(0).norm()),
        has_stress=labels.stress is not None,
        periodic=bool(system.pbc.all()),
        contact=_closest_contact(frame, graph),
        lonely=system.n_atoms - int(graph.centre.unique().numel()) if system.n_atoms > 1 else 0,
        isolated=frame.is_isolated_atom,
        problem=problem,
        descriptor=describe(frame, graph),
    )


def _closest_contact(frame: Frame, graph: Graph) -> float:
    if not len(graph.centre):
        return float("inf")
    radii = covalent_radii[frame.system.numbers.numpy()]
    total = radii[graph.centre.numpy()] + radii[graph.neighbour.numpy()]
    return float((graph.vectors.norm(dim=1).numpy() / total).min())


def frame_findings(facts: list[FrameFacts], largest_force: float) -> list[Finding]:
    """Findings from the facts of all frames; ``largest_force`` in eV/Å."""
    real = [fact for fact in facts if not fact.isolated]
    large = Rule(
        lambda fact: (fact.largest_force or 0) > largest_force,
        "warning",
        "large-force",
        f"forces above {largest_force:g} eV/Å: unconverged calculations, atoms too close, or other units",
        "look at these frames; remove them, or lower their weight",
    )
    energies = Counter((fact.numbers, fact.energy) for fact in real)
    sizes = Counter(fact.numbers for fact in real)
    constant = Rule(
        lambda fact: (
            fact.energy is not None and energies[fact.numbers, fact.energy] > max(2, 0.1 * sizes[fact.numbers])
        ),
        "warning",
        "constant-energy",
        "more than two frames of the same atoms have exactly the same energy",
        "check that each frame carries the energy of its own calculation",
    )
    found = [_apply(rule, facts) for rule in (*RULES, large, constant)]
    return [finding for finding in found if finding is not None] + _missing_labels(real)


def _apply(rule: Rule, facts: list[FrameFacts]) -> Finding | None:
    names = [fact.name for fact in facts if rule.condition(fact)]
    if not names:
        return None
    return Finding(rule.severity, rule.kind, rule.message, rule.remedy, tuple(names[:LISTED]), len(names))


def _missing_labels(real: Iterable[FrameFacts]) -> list[Finding]:
    facts = list(real)
    if facts and not any(fact.has("energy") or fact.has("forces") for fact in facts):
        remedy = "say where they are: energy_key=..., forces_key=... of open_dataset"
        return [Finding("error", "no-labels", "no frame has an energy or forces", remedy)]
    findings = []
    for label in ("energy", "forces", "stress"):
        concerned = [fact for fact in facts if label != "stress" or fact.periodic]
        missing = [fact.name for fact in concerned if not fact.has(label)]
        if missing and len(missing) < len(concerned):
            message = f"{label} missing in {len(missing)} of {len(concerned)} frames"
            remedy = "nothing, if intended: training uses the labels that are there; else look at the label keys"
            findings.append(Finding("note", "missing-label", message, remedy, tuple(missing[:LISTED]), len(missing)))
    return findings
