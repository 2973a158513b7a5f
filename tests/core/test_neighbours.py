"""Neighbours against a brute-force search, and the skin under random changes."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from ase import Atoms
from torch import Tensor

from simkit.errors import SimkitError
from simkit.graph import make_graph
from simkit.neighbours import (
    NeighbourList,
    Neighbours,
    all_pairs,
    build_neighbours,
    concatenate_neighbours,
    select_neighbours,
)
from simkit.neighbours.all_pairs import search_all_pairs
from simkit.neighbours.cell_lists import search_cell_lists
from simkit.system import System, concatenate
from tests.conformance.systems import TRICLINIC, make_system, rotation

ORTHORHOMBIC = torch.diag(torch.tensor([3.0, 4.0, 5.0]))
SKEWED = torch.tensor([[3.0, 0.0, 0.0], [2.9, 3.0, 0.0], [-1.4, 1.4, 3.5]])
ZERO_ROW = torch.tensor([[3.0, 0.0, 0.0], [1.0, 4.0, 0.0], [0.0, 0.0, 0.0]])


def brute_force(system: System, cutoff: float) -> set[tuple[int, ...]]:
    """All (centre, neighbour, n1, n2, n3) closer than the cutoff, by trying every image."""
    found = set()
    for index in range(system.n_systems):
        atoms = torch.nonzero(system.batch == index)[:, 0].tolist()
        lattice = system.lattice[index]
        span = max((float(x.norm()) for x in system.positions[atoms]), default=0.0)
        reach = [_images(lattice, axis, cutoff + 2 * span) if system.pbc[index, axis] else 0 for axis in range(3)]
        images = list(itertools.product(*[range(-n, n + 1) for n in reach]))
        shifts = torch.tensor(images, dtype=torch.float64) @ lattice
        for i, j in itertools.product(atoms, atoms):
            distances = (system.positions[j] - system.positions[i] + shifts).norm(dim=1)
            near = torch.nonzero(distances < cutoff)[:, 0].tolist()
            found |= {(i, j, *images[k]) for k in near if i != j or any(images[k])}
    return found


def _images(lattice: Tensor, axis: int, reach: float) -> int:
    """Images along an axis that a sphere can reach, from the distance between lattice planes."""
    others = [lattice[k] for k in range(3) if k != axis and bool(lattice[k].any())]
    perpendicular = lattice[axis].clone()
    for direction in torch.linalg.qr(torch.stack(others).T)[0].T if others else []:
        perpendicular -= (perpendicular @ direction) * direction
    return int(reach / float(perpendicular.norm())) + 1


def as_set(neighbours: Neighbours) -> set[tuple[int, ...]]:
    columns = torch.cat([neighbours.centre[:, None], neighbours.neighbour[:, None], neighbours.shift.long()], 1)
    rows = [tuple(row) for row in columns.tolist()]
    assert len(set(rows)) == len(rows)
    return set(rows)


def random_system(cell: Tensor, pbc: tuple[bool, ...], count: int = 4, spread: float = 1.0) -> System:
    box = torch.where(cell.any(1)[:, None], cell, 4 * torch.eye(3))
    return make_system((spread * torch.rand(count, 3)) @ box, [6], cell, pbc)


@pytest.mark.parametrize("cutoff", [1.2, 3.7, 6.5])
@pytest.mark.parametrize("cell", [ORTHORHOMBIC, SKEWED, 2 * TRICLINIC], ids=["orthorhombic", "skewed", "triclinic"])
@pytest.mark.parametrize("pbc", list(itertools.product([False, True], repeat=3)), ids=str)
def test_brute_force(cell: Tensor, pbc: tuple[bool, ...], cutoff: float) -> None:
    """All combinations of periodic axes, with cutoffs below and well above half the cell."""
    system = random_system(cell, pbc)
    assert as_set(build_neighbours(system, cutoff)) == brute_force(system, cutoff)


@pytest.mark.parametrize("pbc", [(True, True, False), (True, False, False), (False, False, False)], ids=str)
def test_zero_rows(pbc: tuple[bool, ...]) -> None:
    cell = torch.where(torch.tensor(pbc)[:, None], ZERO_ROW, 0)
    system = random_system(cell, pbc)
    assert as_set(build_neighbours(system, 4.2)) == brute_force(system, 4.2)


@pytest.mark.parametrize("pbc", [(True, True, True), (True, True, False)], ids=str)
def test_atoms_outside_the_cell(pbc: tuple[bool, ...]) -> None:
    system = random_system(SKEWED, pbc, spread=4.0)
    system = replace(system, positions=system.positions - 5.0)
    found = build_neighbours(system, 3.3)
    assert as_set(found) == brute_force(system, 3.3)
    assert float(make_graph(system, found).vectors.norm(dim=1).max()) < 3.3


def test_batch_with_different_periodicity_and_an_empty_system() -> None:
    parts = [
        random_system(SKEWED, (True, True, True)),
        make_system(torch.zeros(0, 3), [6]),
        random_system(ZERO_ROW, (True, True, False), 3),
        random_system(torch.zeros(3, 3), (False, False, False), 5),
        make_system(torch.zeros(1, 3), [6], ORTHORHOMBIC, (True, True, True)),
    ]
    system = concatenate(parts)
    found = build_neighbours(system, 4.4)
    assert as_set(found) == brute_force(system, 4.4)
    assert torch.equal(system.batch[found.centre], system.batch[found.neighbour])
    joined = concatenate_neighbours([build_neighbours(p, 4.4) for p in parts], [p.n_atoms for p in parts])
    for name in ("centre", "neighbour", "shift"):
        assert torch.equal(getattr(found, name), getattr(joined, name))
    assert joined.cutoff == 4.4


def test_order_is_by_centre_neighbour_and_shift_whatever_the_search_finds() -> None:
    system = random_system(SKEWED, (True, True, True), 6)
    found = build_neighbours(system, 5.0)
    rows = torch.cat([found.centre[:, None], found.neighbour[:, None], found.shift.long()], 1).tolist()
    assert rows == sorted(rows)
    turned = replace(system, positions=system.positions @ rotation(1, False).T, cell=system.cell @ rotation(1, False).T)
    again = build_neighbours(turned, 5.0)
    assert torch.equal(again.centre, found.centre)
    assert torch.equal(again.neighbour, found.neighbour)
    assert torch.equal(again.shift, found.shift)


def test_every_pair_has_its_reverse() -> None:
    edges = as_set(build_neighbours(random_system(SKEWED, (True, False, True), 5), 4.0))
    assert {(j, i, -a, -b, -c) for i, j, a, b, c in edges} == edges


def test_nothing_to_find() -> None:
    for count in (0, 1):
        found = build_neighbours(make_system(torch.zeros(count, 3), [6]), 3.0)
        assert found.n_edges == 0
        assert found.shift.shape == (0, 3)
        assert found.centre.dtype == torch.int64


def test_types_follow_the_system() -> None:
    system = random_system(ORTHORHOMBIC, (True, True, True)).to(dtype=torch.float32)
    found = build_neighbours(system, 3.0, skin=0.5)
    assert (found.shift.dtype, found.cutoff, found.skin) == (torch.float32, 3.0, 0.5)
    assert found.to(dtype=torch.float64).shift.dtype == torch.float64
    assert as_set(found) == as_set(build_neighbours(system, 3.5))


@pytest.mark.parametrize(
    ("cell", "pbc"),
    [(SKEWED, (True, True, True)), (ZERO_ROW, (True, True, False)), (torch.zeros(3, 3), (False, False, False))],
    ids=["crystal", "slab", "molecule"],
)
def test_skin_never_misses_a_pair(cell: Tensor, pbc: tuple[bool, ...]) -> None:
    """Random walks of the atoms, drift, rotation and strain of the cell."""
    system = concatenate([random_system(cell, pbc, 6), random_system(1.1 * cell, pbc, 4)])
    nlist, cutoff, steps = NeighbourList(3.0, skin=0.8), 3.0, 60
    for step in range(steps):
        found = nlist.update(system)
        needed = as_set(build_neighbours(system, cutoff))
        assert needed <= as_set(found)
        strain = torch.eye(3) + 0.01 * torch.randn(3, 3)
        moved = system.positions @ strain + 0.04 * torch.randn_like(system.positions) + torch.tensor([0.3, 0.0, -0.2])
        system = replace(system, positions=moved, cell=system.cell @ strain)
        if step % 20 == 19:
            turn = rotation(step, False)
            system = replace(system, positions=system.positions @ turn, cell=system.cell @ turn)
    assert 1 < nlist.builds < steps / 2


def test_skin_bound_is_sharp() -> None:
    """Two atoms that approach by less than the skin reuse the list, by more rebuild it."""
    start = make_system(torch.tensor([[0.0, 0.0, 0.0], [3.49, 0.0, 0.0]]), [6])
    for approach, builds in ((0.49, 1), (0.51, 2)):
        nlist = NeighbourList(3.0, skin=0.5)
        nlist.update(start)
        nlist.update(replace(start, positions=start.positions * (1 - approach / 3.49)))
        assert nlist.builds == builds


def test_translation_and_rotation_of_the_whole_reuse_the_list() -> None:
    system = random_system(SKEWED, (True, True, True), 5)
    nlist = NeighbourList(3.0, skin=0.5)
    first = nlist.update(system)
    turn = rotation(3, False)
    turned = replace(system, positions=(system.positions + 7.0) @ turn, cell=system.cell @ turn)
    assert nlist.update(turned) is first
    assert nlist.builds == 1


def test_changes_of_the_kind_of_system_rebuild_the_list() -> None:
    system = random_system(SKEWED, (True, True, True), 5)
    nlist = NeighbourList(3.0, skin=0.5)
    nlist.update(system)
    others = [
        replace(system, numbers=system.numbers + 1),
        replace(system, pbc=torch.tensor([[True, True, False]])),
        system.to(dtype=torch.float32),
        random_system(SKEWED, (True, True, True), 4),
        concatenate([system, system]),
    ]
    for count, other in enumerate(others, start=2):
        assert nlist.update(other).shift.dtype == other.dtype
        assert nlist.builds == count


def test_wrapping_an_atom_rebuilds_the_list() -> None:
    """A wrapped atom moves by a whole lattice vector: old shifts no longer fit."""
    system = random_system(SKEWED, (True, True, True), 5)
    nlist = NeighbourList(3.0, skin=0.5)
    nlist.update(system)
    positions = system.positions.clone()
    positions[0] += SKEWED[0]
    wrapped = replace(system, positions=positions)
    assert as_set(nlist.update(wrapped)) == as_set(build_neighbours(wrapped, 3.5))
    assert nlist.builds == 2


@pytest.mark.parametrize("pbc", [(False, False, False), (True, False, False), (True, True, False)])
@pytest.mark.parametrize("distance", [1e2, 1e6, 1e20])
def test_atoms_that_flew_away_are_no_burden(pbc: tuple[bool, bool, bool], distance: float) -> None:
    cell = [[4.0, 0.0, 0.0], [1.0, 5.0, 0.0], [0.5, 1.0, 9.0]]
    near = np.random.default_rng(1).uniform(0, 4, (6, 3))
    away = np.array([[0.3, 0.2, distance], [0.3, 0.2 + distance * (not pbc[1]), 2.0]])
    alone = build_neighbours(System.from_ase([Atoms("Ar6", near, cell=cell, pbc=pbc)]), 3.0)
    both = build_neighbours(System.from_ase([Atoms("Ar8", np.vstack([near, away]), cell=cell, pbc=pbc)]), 3.0)
    kept = (both.centre < 6) & (both.neighbour < 6)
    assert alone.n_edges > 10
    for name in ("centre", "neighbour", "shift"):
        assert torch.equal(getattr(both, name)[kept], getattr(alone, name))


@pytest.mark.parametrize("skin", [-0.1, float("nan"), float("inf")])
def test_a_skin_that_would_lose_pairs_is_refused(skin: float) -> None:
    with pytest.raises(SimkitError, match="expected a skin of at least 0"):
        NeighbourList(3.0, skin)


@pytest.mark.parametrize("factor", [0.93, 1.0])
def test_skin_covers_the_approach_of_atoms_by_compression(factor: float) -> None:
    """No atom moves within the cell, but pairs come within the cutoff that were beyond the skin."""
    system = random_system(ORTHORHOMBIC, (True, True, True), 12)
    neighbours = NeighbourList(4.0, skin=0.2)
    neighbours.update(system)
    smaller = replace(system, positions=factor * system.positions, cell=factor * system.cell)
    graph = make_graph(smaller, neighbours.update(smaller)).within(4.0)
    assert graph.centre.shape[0] == build_neighbours(smaller, 4.0).n_edges
    assert neighbours.builds == (1 if factor == 1.0 else 2)


def assert_same(found: Neighbours, expected: Neighbours) -> None:
    for name in ("centre", "neighbour", "shift"):
        assert torch.equal(getattr(found, name), getattr(expected, name))


@pytest.mark.parametrize("cell", [ORTHORHOMBIC, SKEWED, 2 * TRICLINIC], ids=["orthorhombic", "skewed", "triclinic"])
def test_both_searches_find_the_same_pairs_in_the_same_order(cell: Tensor) -> None:
    """In a batch of all combinations of periodic axes, cells of other sizes, one atom, none, and atoms far outside."""
    combinations = itertools.product([False, True], repeat=3)
    parts = [random_system((1 + 0.3 * n) * cell, pbc, n % 5, spread=3.0) for n, pbc in enumerate(combinations)]
    system = concatenate([*parts, random_system(3 * cell, (True, True, True), 80)])
    for cutoff in (1.5, 4.6, 7.3):
        assert_same(search_all_pairs(system, cutoff), search_cell_lists(system, cutoff))
        assert_same(build_neighbours(system, cutoff), search_cell_lists(system, cutoff))


@pytest.mark.parametrize("candidates", [1, 50])
def test_search_in_small_portions(candidates: int, monkeypatch: pytest.MonkeyPatch) -> None:
    system = concatenate([random_system(SKEWED, (True, True, True), 7), random_system(SKEWED, (False,) * 3, 9)])
    expected = build_neighbours(system, 4.0)
    monkeypatch.setitem(all_pairs.CHUNK, "cpu", candidates)
    assert_same(build_neighbours(system, 4.0), expected)


def test_shifts_too_long_to_be_packed_for_sorting() -> None:
    """Atoms 10⁷ cells away, where a pair and its shift do not fit into one whole number."""
    system = random_system(ORTHORHOMBIC, (True, True, True), 5)
    away = torch.tensor([1e7, -1e7, 1e7]) * torch.arange(5)[:, None] * ORTHORHOMBIC.diagonal()
    found = search_cell_lists(replace(system, positions=system.positions + away), 4.0)
    expected = search_cell_lists(system, 4.0)
    assert_same(replace(found, shift=found.shift * 0), replace(expected, shift=expected.shift * 0))
    assert_same(found, search_all_pairs(replace(system, positions=system.positions + away), 4.0))


@pytest.mark.parametrize("search", [search_all_pairs, search_cell_lists])
@pytest.mark.parametrize("where", [float("nan"), float("inf")])
@pytest.mark.parametrize("pbc", [(True, True, True), (False, False, True), (False, False, False)], ids=str)
def test_atoms_nowhere_have_no_neighbours_and_disturb_nobody(search, where: float, pbc: tuple[bool, ...]) -> None:
    system = concatenate([random_system(SKEWED, pbc, 5), random_system(SKEWED, pbc, 6)])
    expected = search(system, 4.0)
    positions = system.positions.clone()
    positions[2, 1] = where
    found = search(replace(system, positions=positions), 4.0)
    others = (expected.centre != 2) & (expected.neighbour != 2)
    kept = {name: getattr(expected, name)[others] for name in ("centre", "neighbour", "shift")}
    assert_same(found, replace(expected, **kept))
    cells = system.cell.clone()
    cells[1, 0, 0] = where
    if pbc[0]:
        found = search(replace(system, cell=cells), 4.0)
        assert int(found.centre.max()) < 5


def test_offsets_follow_the_cell() -> None:
    system = concatenate(
        [random_system(SKEWED, (True, True, True), 3), random_system(ZERO_ROW, (True, True, False), 4)]
    )
    found = build_neighbours(system, 5.0)
    expected = torch.einsum("ei,eij->ej", found.shift, system.lattice[system.batch[found.centre]])
    torch.testing.assert_close(found.offsets(system), expected)
    assert found.known_offsets(system) is found.known_offsets(system)
    torch.testing.assert_close(found.known_offsets(system), expected)
    torch.testing.assert_close(found.known_offsets(replace(system, cell=2 * system.cell)), 2 * expected)


def batch_of_five() -> System:
    pbc = [(True, True, True), (True, True, False), (False, False, False), (True, True, True), (True, False, False)]
    return concatenate([random_system(SKEWED, axes, 3 + n) for n, axes in enumerate(pbc)])


def pushed(system: System, index: int, length: float) -> System:
    """One atom of one system moved along x."""
    positions = system.positions.clone()
    positions[int(torch.nonzero(system.batch == index)[0]), 0] += length
    return replace(system, positions=positions)


def test_selected_systems_have_the_pairs_of_a_search_among_them_alone() -> None:
    system = batch_of_five()
    kept = torch.tensor([4, 1, 2])
    chosen = system.select(kept)
    expected = concatenate([system.split()[k] for k in kept.tolist()])
    for name in ("positions", "numbers", "cell", "pbc", "batch"):
        assert torch.equal(getattr(chosen, name), getattr(expected, name))
    found = select_neighbours(build_neighbours(system, 4.0), system.counts, kept)
    assert_same(found, build_neighbours(chosen, 4.0))


def test_only_systems_that_have_moved_are_searched() -> None:
    start = batch_of_five()
    nlist = NeighbourList(3.5, skin=0.6)
    first = nlist.update(start)
    little = pushed(start, 3, 0.2)
    assert nlist.update(little) is first
    moved = pushed(pushed(little, 1, 1.5), 4, -1.5)
    found = nlist.update(moved)
    assert (nlist.builds, nlist.searched) == (2, 5 + 2)
    searched = torch.tensor([False, True, False, False, True])
    full = build_neighbours(moved, 3.5, 0.6)
    before = build_neighbours(start, 3.5, 0.6)
    for index in range(5):
        one = torch.tensor([index])
        expected = full if searched[index] else before
        counts = moved.counts
        assert_same(select_neighbours(found, counts, one), select_neighbours(expected, counts, one))
    assert nlist.update(moved) is found
    again = nlist.update(pushed(moved, 3, 0.1))  # its movements since its own search count, not since the last one
    assert nlist.searched == 7
    assert again is found
    nlist.update(pushed(moved, 3, 0.6))
    assert nlist.searched > 7


def test_systems_that_will_soon_fail_are_searched_with_those_that_fail() -> None:
    start = batch_of_five()
    nlist = NeighbourList(3.5, skin=1.0)
    nlist.update(start)
    nlist.update(pushed(pushed(start, 1, 3.0), 3, 0.58))
    assert (nlist.builds, nlist.searched) == (2, 7)


def test_systems_leave_and_enter_a_batch() -> None:
    """In-flight batching: what stays is not searched again, even if it has moved a little."""
    batch = batch_of_five()
    nlist = NeighbourList(3.5, skin=0.6)
    nlist.update(batch)
    kept = torch.tensor([1, 2, 4])
    nlist.select(kept)
    entering = [random_system(SKEWED, (True, True, True), n) for n in (2, 8)]
    batch = concatenate([pushed(batch, 2, 0.1).select(kept), *entering])
    found = nlist.update(batch)
    assert nlist.searched == 5 + 2
    assert as_set(build_neighbours(batch, 3.5)) <= as_set(found)
    assert bool((found.centre.diff() >= 0).all())
    fewer = batch.select(torch.tensor([0, 1, 2]))
    assert_same(nlist.update(fewer), select_neighbours(found, batch.counts, torch.tensor([0, 1, 2])))
    assert nlist.searched == 7
    other = concatenate([fewer.split()[0], random_system(SKEWED, (True, True, True), 9), fewer.split()[2]])
    assert as_set(build_neighbours(other, 3.5)) <= as_set(nlist.update(other))
    assert nlist.searched == 8


def test_a_system_that_blew_up_leaves_the_others_their_pairs() -> None:
    start = batch_of_five()
    nlist = NeighbourList(3.5, skin=0.6)
    nlist.update(start)
    found = nlist.update(pushed(start, 1, float("nan")))
    assert nlist.searched == 6
    others = torch.tensor([0, 2, 3, 4])
    whole = build_neighbours(start, 3.5, 0.6)
    assert_same(select_neighbours(found, start.counts, others), select_neighbours(whole, start.counts, others))
