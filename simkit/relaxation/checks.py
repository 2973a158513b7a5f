"""Geometries that no potential should see."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from simkit.errors import SimkitError
from simkit.graph import make_graph
from simkit.neighbours import Neighbours
from simkit.potential import Potential, require_elements
from simkit.relaxation.rows import Rows
from simkit.system import System

MINIMUM_DISTANCE = 0.1
"""In Å; atoms closer than this are on top of one another."""

MINIMUM_VOLUME = 0.5
"""Of a periodic cell per atom, in Å³; the densest solids have 2, and lists of pairs of denser ones fill the memory."""

MAXIMUM_STRETCH = 4.0
"""Factor by which a cell may grow or shrink along any direction."""


def refusal(potential: Potential, system: System, with_cell: bool) -> str | None:
    """Why one system cannot be relaxed, and what to do; None if it can be tried."""
    if system.n_atoms == 0:
        return "expected at least one atom, found none"
    if not bool(torch.isfinite(system.positions).all() and torch.isfinite(system.cell).all()):
        return "expected finite positions and a finite cell, found NaN or infinity"
    if with_cell and not bool(system.pbc.all()):
        return "it is not periodic along all axes: leave out relax_cell, or set its pbc and cell"
    if bool(_dense(system).any()):
        return (
            f"expected a cell of at least {MINIMUM_VOLUME} Å³ per atom, found {float(system.volume()[0]):.3g} Å³ for "
            f"{system.n_atoms} atoms: check the cell and its unit (Å)"
        )
    try:
        require_elements(potential, system)
    except SimkitError as error:
        return str(error)
    return None


def _dense(system: System) -> Bool[Tensor, " systems"]:
    return system.volume() < MINIMUM_VOLUME * system.counts


def usable(system: System, x: Float[Tensor, "rows 3"], rows: Rows, first_cell: Tensor) -> Bool[Tensor, " systems"]:
    """Whether variables are finite and the cells neither torn nor crushed."""
    usable = torch.isfinite(rows.sum(x.sum(1)))
    if rows.cells is None:
        return usable
    cell = torch.where(usable[:, None, None], system.cell, first_cell)
    stretch = torch.linalg.svdvals(torch.linalg.solve(first_cell, cell))
    kept = (stretch < MAXIMUM_STRETCH) & (stretch > 1 / MAXIMUM_STRETCH)
    return usable & kept.all(1) & ~_dense(system)


def shortest_distance(system: System, neighbours: Neighbours) -> Float[Tensor, " systems"]:
    """Distance between the two closest atoms of each system, in Å; infinite if none are neighbours."""
    lengths = make_graph(system, neighbours).vectors.norm(dim=1)
    shortest = lengths.new_full((system.n_systems,), torch.inf)
    return shortest.scatter_reduce(0, system.batch[neighbours.centre], lengths, "amin")
