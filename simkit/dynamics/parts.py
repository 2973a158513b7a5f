"""Batches that leave the caches of a processor, evaluated a part of their systems at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from simkit.evaluation import Prediction, evaluate
from simkit.neighbours import Neighbours
from simkit.potential import Potential
from simkit.system import PER_ATOM, System

PART_ATOMS = 2048
"""Atoms, for each thread, that are evaluated together on a CPU: their pairs fill the caches, more are no faster."""


@dataclass(frozen=True)
class Part:
    """Consecutive systems of a batch.

    Attributes:
        systems: their places.
        atoms: their atoms.
        batch: system of each atom, from 0.
        neighbours: their pairs.
    """

    systems: slice
    atoms: slice
    batch: Int[Tensor, " atoms"]
    neighbours: Neighbours

    def of(self, system: System) -> System:
        """These systems of a batch like the one that was cut; tensors are shared."""
        values: dict[str, Any] = {}
        for name in (field.name for field in fields(System)):
            value = getattr(system, name)
            values[name] = None if value is None else value[self.atoms if name in PER_ATOM else self.systems]
        return System(**values | {"batch": self.batch})


class Parts:
    """Evaluates a potential on a batch, on a CPU in parts of about ``PART_ATOMS`` atoms of each thread.

    Time and memory of an evaluation are then proportional to the number of systems, however many they are. Where the
    batch is cut depends on nothing but the numbers of atoms and threads, so that a run that continues makes the same
    cuts.
    """

    def __init__(self) -> None:
        self._cut: tuple[Neighbours, list[Part]] | None = None

    def evaluate(
        self, potential: Potential, system: System, neighbours: Neighbours, outputs: Sequence[str]
    ) -> Prediction:
        """What :func:`simkit.evaluate` gives of energy, forces and virial."""
        most = PART_ATOMS * torch.get_num_threads()
        if system.device.type != "cpu" or system.n_atoms <= most or system.n_systems == 1:
            return evaluate(potential, system, neighbours, outputs)
        if self._cut is None or self._cut[0] is not neighbours:
            self._cut = (neighbours, cut(system, neighbours, most))
        found = [evaluate(potential, part.of(system), part.neighbours, outputs) for part in self._cut[1]]
        names = ("energy", *(name for name in ("forces", "virial") if name in outputs))
        return Prediction(**{name: torch.cat([getattr(one, name) for one in found]) for name in names})


def cut(system: System, neighbours: Neighbours, most: int) -> list[Part]:
    """Consecutive systems of at most ``most`` atoms, or single ones that have more."""
    ends = system.counts.cumsum(0).tolist()
    first = [0]
    for index, end in enumerate(ends):
        begun = ends[first[-1] - 1] if first[-1] else 0
        if end - begun > most and index > first[-1]:
            first.append(index)
    bounds = [*first, system.n_systems]
    atoms = [0, *(ends[index - 1] for index in bounds[1:])]
    edges = torch.searchsorted(neighbours.centre, torch.tensor(atoms)).tolist()
    parts = []
    for place in range(len(first)):
        (one, after), (a, b), (e, f) = (values[place : place + 2] for values in (bounds, atoms, edges))
        pairs = replace(
            neighbours,
            centre=neighbours.centre[e:f] - a,
            neighbour=neighbours.neighbour[e:f] - a,
            shift=neighbours.shift[e:f],
        )
        parts.append(Part(slice(one, after), slice(a, b), system.batch[a:b] - one, pairs))
    return parts
