"""A potential that is linear in its weights, and labelled frames: the posterior of its weights is known exactly."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from simkit.datasets.base import Dataset, Frame, Labels
from simkit.datasets.combine import MemoryDataset
from simkit.evaluation import evaluate
from simkit.graph import Graph, make_graph
from simkit.neighbours import build_neighbours
from simkit.potential import AtomicOutput, Capabilities, Potential
from simkit.potentials.cutoffs import polynomial_envelope
from simkit.potentials.lennard_jones import LennardJones
from simkit.system import System
from tests.conformance import systems

CUTOFF = 5.0
SCALES = {"energy": 0.02, "forces": 0.1, "stress": 0.01}


class Linear(Potential):
    """``E_i = Σ_k w_k Σ_j g_k(r_ij)`` with Gaussians g of the distance; argon alone.

    Args:
        functions: number of Gaussians.
        mixing: features are multiplied by this matrix.
    """

    kind: ClassVar[str] = "linear-test"

    def __init__(self, functions: int = 5, mixing: Float[Tensor, "functions functions"] | None = None) -> None:
        super().__init__(Capabilities(CUTOFF, CUTOFF, (18,)))
        self.weights = nn.Parameter(torch.linspace(0.5, -0.5, functions))
        self.register_buffer("centres", torch.linspace(2.5, 4.5, functions))
        self.register_buffer("mixing", torch.eye(functions) if mixing is None else mixing)

    def forward(self, graph: Graph) -> AtomicOutput:
        r = graph.vectors.norm(dim=1)
        values = torch.exp(-2 * (r[:, None] - self.centres).square()) * polynomial_envelope(r, CUTOFF, 6)[:, None]
        features = values.new_zeros(graph.system.n_atoms, values.shape[1]).index_add(0, graph.centre, values)
        features = features @ self.mixing
        return AtomicOutput(features @ self.weights, features=features, last_layer=features)

    def config(self) -> dict[str, Any]:
        return {"functions": len(self.weights)}


def frames(count: int = 6, stress: bool = True, first: int = 0) -> MemoryDataset:
    """Crystals and molecules of argon, with labels of a Lennard-Jones potential; not all have all labels."""
    truth = LennardJones(epsilon=0.05, sigma=2.6, cutoff=CUTOFF)
    made = []
    for index in range(first, first + count):
        kind = systems.crystal if index % 2 else systems.molecule
        system = kind((18,), 3.0, seed=10 + index)
        stressed = stress and bool(system.pbc.all())
        found = evaluate(truth, system, outputs=("energy", "forces", "stress"))
        labels = Labels(found.energy, found.forces if index != 2 else None, found.stress if stressed else None)
        made.append(Frame(system, labels, name=f"argon:{index}", weight=1 + 0.5 * (index % 3)))
    return MemoryDataset(made)


def query() -> System:
    """A crystal that is not among the frames."""
    return systems.crystal((18,), 2.9, seed=99)


def design(data: Dataset) -> Tensor:
    """Rows of the regression, divided by the noise and times the root of the weights, by differentiation anew."""
    potential, rows = Linear(), []
    for frame in data:
        system, labels = frame.system, frame.labels
        neighbours = build_neighbours(system, potential.cutoff)

        def features(positions: Tensor, strain: Tensor, system: System = system, n=neighbours) -> Tensor:
            grown = torch.eye(3) + 0.5 * (strain + strain.T)
            moved = replace(system, positions=positions @ grown, cell=system.cell @ grown)
            return potential(make_graph(moved, n)).last_layer.sum(0)

        none = torch.zeros(3, 3)
        root = frame.weight**0.5
        rows.append(root * features(system.positions, none)[None] / system.n_atoms / SCALES["energy"])
        if labels.forces is not None:
            by_positions = torch.func.jacrev(features)(system.positions, none)
            rows.append(root * by_positions.flatten(1).T / SCALES["forces"])
        if labels.stress is not None:
            by_strain = torch.func.jacrev(features, argnums=1)(system.positions, none)
            rows.append(root * by_strain.flatten(1).T / system.volume() / SCALES["stress"])
    return torch.cat(rows).detach()


def response(system: System) -> tuple[Tensor, Tensor]:
    """Features of the system, and their derivatives by positions."""
    potential = Linear()
    neighbours = build_neighbours(system, potential.cutoff)

    def features(positions: Tensor) -> Tensor:
        return potential(make_graph(replace(system, positions=positions), neighbours)).last_layer.sum(0)

    return features(system.positions).detach(), torch.func.jacrev(features)(system.positions).detach()
