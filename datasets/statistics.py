"""What a training run needs to know of its data, from one pass over the frames."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from ase.data import chemical_symbols

from simkit.datasets.base import Dataset, Frame, require_finite_labels
from simkit.datasets.reference_energies import energies_per_atom, fit_reference_energies
from simkit.errors import DataError
from simkit.graph import make_graph
from simkit.neighbours import build_neighbours
from simkit.progress import Progress, Silent

SAME_ENERGY = 1e-3
"""Largest difference in eV between isolated atoms that count as the same."""


@dataclass(frozen=True)
class Statistics:
    """Facts about a dataset; frames of isolated atoms count only for the reference energies.

    Attributes:
        frames, atoms: numbers of frames and atoms, without isolated atoms.
        elements: atomic numbers, ascending, of all frames.
        element_counts: number of atoms of each element.
        labelled: number of frames that have an energy, forces, a stress.
        isolated: energies of isolated atoms found in the data, in eV; of several levels of theory, of the first.
        reference_energies: energy of each element in eV: isolated atoms where known, least squares on the composition
            for the others.
        reference_source: ``given``, ``isolated atom`` or ``least squares``, for each element.
        undetermined: elements whose least-squares energy is not unique, because compositions do not vary enough (one
            molecule only): the solution of minimum norm is taken, and energies of atoms and of other compositions mean
            nothing.
        energy_per_atom_mean, energy_per_atom_std: of the total energy, in eV.
        interaction_per_atom_mean, interaction_per_atom_std: the same after subtraction of the reference energies.
        rms_force: √⟨F²⟩ over all components, in eV/Å.
        rms_stress: √⟨σ²⟩ over all components, in eV/Å³.
        cutoff: in Å, of what follows.
        average_neighbours: mean number of neighbours of the atoms that have any.
        shortest_distance: between two atoms, in Å; None if no pair is within the cutoff.
        shortest_in: name of the frame with that distance.
    """

    frames: int
    atoms: int
    elements: tuple[int, ...]
    element_counts: dict[int, int]
    labelled: dict[str, int]
    isolated: dict[int, float]
    reference_energies: dict[int, float]
    reference_source: dict[int, str]
    undetermined: tuple[int, ...]
    energy_per_atom_mean: float | None
    energy_per_atom_std: float | None
    interaction_per_atom_mean: float | None
    interaction_per_atom_std: float | None
    rms_force: float | None
    rms_stress: float | None
    cutoff: float | None
    average_neighbours: float | None
    shortest_distance: float | None
    shortest_in: str

    def to_dict(self) -> dict[str, Any]:
        """JSON-compatible, elements by symbol, units in the keys."""

        def by_symbol(values: Mapping[int, Any]) -> dict[str, Any]:
            return {chemical_symbols[number]: value for number, value in values.items()}

        return {
            "frames": self.frames,
            "atoms": self.atoms,
            "elements": [chemical_symbols[number] for number in self.elements],
            "element_counts": by_symbol(self.element_counts),
            "labelled_frames": self.labelled,
            "reference_energies_ev": by_symbol(self.reference_energies),
            "reference_source": by_symbol(self.reference_source),
            "undetermined_references": [chemical_symbols[number] for number in self.undetermined],
            "energy_per_atom_mean_ev": self.energy_per_atom_mean,
            "energy_per_atom_std_ev": self.energy_per_atom_std,
            "interaction_per_atom_mean_ev": self.interaction_per_atom_mean,
            "interaction_per_atom_std_ev": self.interaction_per_atom_std,
            "rms_force_ev_per_ang": self.rms_force,
            "rms_stress_ev_per_ang3": self.rms_stress,
            "cutoff_ang": self.cutoff,
            "average_neighbours": self.average_neighbours,
            "shortest_distance_ang": self.shortest_distance,
            "shortest_distance_in": self.shortest_in,
        }


@dataclass
class _Sums:
    """What one pass collects; energies are kept per frame, eight bytes each."""

    atoms: int = 0
    elements: Counter[int] = field(default_factory=Counter)
    labelled: Counter[str] = field(default_factory=Counter)
    isolated: dict[tuple[int, int], list[tuple[float, str]]] = field(default_factory=dict)
    alone: set[int] = field(default_factory=set)
    compositions: dict[tuple[tuple[int, int], ...], list[float]] = field(default_factory=dict)
    force_square: float = 0.0
    force_components: int = 0
    stress_square: float = 0.0
    pairs: int = 0
    centres: int = 0
    shortest: float = float("inf")
    shortest_in: str = ""
    frames: int = 0

    def add(self, frame: Frame, cutoff: float | None) -> None:
        require_finite_labels(frame)
        numbers = frame.system.numbers.tolist()
        labels = frame.labels
        if frame.is_isolated_atom:
            self.alone.add(numbers[0])
            if labels.energy is not None:
                head = 0 if frame.system.head is None else int(frame.system.head[0])
                self.isolated.setdefault((head, numbers[0]), []).append((float(labels.energy[0]), frame.name))
            return
        self.frames += 1
        self.atoms += len(numbers)
        self.elements.update(numbers)
        if labels.energy is not None:
            self.labelled["energy"] += 1
            composition = tuple(sorted(Counter(numbers).items()))
            self.compositions.setdefault(composition, []).append(float(labels.energy[0]))
        if labels.forces is not None:
            self.labelled["forces"] += 1
            self.force_square += float(labels.forces.double().square().sum())
            self.force_components += labels.forces.numel()
        if labels.stress is not None:
            self.labelled["stress"] += 1
            self.stress_square += float(labels.stress.double().square().sum())
        if cutoff is not None:
            self._add_pairs(frame, cutoff)

    def _add_pairs(self, frame: Frame, cutoff: float) -> None:
        neighbours = frame.neighbours
        if neighbours is None or neighbours.cutoff < cutoff:
            neighbours = build_neighbours(frame.system, cutoff)
        graph = make_graph(frame.system, neighbours).within(cutoff)
        if not len(graph.centre):
            return
        self.pairs += len(graph.centre)
        self.centres += int(torch.unique(graph.centre).numel())
        shortest = float(graph.vectors.norm(dim=1).min())
        if shortest < self.shortest:
            self.shortest, self.shortest_in = shortest, frame.name


def compute_statistics(
    dataset: Dataset,
    cutoff: float | None = None,
    *,
    reference_energies: Mapping[int, float] | None = None,
    progress: Progress | None = None,
) -> Statistics:
    """Statistics of a dataset in one pass; memory does not grow with the number of atoms.

    The reference energies E0 minimise ``Σ_frames (E - Σ_z n_z E0_z)²`` with the energies of isolated atoms held fixed.

    Args:
        dataset: the training frames.
        cutoff: in Å, for the neighbours; None to leave these out.
        reference_energies: energies of elements in eV that are known otherwise; they win over those in the data.
        progress: where progress is shown.

    Raises:
        DataError: an empty dataset, a label that is NaN, or isolated atoms of one element with different energies.
    """
    sums = _Sums()
    with (progress or Silent()).task("statistics", len(dataset)) as task:
        for index in range(len(dataset)):
            sums.add(dataset[index], cutoff)
            task.advance()
    if not sums.frames and not sums.alone:
        raise DataError("expected at least one frame to compute statistics of, found none")
    return _statistics(sums, cutoff, reference_energies or {})


def _isolated_energies(sums: _Sums, given: Mapping[int, float]) -> dict[int, float]:
    """Energy of the isolated atom of each element, of the first level of theory that has one."""
    energies: dict[int, float] = {}
    for (_, number), found in sorted(sums.isolated.items()):
        (low, first), (high, second) = min(found), max(found)
        if high - low > SAME_ENERGY and number not in given:
            raise DataError(
                f"expected one energy for the isolated {chemical_symbols[number]} atom, found {low} eV in {first} and "
                f"{high} eV in {second}: keep one of them (that of the ground state), or give reference_energies"
            )
        energies.setdefault(number, found[0][0])
    return energies


def _statistics(sums: _Sums, cutoff: float | None, given: Mapping[int, float]) -> Statistics:
    elements = tuple(sorted({*sums.elements, *sums.alone}))
    alone = _isolated_energies(sums, given)
    fixed = {**alone, **given}
    fitted, undetermined = fit_reference_energies(sums.compositions, fixed)
    references = {z: fixed[z] if z in fixed else fitted.get(z, 0.0) for z in elements}
    isolated = {z: "isolated atom" for z in alone}
    source = {
        **dict.fromkeys(elements, "least squares"),
        **isolated,
        **dict.fromkeys(given, "given"),
    }
    total, interaction = energies_per_atom(sums.compositions, {}), energies_per_atom(sums.compositions, references)
    return Statistics(
        frames=sums.frames,
        atoms=sums.atoms,
        elements=elements,
        element_counts={z: sums.elements[z] for z in elements},
        labelled={name: sums.labelled[name] for name in ("energy", "forces", "stress")},
        isolated=alone,
        reference_energies=references,
        reference_source={z: source[z] for z in elements},
        undetermined=undetermined,
        energy_per_atom_mean=float(total.mean()) if len(total) else None,
        energy_per_atom_std=float(total.std()) if len(total) else None,
        interaction_per_atom_mean=float(interaction.mean()) if len(interaction) else None,
        interaction_per_atom_std=float(interaction.std()) if len(interaction) else None,
        rms_force=(sums.force_square / sums.force_components) ** 0.5 if sums.force_components else None,
        rms_stress=(sums.stress_square / (9 * sums.labelled["stress"])) ** 0.5 if sums.labelled["stress"] else None,
        cutoff=cutoff,
        average_neighbours=sums.pairs / sums.centres if sums.centres else (0.0 if cutoff else None),
        shortest_distance=sums.shortest if sums.centres else None,
        shortest_in=sums.shortest_in,
    )
