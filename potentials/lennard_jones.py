"""Lennard-Jones: the reference pair potential."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import nn

from simkit.graph import Graph
from simkit.potential import ALL_ELEMENTS, AtomicOutput, Capabilities, Potential
from simkit.potentials.cutoffs import quintic_switch


class LennardJones(Potential):
    """Lennard-Jones pair potential, switched off smoothly.

    ``E = ½ Σ_ij 4ε[(σ/r)¹² - (σ/r)⁶] · s(r)`` where s falls from 1 at ``switch_on`` to 0 at the cutoff with two
    continuous derivatives.

    Args:
        epsilon: well depth ε in eV.
        sigma: distance σ in Å where the unswitched energy is zero.
        cutoff: in Å.
        switch_on: distance in Å where the switching starts; default 0.9 of the cutoff.
        elements: atomic numbers that it stands for; all by default.

    Reference: J. E. Lennard-Jones, Proc. R. Soc. A 106, 463 (1924), doi:10.1098/rspa.1924.0082.
    """

    kind: ClassVar[str] = "lennard-jones"

    def __init__(
        self,
        epsilon: float,
        sigma: float,
        cutoff: float,
        switch_on: float | None = None,
        elements: Sequence[int] = ALL_ELEMENTS,
    ) -> None:
        citation = "J. E. Lennard-Jones, Proc. R. Soc. A 106, 463 (1924), doi:10.1098/rspa.1924.0082"
        super().__init__(Capabilities(cutoff, cutoff, tuple(elements), citations=(citation,)))
        self.switch_on = 0.9 * cutoff if switch_on is None else switch_on
        self.epsilon = nn.Parameter(torch.tensor(epsilon, dtype=torch.float64))
        self.sigma = nn.Parameter(torch.tensor(sigma, dtype=torch.float64))

    def forward(self, graph: Graph) -> AtomicOutput:
        """Half of every pair's energy goes to either atom."""
        r = torch.linalg.vector_norm(graph.vectors, dim=1)
        ratio2 = (self.sigma / r).square()
        ratio6 = ratio2 * ratio2 * ratio2
        pair = ratio6 * (ratio6 - 1) * quintic_switch(r, self.switch_on, self.cutoff)
        sums = pair.new_zeros(graph.system.n_atoms).index_add(0, graph.centre, pair)
        return AtomicOutput(2 * self.epsilon * sums)

    def config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {
            "epsilon": self.epsilon.item(),
            "sigma": self.sigma.item(),
            "cutoff": self.cutoff,
            "switch_on": self.switch_on,
            "elements": list(self.capabilities.elements),
        }
