"""What a potential sees: atoms, pairs and the vectors between them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from simkit.errors import InvalidSystemError
from simkit.neighbours import Neighbours
from simkit.system import System


@dataclass(frozen=True)
class Graph:
    """Atoms and directed edges ``centre <- neighbour``, sorted by centre.

    Attributes:
        system: the atoms; long-range potentials also use its positions and cell.
        centre: receiving atom of each edge.
        neighbour: sending atom of each edge.
        vectors: from centre to neighbour, in Å; local potentials depend on geometry through these alone.
    """

    system: System
    centre: Int[Tensor, " edges"]
    neighbour: Int[Tensor, " edges"]
    vectors: Float[Tensor, "edges 3"]

    def within(self, cutoff: float) -> Graph:
        """The graph without the edges that are not shorter than ``cutoff`` (Å)."""
        kept = torch.nonzero(torch.linalg.vector_norm(self.vectors.detach(), dim=1) < cutoff)[:, 0]
        if kept.shape[0] == self.centre.shape[0]:
            return self
        return replace(
            self,
            centre=self.centre.index_select(0, kept),
            neighbour=self.neighbour.index_select(0, kept),
            vectors=self.vectors.index_select(0, kept),
        )


def make_graph(system: System, neighbours: Neighbours, offsets: Float[Tensor, "edges 3"] | None = None) -> Graph:
    """Edges with their vectors ``x[neighbour] - x[centre] + shift @ cell``, differentiable in positions and cell.

    ``offsets`` are ``shift @ cell`` where the caller knows them.
    """
    centre, neighbour = neighbours.centre, neighbours.neighbour
    vectors = system.positions.index_select(0, neighbour).sub_(system.positions.index_select(0, centre))
    vectors = vectors + neighbours.offsets(system) if offsets is None else vectors.add_(offsets)
    return Graph(system, centre, neighbour, vectors)


def require_separated(system: System, neighbours: Neighbours, minimum: float = 0.1) -> None:
    """Check that no two atoms are closer than ``minimum`` Å.

    Raises:
        InvalidSystemError: naming the closest pair and its distance.
    """
    if neighbours.n_edges == 0:
        return
    lengths = make_graph(system, neighbours).vectors.detach().norm(dim=1)
    shortest = int(lengths.argmin())
    if float(lengths[shortest]) < minimum:
        pair = (int(neighbours.centre[shortest]), int(neighbours.neighbour[shortest]))
        raise InvalidSystemError(
            f"atoms {pair[0]} and {pair[1]} are {float(lengths[shortest]):.3f} Å apart, expected at least {minimum} Å: "
            "remove one of them, or check the units (Å) and the cell"
        )


torch.utils._pytree.register_dataclass(Graph)
