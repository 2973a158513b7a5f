"""Systems moved to the minimum of their energy before a property is computed there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from simkit.errors import SimkitError
from simkit.potential import Potential
from simkit.relaxation.cell import CellFilter
from simkit.relaxation.lbfgs import Lbfgs
from simkit.relaxation.optimiser import Optimiser
from simkit.relaxation.outcome import Status
from simkit.relaxation.relax import relax
from simkit.system import System

LBFGS = Lbfgs()


def minima(
    potential: Potential,
    systems: Sequence[System],
    *,
    fmax: float = 1e-4,
    max_steps: int = 1000,
    cell: CellFilter | None = None,
    optimiser: Optimiser[Any] = LBFGS,
) -> list[System]:
    """Relax systems together, all of them to convergence.

    Args:
        potential: any conservative potential.
        systems: of one system each.
        fmax: largest force at the end, in eV/Å.
        max_steps: of each system.
        cell: what of the cell to relax too; nothing by default.
        optimiser: L-BFGS by default; FIRE is the one that a cell far from its minimum does not lead astray.

    Raises:
        SimkitError: a system that did not converge, with its largest force and what to do.
    """
    moved = [system.to(potential.device, potential.dtype) for system in systems]
    outcomes = relax(potential, moved, optimiser=optimiser, fmax=fmax, max_steps=max_steps, cell=cell)
    for outcome in outcomes:
        if outcome.status is not Status.CONVERGED:
            raise SimkitError(
                f"system {outcome.index} of {len(systems)} did not reach its minimum: {outcome.status.label} after "
                f"{outcome.steps} steps, with a largest force of {outcome.fmax:.3g} eV/Å where {fmax:g} was asked for; "
                f"{outcome.remedy}"
            )
    return [outcome.system for outcome in outcomes]
