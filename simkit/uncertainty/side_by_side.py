"""Potentials of one architecture evaluated together, under one ``vmap`` over their parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import functional_call

from simkit.errors import SimkitError
from simkit.evaluation import Prediction, evaluate
from simkit.graph import Graph
from simkit.neighbours import Neighbours, build_neighbours
from simkit.neighbours.pairs import concatenate_neighbours
from simkit.potential import AtomicOutput, Potential
from simkit.system import System, concatenate

Parameters = Mapping[str, Tensor]
"""Parameters of M potentials by their names, along a first axis."""


class SideBySide(Potential):
    """M copies of a batch of systems, each seen by a potential of its own.

    One backward pass from the sum of all energies gives the forces by every potential, because no copy depends on
    another.

    Args:
        skeleton: the architecture.
        parameters: of the M potentials.
        system: the batch; the graphs are of M copies of it, one after the other.
    """

    kind: ClassVar[str] = "side-by-side"

    def __init__(self, skeleton: Potential, parameters: Parameters, system: System) -> None:
        super().__init__(skeleton.capabilities)
        self.skeleton = skeleton
        self.values = parameters
        self.system = system

    def forward(self, graph: Graph) -> AtomicOutput:
        """Energies of the atoms of all copies."""
        members = next(iter(self.values.values())).shape[0]
        edges = graph.centre.shape[0] // members
        centre, neighbour = graph.centre[:edges], graph.neighbour[:edges]

        def energies(parameters: Parameters, vectors: Tensor, positions: Tensor, cell: Tensor) -> Tensor:
            own = Graph(replace(self.system, positions=positions, cell=cell), centre, neighbour, vectors)
            return functional_call(self.skeleton, dict(parameters), (own,)).energies

        copies = [
            values.unflatten(0, (members, -1)) for values in (graph.vectors, graph.system.positions, graph.system.cell)
        ]
        return AtomicOutput(torch.vmap(energies)(dict(self.values), *copies).flatten())

    def config(self) -> dict[str, Any]:
        """Specification of the architecture."""
        return {"skeleton": self.skeleton.specification()}


def side_by_side(
    skeleton: Potential,
    parameters: Parameters,
    system: System,
    neighbours: Neighbours | None = None,
    outputs: Sequence[str] = ("energy", "forces"),
    create_graph: bool = False,
) -> list[Prediction]:
    """What :func:`simkit.evaluate` gives for each of M potentials, in one forward and one backward pass.

    Args:
        skeleton: their architecture.
        parameters: of the M potentials.
        system: as for :func:`simkit.evaluate`.
        neighbours: complete up to the cutoff; built here if absent.
        outputs: any of energy, energies, forces, virial, stress.
        create_graph: keep the autograd graph.

    Raises:
        SimkitError: as :func:`simkit.evaluate`.
    """
    members = next(iter(parameters.values())).shape[0]
    if neighbours is None:
        neighbours = build_neighbours(system, skeleton.cutoff)
    found = evaluate(
        SideBySide(skeleton, parameters, system),
        concatenate([system] * members),
        concatenate_neighbours([neighbours] * members, [system.n_atoms] * members),
        outputs,
        create_graph,
    )
    columns = [(name, value.chunk(members)) for name, value in vars(found).items() if value is not None]
    return [Prediction(**{name: values[index] for name, values in columns}) for index in range(members)]


def energies_side_by_side(skeleton: Potential, parameters: Parameters, graph: Graph) -> Float[Tensor, "members atoms"]:
    """Energy of each atom by each potential for one graph that all share, in eV."""

    def energies(own: dict[str, Tensor]) -> Tensor:
        return functional_call(skeleton, own, (graph,)).energies

    return torch.vmap(energies)(dict(parameters))


def stacked_parameters(members: Sequence[Potential]) -> dict[str, Tensor]:
    """The members' parameters by their names, stacked along a first axis; derivatives reach the members."""
    own = [dict(member.named_parameters()) for member in members]
    return {name: torch.stack([parameters[name] for parameters in own]) for name in own[0]}


def one_architecture(members: Sequence[Potential]) -> bool:
    """Whether conservative potentials differ in the values of their parameters alone, and have any."""
    first, *others = members
    if next(first.parameters(), None) is None or not first.capabilities.conservative:
        return False
    buffers = dict(first.named_buffers())
    for other in others:
        if other.specification() != first.specification() or other.training != first.training:
            return False
        own = dict(other.named_buffers())
        if own.keys() != buffers.keys() or not all(torch.equal(own[name], buffers[name]) for name in own):
            return False
    return True


def require_one_architecture(members: Sequence[Potential]) -> None:
    """Check that potentials are conservative and differ in the values of their parameters alone.

    Raises:
        SimkitError: there are none, or they differ in more.
    """
    if not members:
        raise SimkitError("expected at least one potential, found none")
    if not one_architecture(members):
        kinds = ", ".join(member.kind for member in members)
        raise SimkitError(
            f"expected conservative potentials that have parameters and differ in these alone, found {kinds} of "
            "different sizes or constants: give all the same arguments (also reference energies, scale and shift), or "
            "train them apart"
        )
