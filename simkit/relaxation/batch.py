"""The systems that are relaxed together at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from simkit.relaxation.cell import exponential
from simkit.relaxation.optimiser import Optimiser, OptimiserState
from simkit.relaxation.rows import Rows
from simkit.system import System, concatenate, replaced_rows


@dataclass(frozen=True)
class Record:
    """What is known of the last good geometry of each system; NaN before its first evaluation.

    Attributes:
        positions: in Å.
        cell: in Å.
        x: variables of the optimiser, in Å.
        energy: in eV.
        forces: on the atoms, in eV/Å.
        virial: in eV.
        largest: norm of the largest force on a row of the variables, in eV/Å.
    """

    positions: Float[Tensor, "atoms 3"]
    cell: Float[Tensor, "systems 3 3"]
    x: Float[Tensor, "rows 3"]
    energy: Float[Tensor, " systems"]
    forces: Float[Tensor, "atoms 3"]
    virial: Float[Tensor, "systems 3 3"]
    largest: Float[Tensor, " systems"]

    PER_ATOM = ("positions", "forces")
    PER_ROW = ("x",)

    def replaced(
        self, other: Record, taken: Bool[Tensor, " systems"], rows: Rows, batch: Int[Tensor, " atoms"]
    ) -> Record:
        """The record with the systems that are ``taken`` from another one."""
        if bool(taken.all()):
            return other
        masks = dict.fromkeys(self.PER_ATOM, taken[batch]) | dict.fromkeys(self.PER_ROW, taken[rows.owner])
        values = {}
        for name in (field.name for field in fields(Record)):
            mine, theirs = getattr(self, name), getattr(other, name)
            values[name] = replaced_rows(mine, theirs, masks.get(name, taken))
        return Record(**values)


@dataclass(frozen=True)
class Batch:
    """Systems on their way to a minimum.

    Attributes:
        system: at the geometry that is to be evaluated next.
        x: variables of that geometry: positions in the undeformed cell and, with a cell filter, ``N log F``, in Å.
        first_cell: undeformed cell, in Å.
        memory: of the optimiser.
        record: last good geometry.
        index: place of each system in the input.
        steps: that led to the geometry to be evaluated.
        first_energy: at step 0, in eV; NaN before it was evaluated.
        failed: the last step led to no geometry that can be evaluated.
        pairs: length of the neighbour list of each system as it came into the batch.
    """

    system: System
    x: Float[Tensor, "rows 3"]
    first_cell: Float[Tensor, "systems 3 3"]
    memory: OptimiserState
    record: Record
    index: Int[Tensor, " systems"]
    steps: Int[Tensor, " systems"]
    first_energy: Float[Tensor, " systems"]
    failed: Bool[Tensor, " systems"]
    pairs: Int[Tensor, " systems"]

    PER_SYSTEM = ("first_cell", "index", "steps", "first_energy", "failed", "pairs")

    @property
    def with_cell(self) -> bool:
        """Whether cells are variables."""
        return self.x.shape[0] > self.system.n_atoms

    @cached_property
    def rows(self) -> Rows:
        """Which variable belongs to what."""
        return Rows.of(self.system, self.with_cell)

    @property
    def expected_pairs(self) -> float:
        """About the number of pairs of all systems together, from how their cells have shrunk."""
        if not self.with_cell:
            return float(self.pairs.sum())
        volumes = [torch.linalg.det(cell).abs() for cell in (self.first_cell, self.system.cell)]
        return float((self.pairs * volumes[0] / volumes[1]).sum())

    def select(self, kept: Bool[Tensor, " systems"]) -> Batch:
        """Some of the systems."""
        atoms, rows = kept[self.system.batch], kept[self.rows.owner]

        def of_record(name: str) -> Tensor:
            mask = atoms if name in Record.PER_ATOM else rows if name in Record.PER_ROW else kept
            return getattr(self.record, name)[mask]

        return Batch(
            system=self.system.select(torch.nonzero(kept)[:, 0]),
            x=self.x[rows],
            memory=self.memory.select(rows, kept),
            record=Record(**{field.name: of_record(field.name) for field in fields(Record)}),
            **{name: getattr(self, name)[kept] for name in self.PER_SYSTEM},
        )

    def join(self, other: Batch) -> Batch:
        """These systems, then others."""

        def joined(a: object, b: object) -> Callable[[str], Tensor]:
            return lambda name: torch.cat([getattr(a, name), getattr(b, name)])

        of_record, own = joined(self.record, other.record), joined(self, other)
        return Batch(
            system=concatenate([self.system, other.system]),
            x=torch.cat([self.x, other.x]),
            memory=self.memory.join(other.memory),
            record=Record(**{field.name: of_record(field.name) for field in fields(Record)}),
            **{name: own(name) for name in self.PER_SYSTEM},
        )

    def tensors(self) -> dict[str, Tensor]:
        """Everything by name, for a checkpoint."""
        parts = {"system": _named(self.system), "record": _named(self.record), "memory": self.memory.tensors()}
        flat = {f"{part}.{name}": value for part, values in parts.items() for name, value in values.items()}
        return flat | {name: getattr(self, name) for name in ("x", *self.PER_SYSTEM)}


def _named(value: object) -> dict[str, Tensor]:
    named = {field.name: getattr(value, field.name) for field in fields(value)}  # type: ignore[arg-type]
    return {name: tensor for name, tensor in named.items() if tensor is not None}


def restored(tensors: dict[str, Tensor], optimiser: Optimiser[Any]) -> Batch:
    """The batch that :meth:`Batch.tensors` described."""
    parts: dict[str, dict[str, Tensor]] = {"": {}, "system": {}, "record": {}, "memory": {}}
    for name, value in tensors.items():
        part, _, field = name.rpartition(".")
        parts[part][field] = value
    return Batch(
        system=System(**parts["system"]),
        record=Record(**parts["record"]),
        memory=optimiser.restore(parts["memory"]),
        **parts[""],
    )


def begin(
    system: System,
    index: Int[Tensor, " systems"],
    pairs: Int[Tensor, " systems"],
    optimiser: Optimiser[Any],
    with_cell: bool,
) -> Batch:
    """A batch of systems before their first evaluation; ``index`` is the place of each in the input."""
    rows = Rows.of(system, with_cell)
    x = rows.pack(system.positions, torch.zeros_like(system.cell))
    unknown = torch.full((system.n_systems,), torch.nan, dtype=torch.float64, device=system.device)
    record = Record(
        positions=system.positions,
        cell=system.cell,
        x=x,
        energy=unknown,
        forces=torch.full_like(system.positions, torch.nan),
        virial=torch.full_like(system.cell, torch.nan),
        largest=unknown,
    )
    return Batch(
        system=system,
        x=x,
        first_cell=system.cell,
        memory=optimiser.start(x, rows),
        record=record,
        index=index,
        steps=torch.zeros_like(index),
        first_energy=unknown,
        failed=torch.zeros_like(index, dtype=torch.bool),
        pairs=pairs,
    )


def moved(batch: Batch, x: Float[Tensor, "rows 3"]) -> Batch:
    """The batch at other variables."""
    rows = batch.rows
    if rows.cells is None:
        return replace(batch, x=x, system=replace(batch.system, positions=x))
    gradient = deformation(x, rows, batch.system)
    positions = torch.einsum("ai,aji->aj", x[rows.atoms], gradient[batch.system.batch])
    system = replace(batch.system, positions=positions, cell=batch.first_cell @ gradient.mT)
    return replace(batch, x=x, system=system)


def logarithm(x: Float[Tensor, "rows 3"], rows: Rows, system: System) -> Float[Tensor, "systems 3 3"]:
    """``log F`` of each system, from the rows of its cell."""
    return x[rows.cells] / system.counts[:, None, None]


def deformation(x: Float[Tensor, "rows 3"], rows: Rows, system: System) -> Float[Tensor, "systems 3 3"]:
    """The deformation gradient ``F`` of each system."""
    return exponential(logarithm(x, rows, system))
