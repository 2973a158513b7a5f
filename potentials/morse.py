"""Morse pair potential."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import nn

from simkit.graph import Graph
from simkit.potential import ALL_ELEMENTS, AtomicOutput, Capabilities, Potential
from simkit.potentials.cutoffs import quintic_switch


class Morse(Potential):
    """Morse pair potential, switched off smoothly.

    ``E = ½ Σ_ij D [(1 - exp(-a(r - r0)))² - 1] · s(r)`` where s falls from 1 at ``switch_on`` to 0 at the cutoff with
    two continuous derivatives. A dimer is bound by D at the distance r0 with the force constant ``2Da²``.

    Args:
        depth: well depth D in eV.
        stiffness: a in 1/Å.
        distance: equilibrium distance r0 of the dimer in Å.
        cutoff: in Å.
        switch_on: distance in Å where the switching starts; default 0.9 of the cutoff.
        elements: atomic numbers that it stands for; all by default.

    Reference: P. M. Morse, Phys. Rev. 34, 57 (1929), doi:10.1103/PhysRev.34.57.
    """

    kind: ClassVar[str] = "morse"

    def __init__(
        self,
        depth: float,
        stiffness: float,
        distance: float,
        cutoff: float,
        switch_on: float | None = None,
        elements: Sequence[int] = ALL_ELEMENTS,
    ) -> None:
        citation = "P. M. Morse, Phys. Rev. 34, 57 (1929), doi:10.1103/PhysRev.34.57"
        super().__init__(Capabilities(cutoff, cutoff, tuple(elements), citations=(citation,)))
        self.switch_on = 0.9 * cutoff if switch_on is None else switch_on
        self.depth = nn.Parameter(torch.tensor(depth, dtype=torch.float64))
        self.stiffness = nn.Parameter(torch.tensor(stiffness, dtype=torch.float64))
        self.distance = nn.Parameter(torch.tensor(distance, dtype=torch.float64))

    def forward(self, graph: Graph) -> AtomicOutput:
        """Half of every pair's energy goes to either atom."""
        r = graph.vectors.square().sum(1).sqrt()
        decay = torch.exp(-self.stiffness * (r - self.distance))
        pair = self.depth * decay * (decay - 2) * quintic_switch(r, self.switch_on, self.cutoff)
        energies = pair.new_zeros(graph.system.n_atoms).index_add(0, graph.centre, 0.5 * pair)
        return AtomicOutput(energies)

    def config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {
            "depth": self.depth.item(),
            "stiffness": self.stiffness.item(),
            "distance": self.distance.item(),
            "cutoff": self.cutoff,
            "switch_on": self.switch_on,
            "elements": self.capabilities.elements,
        }
