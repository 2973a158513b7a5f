"""Relax systems to the nearest minimum of a potential's energy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from simkit.errors import SimkitError
from simkit.potential import Potential
from simkit.relaxation.cell import CellFilter
from simkit.relaxation.in_flight import InFlight
from simkit.relaxation.lbfgs import Lbfgs
from simkit.relaxation.memory import Budget
from simkit.relaxation.optimiser import Optimiser
from simkit.relaxation.outcome import Outcome
from simkit.system import System


def relax(
    potential: Potential,
    systems: System | Sequence[System],
    *,
    optimiser: Optimiser[Any] = Lbfgs(),
    fmax: float = 0.01,
    max_steps: int = 500,
    cell: CellFilter | None = None,
    budget: Budget | None = None,
    skin: float = 0.5,
) -> list[Outcome]:
    run = InFlight(
        potential,
        systems.split() if isinstance(systems, System) else systems,
        optimiser,
        fmax=fmax,
        max_steps=max_steps,
        cell=cell,
        budget=budget or Budget(),
        skin=skin,
    )
    outcomes = []
    while run.working:
        outcomes += run.advance().outcomes
    return sorted(outcomes, key=lambda outcome: outcome.index)
