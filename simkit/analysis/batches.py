"""Many systems evaluated in batches as large as the memory allows."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from simkit.errors import SimkitError
from simkit.evaluation import Prediction, evaluate
from simkit.neighbours import build_neighbours
from simkit.potential import Potential
from simkit.progress import Task
from simkit.relaxation.memory import Budget, measured_budget
from simkit.system import System, concatenate

UNMEASURED = 512
"""So many atoms are evaluated together without measuring first how many the memory holds."""

COUNTED = 64
"""Systems whose neighbours are counted together: one search costs as much as several small systems."""


def evaluate_many(
    potential: Potential,
    systems: Sequence[System],
    outputs: Sequence[str] = ("energy", "forces"),
    *,
    budget: Budget | None = None,
    task: Task | None = None,
) -> list[Prediction]:
    """Evaluate a potential on many systems, as many at a time as the memory holds.

    Args:
        potential: any potential or wrapper.
        systems: of one system each, of any floating-point type and on any device.
        outputs: as for :func:`simkit.evaluate`; ``features`` are not split.
        budget: what is evaluated together; measured if absent, see :func:`budget_for`.
        task: told how many systems are done.

    Returns:
        A prediction for each system, on the CPU in float64.

    Raises:
        SimkitError: a value that is not finite, naming the system; or what ``evaluate`` raises.
    """
    if not systems:
        return []
    budget = budget_for(potential, systems, outputs) if budget is None else budget
    found: list[Prediction] = []
    for group in _grouped(potential, systems, budget):
        found += _evaluate_group(potential, group, outputs, len(found))
        if task is not None:
            task.advance(len(group))
    return found


def budget_for(potential: Potential, systems: Sequence[System], outputs: Sequence[str]) -> Budget:
    """What may be evaluated together of systems like these; measured unless they are few."""
    if sum(system.n_atoms for system in systems) <= UNMEASURED:
        return Budget(max_atoms=UNMEASURED)
    return measured_budget(potential, systems, outputs=outputs)


def _grouped(potential: Potential, systems: Sequence[System], budget: Budget) -> list[list[System]]:
    """Consecutive systems that fit, or one that alone does not."""
    if math.isinf(budget.max_pairs) and math.isinf(budget.memory):
        pairs = [0] * len(systems)
    else:
        pairs = _pair_counts(systems, potential.cutoff)
    groups: list[list[System]] = []
    atoms = edges = 0
    for system, count in zip(systems, pairs, strict=True):
        if not groups or not budget.fits(atoms + system.n_atoms, edges + count):
            groups.append([])
            atoms = edges = 0
        groups[-1].append(system)
        atoms, edges = atoms + system.n_atoms, edges + count
    return groups


def _pair_counts(systems: Sequence[System], cutoff: float) -> list[int]:
    """Number of neighbours within ``cutoff`` (Å) of all atoms of each system; many systems are searched together."""
    counts: list[int] = []
    for first in range(0, len(systems), COUNTED):
        batch = concatenate(systems[first : first + COUNTED])
        found = build_neighbours(batch, cutoff)
        counts += torch.bincount(batch.batch[found.centre], minlength=batch.n_systems).tolist()
    return counts


def _evaluate_group(potential: Potential, group: list[System], outputs: Sequence[str], first: int) -> list[Prediction]:
    batch = concatenate(group).to(potential.device, potential.dtype)
    try:
        prediction = evaluate(potential, batch, outputs=outputs)
    except torch.OutOfMemoryError:
        if len(group) == 1:
            raise
        prediction = None
    if prediction is None:  # outside of the handler, whose traceback holds the memory
        half = len(group) // 2
        before = _evaluate_group(potential, group[:half], outputs, first)
        return before + _evaluate_group(potential, group[half:], outputs, first + half)
    return _split(prediction, [system.n_atoms for system in group], first)


def _split(prediction: Prediction, counts: list[int], first: int) -> list[Prediction]:
    def rows(value: Tensor | None, per_atom: bool) -> list[Tensor | None]:
        if value is None:
            return [None] * len(counts)
        return list(value.double().cpu().split(counts if per_atom else 1))

    fields = (
        rows(prediction.energy, False), rows(prediction.energies, True), rows(prediction.forces, True),
        rows(prediction.virial, False), rows(prediction.stress, False),
    )  # fmt: skip
    found = []
    for index, (energy, energies, forces, virial, stress) in enumerate(zip(*fields, strict=True), first):
        values = [value for value in (energy, energies, forces, virial) if value is not None]
        if not all(bool(torch.isfinite(value).all()) for value in values):
            raise SimkitError(
                f"the potential gives values that are not finite for system {index}: check its distances and cell, and "
                "whether the potential was made for such structures"
            )
        assert energy is not None
        found.append(Prediction(energy, energies, forces, virial, stress))
    return found
