"""Relaxation of many systems in one batch, which finished systems leave and waiting ones enter."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from simkit.errors import SimkitError
from simkit.evaluation import evaluate
from simkit.neighbours import NeighbourList, build_neighbours
from simkit.potential import Potential
from simkit.relaxation.batch import Batch, Record, begin, deformation, logarithm, moved, restored
from simkit.relaxation.cell import CellFilter
from simkit.relaxation.checks import MINIMUM_DISTANCE, refusal, shortest_distance, usable
from simkit.relaxation.endings import ended
from simkit.relaxation.memory import Budget, measured_budget
from simkit.relaxation.optimiser import Optimiser
from simkit.relaxation.outcome import Outcome, Status, refused
from simkit.system import System, concatenate

SKIN = 0.5
"""Extra reach of the neighbour list in Å; relaxations move atoms little."""


@dataclass(frozen=True)
class Round:
    """One evaluation of a batch.

    Attributes:
        batch: the systems, with what is known of them; None if all that were waiting were refused.
        status: of each of them.
        outcomes: of those that have left.
        strained: whether virials are known.
    """

    batch: Batch | None
    status: Int[Tensor, " systems"]
    outcomes: list[Outcome]
    strained: bool

    @property
    def converged(self) -> int:
        """Number of systems that have converged in this round."""
        return sum(outcome.status == Status.CONVERGED for outcome in self.outcomes)


class Evaluated(NamedTuple):
    """A batch with its records; forces on its variables; whether each system is sound; its shortest distance."""

    batch: Batch
    forces: Float[Tensor, "rows 3"]
    sound: Bool[Tensor, " systems"]
    shortest: Float[Tensor, " systems"]


class InFlight:
    """A relaxation under way: each call of :meth:`advance` evaluates the batch once and steps every system in it.

    The result of a system does not depend on which others were in the batch, but for rounding in the potential.

    Args:
        potential: any potential or wrapper; it computes in its own floating-point type, the optimiser in float64.
        systems: one at a time.
        optimiser: what makes the steps.
        fmax: a system is relaxed when the force on each of its atoms, and row of the cell, is smaller; in eV/Å.
        max_steps: of each system.
        cell: relax cells too.
        budget: what is evaluated together; measured if absent.
        skin: extra reach of the neighbour list, in Å.
    """

    def __init__(
        self,
        potential: Potential,
        systems: Sequence[System],
        optimiser: Optimiser[Any],
        *,
        fmax: float,
        max_steps: int,
        cell: CellFilter | None,
        budget: Budget | None,
        skin: float = SKIN,
    ) -> None:
        require_sense(potential, fmax, max_steps, cell)
        self.potential, self.systems, self.optimiser = potential, systems, optimiser
        self.fmax, self.max_steps, self.cell = fmax, max_steps, cell
        self.neighbours = NeighbourList(potential.cutoff, skin)
        strained = potential.capabilities.conservative and any(bool(one.pbc.any()) for one in systems)
        self.outputs = ("energy", "forces", "virial") if strained else ("energy", "forces")
        self.budget = budget or self._measured_budget()
        self.waiting = deque(sorted(range(len(systems)), key=lambda index: -systems[index].n_atoms))
        self.batch: Batch | None = None
        self.evaluations = 0
        self._known_pairs: dict[int, int] = {}

    def _measured_budget(self) -> Budget:
        usable = [one for one in self.systems if refusal(self.potential, one, self.cell is not None) is None]
        return measured_budget(
            self.potential, usable, outputs=self.outputs, overhead_per_atom=self.optimiser.bytes_per_row
        )

    @property
    def working(self) -> bool:
        """Whether systems are left."""
        return self.batch is not None or bool(self.waiting)

    def advance(self) -> Round:
        """Fill the batch, evaluate it, let go those that have ended, and make a step with the others."""
        outcomes, strained = self._admit(), "virial" in self.outputs
        if self.batch is None:
            return Round(None, torch.zeros(0, dtype=torch.int64), outcomes, strained)
        batch, forces, sound, shortest = self._evaluated(self.batch)
        status = self._status(batch, sound)
        outcomes += ended(batch, status, shortest, strained)
        running = status == Status.RUNNING
        self.batch = None
        if bool(running.any()):
            if not bool(running.all()):
                self.neighbours.select(torch.nonzero(running)[:, 0])
                forces = forces[running[batch.rows.owner]]
            self.batch = self._stepped(batch if bool(running.all()) else batch.select(running), forces)
        return Round(batch, status, outcomes, strained)

    def tensors(self) -> dict[str, Tensor]:
        """The state by name, for a checkpoint: with it, :meth:`restore` goes on with the same numbers."""
        waiting = torch.tensor(list(self.waiting), dtype=torch.int64)
        batch = {} if self.batch is None else self.batch.tensors()
        return {"waiting": waiting, "evaluations": torch.tensor(self.evaluations)} | {
            f"batch.{name}": value for name, value in batch.items()
        }

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Go on from a checkpoint of a relaxation with the same arguments, budget included."""
        self.waiting = deque(tensors["waiting"].tolist())
        self.evaluations = int(tensors["evaluations"])
        saved = {
            name.removeprefix("batch."): value.to(self.potential.device)
            for name, value in tensors.items()
            if name.startswith("batch.")
        }
        self.batch = restored(saved, self.optimiser) if saved else None

    def _admit(self) -> list[Outcome]:
        """Take waiting systems into the batch while there is room."""
        outcomes: list[Outcome] = []
        chosen: dict[int, int] = {}
        atoms = 0 if self.batch is None else self.batch.system.n_atoms
        pairs = 0.0 if self.batch is None else self.batch.expected_pairs
        while self.waiting:
            index = self.waiting[0]
            system = self.systems[index]
            reason = refusal(self.potential, system, self.cell is not None)
            if reason is not None:
                outcomes.append(refused(index, system, reason))
            else:
                atoms, pairs = atoms + system.n_atoms, pairs + self._pairs(index)
                if (self.batch is not None or chosen) and not self.budget.fits(atoms, pairs):
                    break
                chosen[index] = self._known_pairs.pop(index)
            self.waiting.popleft()
        if chosen:
            entering = self._begun(list(chosen), list(chosen.values()))
            self.batch = entering if self.batch is None else self.batch.join(entering)
        return outcomes

    def _pairs(self, index: int) -> int:
        """Length of the neighbour list of a waiting system."""
        if index not in self._known_pairs:
            system = self.systems[index].to(self.potential.device, self.potential.dtype)
            found = build_neighbours(system, self.potential.cutoff, self.neighbours.skin)
            self._known_pairs[index] = found.n_edges
        return self._known_pairs[index]

    def _begun(self, chosen: list[int], pairs: list[int]) -> Batch:
        device = self.potential.device
        system = concatenate([self.systems[index] for index in chosen]).to(device, torch.float64)
        places, lengths = (torch.tensor(values, device=device) for values in (chosen, pairs))
        return begin(system, places, lengths, self.optimiser, self.cell is not None)

    def _evaluated(self, batch: Batch) -> Evaluated:
        """The batch with the records of those systems that are sound where they are now."""
        dtype = self.potential.dtype
        system = batch.system if dtype == torch.float64 else batch.system.to(dtype=dtype)
        neighbours = self.neighbours.update(system)
        prediction = evaluate(self.potential, system, neighbours, self.outputs)
        self.evaluations += 1
        assert prediction.forces is not None
        atoms = prediction.forces.double()
        virial = torch.zeros_like(batch.first_cell) if prediction.virial is None else prediction.virial.double()
        forces = self._variable_forces(batch, atoms, virial)
        rows, present = batch.rows, batch.system
        shortest = shortest_distance(system, neighbours).double()
        largest = rows.longest(forces)
        sound = torch.isfinite(prediction.energy) & torch.isfinite(largest) & torch.isfinite(virial.sum((1, 2)))
        sound &= torch.isfinite(rows.sum(forces.sum(1))) & (shortest >= MINIMUM_DISTANCE) & ~batch.failed
        found = Record(present.positions, present.cell, batch.x, prediction.energy, atoms, virial, largest)
        first = torch.where(sound & (batch.steps == 0), prediction.energy, batch.first_energy)
        record = batch.record.replaced(found, sound, rows, present.batch)
        return Evaluated(replace(batch, record=record, first_energy=first), forces, sound, shortest)

    def _variable_forces(
        self, batch: Batch, atoms: Float[Tensor, "atoms 3"], virial: Float[Tensor, "systems 3 3"]
    ) -> Float[Tensor, "rows 3"]:
        """Forces on the variables; none on fixed atoms."""
        if batch.system.fixed is not None:
            atoms = atoms.masked_fill(batch.system.fixed[:, None], 0)
        if self.cell is None:
            return atoms
        rows, system = batch.rows, batch.system
        gradient = deformation(batch.x, rows, system)
        on_cell = self.cell.forces(virial, system.volume(), logarithm(batch.x, rows, system))
        on_atoms = torch.einsum("ai,aij->aj", atoms, gradient[system.batch])
        return rows.pack(on_atoms, on_cell / system.counts[:, None, None])

    def _status(self, batch: Batch, sound: Bool[Tensor, " systems"]) -> Int[Tensor, " systems"]:
        status = torch.where(batch.steps >= self.max_steps, Status.NOT_CONVERGED, Status.RUNNING)
        status = status.masked_fill(batch.record.largest < self.fmax, Status.CONVERGED)
        status = status.masked_fill(~sound, Status.EXPLODED)
        return status.masked_fill(~sound & (batch.steps == 0), Status.REFUSED)

    def _stepped(self, batch: Batch, forces: Float[Tensor, "rows 3"]) -> Batch:
        """One step of every system; one whose step fails stays where it was."""
        memory, x = self.optimiser.step(batch.memory, batch.rows, batch.x, forces)
        next_batch = moved(batch, x)
        good = usable(next_batch.system, x, batch.rows, batch.first_cell)
        if not bool(good.all()):
            next_batch = moved(batch, torch.where(batch.rows.spread(good), x, batch.x))
        return replace(next_batch, memory=memory, steps=batch.steps + 1, failed=~good)


def require_sense(potential: Potential, fmax: float, max_steps: int, cell: CellFilter | None) -> None:
    """Check the settings of a relaxation.

    Raises:
        SimkitError: ``fmax`` or ``max_steps`` is not positive, or a cell filter for a potential without virial.
    """
    if not 0 < fmax < math.inf:
        raise SimkitError(f"expected a positive fmax in eV/Å, found {fmax}")
    if max_steps < 1:
        raise SimkitError(f"expected max_steps of at least 1, found {max_steps}")
    if cell is not None and not potential.capabilities.conservative:
        raise SimkitError(
            f"this {potential.kind} potential predicts forces directly and has no stress: relax without the cell"
        )
