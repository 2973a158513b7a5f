"""Relax systems to the nearest minimum of a potential's energy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from simkit.potential import Potential
from simkit.progress import Progress, Silent
from simkit.relaxation.cell import CellFilter
from simkit.relaxation.in_flight import InFlight, Round
from simkit.relaxation.lbfgs import Lbfgs
from simkit.relaxation.memory import Budget
from simkit.relaxation.optimiser import Optimiser
from simkit.relaxation.outcome import Outcome
from simkit.system import System


def relax(
    potential: Potential,
    systems: System | Sequence[System],
    *,
    optimiser: Optimiser[Any] | None = None,
    fmax: float = 0.01,
    max_steps: int = 500,
    cell: CellFilter | None = None,
    budget: Budget | None = None,
    progress: Progress | None = None,
) -> list[Outcome]:
    """Relax systems together: those that are done leave the batch, and waiting ones enter.

    Atoms that are fixed stay where they are (in fractional coordinates, if the cell changes). A system that cannot be
    relaxed, or explodes on the way, does not stop the others. Its result does not depend on theirs.

    Args:
        potential: any potential or wrapper, on any device.
        systems: one or many, of any sizes.
        optimiser: :class:`Lbfgs` by default, or :class:`Fire`.
        fmax: largest force at the end on any atom, and row of the cell, in eV/Å.
        max_steps: of each system.
        cell: relax the cells too; for systems that are periodic along all axes.
        budget: limits of the batch; by default those that half of the free memory allows, as measured.
        progress: where progress is shown.

    Returns:
        An outcome for each system, in the order of the input.

    Raises:
        SimkitError: ``fmax`` or ``max_steps`` is not positive, or a cell filter for a potential without virial.
    """
    ones = systems.split() if isinstance(systems, System) else list(systems)
    run = InFlight(
        potential, ones, optimiser or Lbfgs(), fmax=fmax, max_steps=max_steps, cell=cell, budget=budget
    )  # fmt: skip
    outcomes: list[Outcome] = []
    converged = 0
    with (progress or Silent()).task("relax", len(ones)) as task:
        while run.working:
            found = run.advance()
            outcomes += found.outcomes
            converged += found.converged
            task.advance(len(found.outcomes), note(found, converged))
    return sorted(outcomes, key=lambda outcome: outcome.index)


def note(found: Round, converged: int) -> str:
    """A line about how far it is: converged systems so far, and the largest force of those in the batch."""
    text = f"{converged} converged"
    if found.batch is None:
        return text
    largest = float(found.batch.record.largest.nan_to_num().amax())
    return f"{text}, {found.batch.system.n_systems} in the batch, largest force {largest:.3f} eV/Å"
