"""Lists with a skin, that are searched again only where atoms have moved too far."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from simkit.errors import SimkitError
from simkit.neighbours.lattice import completed_lattice, inverse
from simkit.neighbours.pairs import Neighbours, concatenate_neighbours, select_neighbours
from simkit.neighbours.search import build_neighbours
from simkit.system import System, concatenate


@dataclass(frozen=True)
class _Memory:
    """Pairs, and the atoms of each system as they were when its pairs were searched."""

    system: System
    neighbours: Neighbours

    def select(self, kept: Int[Tensor, " kept"]) -> _Memory:
        """What is known of some of the systems."""
        return _Memory(self.system.select(kept), select_neighbours(self.neighbours, self.system.counts, kept))

    def joined(self, other: _Memory) -> _Memory:
        """What is known of these systems and of others, that follow them."""
        atoms = [self.system.n_atoms, other.system.n_atoms]
        return _Memory(
            concatenate([self.system, other.system]),
            concatenate_neighbours([self.neighbours, other.neighbours], atoms),
        )


class NeighbourList:
    """Pairs with a skin, searched again only for systems in which one could have come within the cutoff unnoticed.

    Let the cell of a system change by the linear map F and each atom move by δ beyond it and beyond the mean motion. A
    pair outside ``cutoff + skin`` is then still farther apart than ``σ_min(F)·(cutoff + skin) - 2·max|δ|``; the pairs
    of a system are kept while that is at least the cutoff. Systems that fail are searched together, and with them those
    that have used up most of their skin, as they would follow soon. The order of pairs is that of
    :func:`build_neighbours` always. A step without a search costs a few operations on the positions if the cells are
    as they were.

    Systems are known by their place in the batch: one with other atoms or another periodicity than its predecessor in
    the same place is searched, and so are those appended to the batch. When systems leave a batch, :meth:`select` those
    that stay; nothing but the new ones is then searched::

        neighbours.select(kept)
        batch = concatenate([batch.select(kept), new])
        pairs = neighbours.update(batch)

    Args:
        cutoff: distance in Å up to which the pairs are complete.
        skin: extra distance in Å; a thicker skin means fewer searches, but more pairs.
    """

    def __init__(self, cutoff: float, skin: float = 0.5) -> None:
        if not 0 <= skin < math.inf:
            raise SimkitError(f"expected a skin of at least 0 Å, found {skin}")
        self.cutoff = cutoff
        self.skin = skin
        self.builds = 0
        self.searched = 0
        self._memory: _Memory | None = None

    def update(self, system: System) -> Neighbours:
        """The pairs of ``system``, from memory where that is safe.

        ``builds`` counts the calls that had to search, ``searched`` the systems that were searched in them.
        """
        memory = self._memory
        if memory is None or memory.system.device != system.device or memory.system.dtype != system.dtype:
            memory = self._search(system)
        elif not (_same_atoms(memory.system, system) and _all_near(memory.system, system, self.skin)):
            memory = self._refreshed(memory, system)
        self._memory = memory
        return memory.neighbours

    def select(self, kept: Int[Tensor, " kept"]) -> None:
        """Forget all systems but those with the indices ``kept``, which take places 0, 1, 2, ... in that order."""
        if self._memory is not None:
            self._memory = self._memory.select(kept)

    def _search(self, system: System) -> _Memory:
        self.builds += 1
        self.searched += system.n_systems
        positions, cell = system.positions.detach().clone(), system.cell.detach().clone()
        seen = System(positions, system.numbers, cell, system.pbc, system.batch)
        return _Memory(seen, build_neighbours(seen, self.cutoff, self.skin))

    def _refreshed(self, memory: _Memory, system: System) -> _Memory:
        """The memory, with what can no longer be used replaced and what is new added."""
        places = _same_places(memory.system, system)
        spare = system.positions.new_full((system.n_systems,), -math.inf, dtype=torch.float64)
        spare[places] = _spare(memory.system.select(places), system.select(places), self.cutoff, self.skin)
        if bool((spare >= 0).all()):
            same = system.n_systems == memory.system.n_systems
            return memory if same else memory.select(torch.arange(system.n_systems, device=system.device))
        fresh = torch.nonzero(spare < LUMPED * self.skin)[:, 0]
        if fresh.shape[0] == system.n_systems:
            return self._search(system)
        source = torch.arange(system.n_systems, device=system.device)
        source[fresh] = memory.system.n_systems + torch.arange(fresh.shape[0], device=system.device)
        joined = memory.joined(self._search(system.select(fresh))).select(source)
        known = replace(joined.system, numbers=system.numbers, pbc=system.pbc, batch=system.batch)
        return replace(joined, system=known)


LUMPED = 0.25
"""Systems with less than this share of their skin left are searched when another one must be."""


def _same_atoms(old: System, new: System) -> bool:
    names = ("batch", "numbers", "pbc")
    pairs = [(getattr(old, name), getattr(new, name)) for name in names]
    return all(a is b or torch.equal(a, b) for a, b in pairs)


def _all_near(old: System, new: System, skin: float) -> bool:
    """Whether cells are as they were and no atom has moved by more than half the skin: cheap, and sufficient."""
    if not torch.equal(old.cell, new.cell):
        return False
    moved = (new.positions.detach() - old.positions).square().sum(1)
    return moved.shape[0] == 0 or bool(moved.amax() <= (skin / 2) ** 2)


def _same_places(old: System, new: System) -> Int[Tensor, " places"]:
    """Indices of the systems that have the same atoms and periodicity in both batches."""
    shared = min(old.n_systems, new.n_systems)
    same = (old.counts[:shared] == new.counts[:shared]) & (old.pbc[:shared] == new.pbc[:shared]).all(1)
    places = torch.nonzero(same)[:, 0]
    one, other = old.select(places), new.select(places)
    differ = torch.zeros(len(places), dtype=torch.int64, device=new.device)
    differ = differ.index_add(0, other.batch, (one.numbers != other.numbers).long())
    return places[differ == 0]


def _spare(old: System, new: System, cutoff: float, skin: float) -> Float[Tensor, " systems"]:
    """Length in Å by which every pair beyond ``cutoff + skin`` in ``old`` is beyond ``cutoff`` in ``new``, at least."""
    before, after = completed_lattice(old), completed_lattice(new)
    deformation = inverse(before) @ after  # cell_new = cell_old @ F
    stretch = torch.linalg.svdvals(deformation.nan_to_num()).amin(1)
    carried = (old.positions[:, None].double() @ deformation[old.batch])[:, 0]
    moved = new.positions.detach() - carried
    # a common translation of a whole system changes no distance
    mean = moved.new_zeros(old.n_systems, 3).index_add(0, old.batch, moved) / old.counts.clamp(min=1)[:, None]
    displacement = (moved - mean[old.batch]).norm(dim=1)
    largest = displacement.new_zeros(old.n_systems).scatter_reduce(0, old.batch, displacement, "amax")
    return (stretch * (cutoff + skin) - 2 * largest - cutoff).nan_to_num(-math.inf)
