"""Stillinger-Weber: the reference many-body potential."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from simkit.graph import Graph
from simkit.potential import AtomicOutput, Capabilities, Potential

CITATION = "F. H. Stillinger, T. A. Weber, Phys. Rev. B 31, 5262 (1985), doi:10.1103/PhysRevB.31.5262"


class StillingerWeber(Potential):
    """Stillinger-Weber potential of one kind of tetrahedral atom.

    With ``ρ = r/σ`` and a cutoff of ``aσ``::

        E  = ½ Σ_ij f(ρ_ij) + Σ_i Σ_{j<k} λε (cos θ_jik - c0)² g(ρ_ij) g(ρ_ik)
        f  = Aε (B ρ^-p - ρ^-q) exp(1/(ρ - a))
        g  = exp(γ/(ρ - a))

    Expanding the square turns the sum over triplets into moments of each atom's surroundings, which cost as little as
    the pairs and need no list of triplets. With unit vectors n and ``S = Σ g``, ``V = Σ g n``, ``T = Σ g n nᵀ`` over
    the neighbours of atom i, its triplets contribute ``½ λε (|T|² - 2 c0 |V|² + c0² S² - (1 - c0)² Σ g²)``.

    Args:
        epsilon: ε in eV.
        sigma: σ in Å.
        prefactor: A.
        repulsion: B.
        repulsive_power: p.
        attractive_power: q.
        reach: a, the cutoff in units of σ.
        three_body: λ.
        decay: γ.
        cos_angle: c0, the cosine of the preferred angle.
        elements: atomic numbers that it stands for.

    Reference: F. H. Stillinger, T. A. Weber, Phys. Rev. B 31, 5262 (1985), doi:10.1103/PhysRevB.31.5262,
    eqs. 2.3 to 2.6.
    """

    kind: ClassVar[str] = "stillinger-weber"

    def __init__(
        self,
        epsilon: float,
        sigma: float,
        prefactor: float,
        repulsion: float,
        repulsive_power: float,
        attractive_power: float,
        reach: float,
        three_body: float,
        decay: float,
        cos_angle: float = -1 / 3,
        elements: Sequence[int] = (14,),
    ) -> None:
        cutoff = reach * sigma
        super().__init__(Capabilities(cutoff, cutoff, tuple(elements), citations=(CITATION,)))
        self.sigma, self.reach, self.cos_angle = sigma, reach, cos_angle
        self.repulsive_power, self.attractive_power = repulsive_power, attractive_power
        self.epsilon = nn.Parameter(torch.tensor(epsilon, dtype=torch.float64))
        self.prefactor = nn.Parameter(torch.tensor(prefactor, dtype=torch.float64))
        self.repulsion = nn.Parameter(torch.tensor(repulsion, dtype=torch.float64))
        self.three_body = nn.Parameter(torch.tensor(three_body, dtype=torch.float64))
        self.decay = nn.Parameter(torch.tensor(decay, dtype=torch.float64))

    @classmethod
    def silicon(cls) -> StillingerWeber:
        """Silicon with the parameters of the 1985 paper (Table I; ε = 2.1683 eV, σ = 2.0951 Å)."""
        return cls(
            epsilon=2.1683,
            sigma=2.0951,
            prefactor=7.049556277,
            repulsion=0.6022245584,
            repulsive_power=4.0,
            attractive_power=0.0,
            reach=1.8,
            three_body=21.0,
            decay=1.2,
        )

    def forward(self, graph: Graph) -> AtomicOutput:
        """Half of every pair's energy goes to either atom, a triplet's to the atom at its corner."""
        r = graph.vectors.square().sum(1).sqrt()
        rho = r / self.sigma
        gap = self.reach - rho
        inside = gap > 1e-4  # exp(-1/gap) underflows long before; keeps every derivative finite
        gap = torch.where(inside, gap, 1.0)
        radial = self.repulsion * rho**-self.repulsive_power - rho**-self.attractive_power
        pair = self.prefactor * self.epsilon * radial * torch.exp(-1 / gap) * inside
        weight = torch.exp(-self.decay / gap) * inside
        energies = pair.new_zeros(graph.system.n_atoms).index_add(0, graph.centre, 0.5 * pair)
        return AtomicOutput(energies + self._triplets(graph, graph.vectors / r[:, None], weight))

    def _triplets(
        self, graph: Graph, unit: Float[Tensor, "edges 3"], weight: Float[Tensor, " edges"]
    ) -> Float[Tensor, " atoms"]:
        def summed(values: Tensor) -> Tensor:
            return values.new_zeros(graph.system.n_atoms, *values.shape[1:]).index_add(0, graph.centre, values)

        weighted = weight[:, None] * unit
        c0 = self.cos_angle
        second = summed(weighted[:, :, None] * unit[:, None, :]).square().sum((1, 2))
        first = summed(weighted).square().sum(1)
        zeroth = summed(weight).square()
        same = summed(weight.square())
        moments = second + c0 * (c0 * zeroth - 2 * first) - (1 - c0) * (1 - c0) * same
        return 0.5 * self.three_body * self.epsilon * moments

    def config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {
            "epsilon": self.epsilon.item(),
            "sigma": self.sigma,
            "prefactor": self.prefactor.item(),
            "repulsion": self.repulsion.item(),
            "repulsive_power": self.repulsive_power,
            "attractive_power": self.attractive_power,
            "reach": self.reach,
            "three_body": self.three_body.item(),
            "decay": self.decay.item(),
            "cos_angle": self.cos_angle,
            "elements": self.capabilities.elements,
        }
