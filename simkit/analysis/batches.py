"""Many systems evaluated in batches as large as the memory allows."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from simkit.errors import SimkitError
from simkit.evaluation import Prediction, evaluate
from simkit.potential import Potential
from simkit.progress import Task
from simkit.system import System, concatenate

BATCH_ATOMS = 4096
"""Atoms that are evaluated together; a batch that the memory does not hold is halved."""


def evaluate_many(
    potential: Potential,
    systems: Sequence[System],
    outputs: Sequence[str] = ("energy", "forces"),
    *,
    batch_atoms: int = BATCH_ATOMS,
    task: Task | None = None,
) -> list[Prediction]:
    """Evaluate a potential on many systems, a batch of them at a time.

    Args:
        potential: any potential or wrapper.
        systems: of one system each, of any floating-point type and on any device.
        outputs: as for :func:`simkit.evaluate`; ``features`` are not split.
        batch_atoms: atoms that are evaluated together. A batch for which the device has too little memory is halved.
        task: told how many systems are done.

    Returns:
        A prediction for each system, on the CPU in float64.

    Raises:
        SimkitError: a value that is not finite, naming the system; or what ``evaluate`` raises.
    """
    found: list[Prediction] = []
    for group in _grouped(systems, batch_atoms):
        found += _evaluate_group(potential, group, outputs, len(found))
        if task is not None:
            task.advance(len(group))
    return found


def _grouped(systems: Sequence[System], batch_atoms: int) -> list[list[System]]:
    groups: list[list[System]] = []
    atoms = 0
    for system in systems:
        if not groups or atoms + system.n_atoms > batch_atoms:
            groups.append([])
            atoms = 0
        groups[-1].append(system)
        atoms += system.n_atoms
    return groups


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
