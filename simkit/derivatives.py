"""The chain rule between the variables of a graph and what people ask for: forces, virial, stress."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from simkit.graph import Graph, make_graph
from simkit.neighbours import Neighbours
from simkit.system import System


class Gradients(NamedTuple):
    """Derivatives of an energy by the variables of a graph, None where it does not depend on them."""

    vectors: Float[Tensor, "edges 3"] | None
    positions: Float[Tensor, "atoms 3"] | None
    cell: Float[Tensor, "systems 3 3"] | None


def graph_of(system: System, neighbours: Neighbours, cutoff: float, attached: bool, differentiated: bool) -> Graph:
    """The graph within a cutoff (Å) whose vectors, positions and cell are independent variables.

    Args:
        system: the atoms.
        neighbours: complete up to the cutoff.
        cutoff: of the potential.
        attached: whether the variables stay attached to positions and cells that require gradients.
        differentiated: whether there will be derivatives by them.
    """
    positions, cell = system.positions, system.cell
    if attached and (positions.requires_grad or cell.requires_grad):
        graph = make_graph(system, neighbours)
    else:
        positions, cell = positions.detach(), cell.detach()
        with torch.no_grad():
            graph = make_graph(system, neighbours, neighbours.known_offsets(system))
    graph = seen_within(graph, neighbours, cutoff)
    if not differentiated:
        return replace(graph, system=replace(system, positions=positions, cell=cell))
    return replace(
        graph,
        vectors=_variable(graph.vectors),
        system=replace(system, positions=_variable(positions), cell=_variable(cell)),
    )


def _variable(values: Tensor) -> Tensor:
    """The same values as a variable to differentiate by, attached to the graph that they have if they have one."""
    return values.view_as(values) if values.requires_grad else values.detach().requires_grad_()


def seen_within(graph: Graph, neighbours: Neighbours, cutoff: float) -> Graph:
    """The graph without longer edges where the neighbours have some; ``torch.compile`` sees all of them."""
    if torch.compiler.is_compiling() or neighbours.cutoff + neighbours.skin <= cutoff:
        return graph
    return graph.within(cutoff)


def gradients_of(energy: Tensor, graph: Graph, create_graph: bool = False) -> Gradients:
    """Derivatives of the sum of energies."""
    if not energy.requires_grad:
        return Gradients(None, None, None)
    variables = (graph.vectors, graph.system.positions, graph.system.cell)
    found: Sequence[Tensor | None] = torch.autograd.grad(
        energy.sum(), variables, create_graph=create_graph, allow_unused=True
    )
    return Gradients(*found)


def forces_from(gradients: Gradients, graph: Graph) -> Float[Tensor, "atoms 3"]:
    """``-∂E/∂x``: a vector pulls its centre forwards and its neighbour backwards."""
    zero = torch.zeros_like(graph.system.positions)
    forces = zero if gradients.positions is None else -gradients.positions
    if gradients.vectors is None:
        return forces
    pulled = forces.index_add(0, graph.centre, gradients.vectors)
    return pulled - zero.index_add(0, graph.neighbour, gradients.vectors)


def virial_from(gradients: Gradients, graph: Graph) -> Float[Tensor, "systems 3 3"]:
    """``-∂E/∂ε``: all lengths, of vectors, positions and lattice vectors, grow by ``1 + ε``."""
    system, by = graph.system, gradients
    gradient = torch.zeros_like(system.cell)
    if by.vectors is not None and system.n_systems == 1:
        gradient = gradient + graph.vectors.mT @ by.vectors
    elif by.vectors is not None:
        products = graph.vectors[:, :, None] * by.vectors[:, None, :]
        gradient = gradient.index_add(0, system.batch.index_select(0, graph.centre), products)
    if by.positions is not None:
        gradient = gradient.index_add(0, system.batch, system.positions[:, :, None] * by.positions[:, None, :])
    if by.cell is not None:
        gradient = gradient + system.cell.mT @ by.cell
    return -0.5 * (gradient + gradient.mT)


def stress_from(virial: Float[Tensor, "systems 3 3"], system: System) -> Float[Tensor, "systems 3 3"]:
    """NaN where the volume is not defined, without NaN in the derivatives of the other systems' stresses."""
    volume = system.volume()[:, None, None]
    defined = torch.isfinite(volume)
    return torch.where(defined, -virial / torch.where(defined, volume, 1), torch.nan)
