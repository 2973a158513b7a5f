"""The search for pairs, by the method that is fastest for each system."""

from __future__ import annotations

from dataclasses import replace

import torch

from simkit.neighbours.all_pairs import search_all_pairs
from simkit.neighbours.cell_lists import search_cell_lists
from simkit.neighbours.pairs import Neighbours, concatenate_neighbours, select_neighbours
from simkit.system import System

SMALL = {"cpu": 64, "cuda": 4000}
"""Systems of at most so many atoms are searched by all pairs on the device, larger ones by cell lists on the CPU."""


def build_neighbours(system: System, cutoff: float, skin: float = 0.0) -> Neighbours:
    """Find all pairs closer than ``cutoff + skin`` (Å) in every system of a batch.

    Small systems are searched together, on their device, among all pairs of atoms of each; large ones by cell lists on
    the CPU, with a cost that is linear in the number of atoms. The order of pairs depends on the indices alone, not on
    the search, so sums over neighbours are reproducible. Atoms at NaN or infinity, as in a run that has blown up, have
    no neighbours.
    """
    reach = float(cutoff) + float(skin)
    large = system.counts > SMALL.get(system.device.type, SMALL["cpu"])
    if not bool(large.any()):
        found = search_all_pairs(system, reach)
    elif bool(large.all()):
        found = search_cell_lists(system, reach)
    else:
        found = _search_both(system, reach, torch.nonzero(~large)[:, 0], torch.nonzero(large)[:, 0])
    return replace(found, cutoff=float(cutoff), skin=float(skin))


def _search_both(system: System, reach: float, small: torch.Tensor, large: torch.Tensor) -> Neighbours:
    parts = system.select(small), system.select(large)
    found = search_all_pairs(parts[0], reach), search_cell_lists(parts[1], reach)
    joined = concatenate_neighbours(found, [part.n_atoms for part in parts])
    order = torch.cat([small, large])
    return select_neighbours(joined, system.counts[order], order.argsort())
