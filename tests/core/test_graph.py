"""Graph: vectors, cutting, and torch's own machinery for containers."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from simkit.graph import Graph, make_graph
from simkit.neighbours import build_neighbours
from simkit.potentials.lennard_jones import LennardJones
from simkit.system import concatenate
from tests.conformance import systems


def argon() -> LennardJones:
    return LennardJones(0.0104, 3.4, 8.0)


def test_vectors_point_from_centre_to_neighbour() -> None:
    system = systems.make_system(torch.tensor([[0.0, 0, 0], [1.0, 2, 3]]), [18])
    graph = make_graph(system, build_neighbours(system, 5.0))
    assert graph.centre.tolist() == [0, 1]
    assert graph.neighbour.tolist() == [1, 0]
    assert graph.vectors.tolist() == [[1, 2, 3], [-1, -2, -3]]


def test_distances_of_a_cubic_lattice() -> None:
    """6, 12, 8 and 6 images at 1, √2, √3 and 2 lattice constants."""
    system = systems.make_system(torch.zeros(1, 3), [84], 3.0 * torch.eye(3), (True, True, True))
    lengths = make_graph(system, build_neighbours(system, 6.1)).vectors.norm(dim=1) / 3.0
    shells = {number: int((lengths - number**0.5).abs().lt(1e-12).sum()) for number in (1, 2, 3, 4)}
    assert shells == {1: 6, 2: 12, 3: 8, 4: 6}


def test_batch_has_the_vectors_of_its_systems() -> None:
    parts = [systems.crystal([18], 3.5), systems.slab([18], 3.5), systems.molecule([18], 3.5)]
    joint = concatenate(parts)
    expected = torch.cat([make_graph(part, build_neighbours(part, 5.0)).vectors for part in parts])
    torch.testing.assert_close(make_graph(joint, build_neighbours(joint, 5.0)).vectors, expected, rtol=0, atol=1e-12)


def test_vectors_are_differentiable_in_positions_and_cell() -> None:
    system = systems.crystal([18], 3.5)
    neighbours = build_neighbours(system, 6.0)
    positions, cell = system.positions.clone().requires_grad_(), system.cell.clone().requires_grad_()
    vectors = make_graph(replace(system, positions=positions, cell=cell), neighbours).vectors
    by_positions, by_cell = torch.autograd.grad(vectors[:, 0].sum(), (positions, cell))
    ends = torch.bincount(neighbours.neighbour, minlength=4) - torch.bincount(neighbours.centre, minlength=4)
    torch.testing.assert_close(by_positions[:, 0], ends.double())
    torch.testing.assert_close(by_cell[0, :, 0], neighbours.shift.sum(0))
    edge = int(neighbours.shift.abs().sum(1).argmax())
    (one,) = torch.autograd.grad(make_graph(replace(system, cell=cell), neighbours).vectors[edge, 1], cell)
    torch.testing.assert_close(one[0, :, 1], neighbours.shift[edge])


def test_within_keeps_shorter_edges_only() -> None:
    system = systems.make_system(torch.tensor([[0.0, 0, 0], [2.0, 0, 0], [5.0, 0, 0]]), [18])
    graph = make_graph(system, build_neighbours(system, 6.0))
    assert graph.within(6.0) is graph
    assert pairs(graph) == [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)]
    assert pairs(graph.within(3.5)) == [(0, 1), (1, 0), (1, 2), (2, 1)]
    assert pairs(graph.within(3.0)) == [(0, 1), (1, 0)]  # an edge as long as the cutoff is not shorter
    assert graph.within(3.0).vectors.tolist() == [[2, 0, 0], [-2, 0, 0]]
    assert pairs(graph.within(1.0)) == []


def pairs(graph: Graph) -> list[tuple[int, int]]:
    return list(zip(graph.centre.tolist(), graph.neighbour.tolist(), strict=True))


def test_graph_is_a_pytree_of_tensors() -> None:
    system = systems.crystal([18], 3.5)
    graph = make_graph(system, build_neighbours(system, 6.0))
    leaves, spec = torch.utils._pytree.tree_flatten(graph)
    assert len([leaf for leaf in leaves if leaf is not None]) == 8
    assert isinstance(torch.utils._pytree.tree_unflatten(leaves, spec), Graph)


def test_vmap_over_a_stacked_graph() -> None:
    """One graph for several sets of vectors, in the shape that ``vmap`` wants."""
    system = systems.molecule([18], 3.6)
    graph = make_graph(system, build_neighbours(system, 8.0))
    scales = torch.tensor([1.0, 1.05, 1.1])
    model = argon()
    found = torch.func.vmap(lambda s: model(replace(graph, vectors=s * graph.vectors)).energies)(scales)
    expected = torch.stack([model(replace(graph, vectors=s * graph.vectors)).energies for s in scales])
    torch.testing.assert_close(found, expected)


@pytest.mark.compiled
def test_export() -> None:
    """``torch.export`` takes a graph, with numbers of atoms and edges that may change."""
    model = argon()
    graphs = [
        make_graph(s, build_neighbours(s, 8.0)) for s in (systems.crystal([18], 3.6), systems.molecule([18], 3.6))
    ]
    auto = torch.export.Dim.AUTO
    sizes = torch.export.ShapesCollection()
    for tensor in (graphs[0].centre, graphs[0].neighbour, graphs[0].vectors):
        sizes[tensor] = {0: auto}
    for tensor in (graphs[0].system.positions, graphs[0].system.numbers, graphs[0].system.batch):
        sizes[tensor] = {0: auto}
    program = torch.export.export(model, (graphs[0],), dynamic_shapes=sizes)
    for graph in graphs:
        torch.testing.assert_close(program.module()(graph).energies, model(graph).energies)
