"""Ziegler-Biersack-Littmark: the screened repulsion of nuclei."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from ase.data import covalent_radii
from jaxtyping import Float, Int
from torch import Tensor

from simkit.graph import Graph
from simkit.potential import AtomicOutput, Capabilities, Potential
from simkit.potentials.constants import Constants
from simkit.potentials.cutoffs import polynomial_envelope
from simkit.potentials.radial import covalent_radius_table

EXPONENTS = (3.2, 0.9423, 0.4028, 0.2016)
COULOMB_CONSTANT = 14.3996
BOHR_RADIUS = 0.529
CITATION = (
    "J. F. Ziegler, J. P. Biersack, U. Littmark, The Stopping and Range of Ions in Solids (Pergamon, New York, 1985)"
)


class ZBLRepulsion(Constants):
    """Energy of each edge, ``V = k Z_i Z_j/r · Σ_k c_k exp(-b_k r/a) · f_p(r; ρ_i + ρ_j)`` in eV.

    ``a = 0.4543·0.529 Å/(Z_i^0.3 + Z_j^0.3)``, ``k = 14.3996 eV·Å``, f_p is the polynomial envelope and ρ are covalent
    radii: the repulsion ends where bonds begin. Constants are those that published MACE models were trained with.

    Args:
        envelope_power: p of the envelope.
    """

    coefficients: Tensor
    exponent: Tensor
    length: Tensor
    radii: Tensor

    def __init__(self, envelope_power: int = 6) -> None:
        super().__init__()
        self.envelope_power = envelope_power
        self.register_constant("coefficients", torch.tensor([0.1818, 0.5099, 0.2802, 0.02817], dtype=torch.float64))
        self.register_constant("exponent", torch.tensor(0.3, dtype=torch.float64))
        self.register_constant("length", torch.tensor(0.4543, dtype=torch.float64))
        self.register_constant("radii", covalent_radius_table())

    def forward(
        self, r: Float[Tensor, " edges"], centre: Int[Tensor, " edges"], neighbour: Int[Tensor, " edges"]
    ) -> Float[Tensor, " edges"]:
        """Distances (Å) and the atomic numbers of both ends -> energies (eV), each pair's whole energy per edge."""
        z_i, z_j = centre.to(r.dtype), neighbour.to(r.dtype)
        x = r * (z_i**self.exponent + z_j**self.exponent) / (self.length * BOHR_RADIUS)
        terms = [c * torch.exp(-b * x) for c, b in zip(self.coefficients, EXPONENTS, strict=True)]
        bond = self.radii[centre] + self.radii[neighbour]
        screened = COULOMB_CONSTANT * z_i * z_j / r * torch.stack(terms).sum(0)
        return screened * polynomial_envelope(r / bond, 1.0, self.envelope_power)


class ZBL(Potential):
    """Ziegler-Biersack-Littmark repulsion at distances below the sum of two covalent radii.

    See :class:`ZBLRepulsion` for the equation. Its cutoff is the largest sum of covalent radii among its elements.

    Args:
        elements: atomic numbers that it is used for.
        envelope_power: p of the polynomial envelope.

    Reference: J. F. Ziegler, J. P. Biersack, U. Littmark, The Stopping and Range of Ions in Solids (1985).
    """

    kind: ClassVar[str] = "zbl"

    def __init__(self, elements: Sequence[int], envelope_power: int = 6) -> None:
        cutoff = 2 * float(max(covalent_radii[list(elements)]))
        super().__init__(Capabilities(cutoff, cutoff, tuple(elements), citations=(CITATION,)))
        self.repulsion = ZBLRepulsion(envelope_power)

    def forward(self, graph: Graph) -> AtomicOutput:
        """Half of every pair's energy goes to either atom."""
        numbers = graph.system.numbers
        r = graph.vectors.square().sum(1).sqrt()
        pair = self.repulsion(r, numbers[graph.centre], numbers[graph.neighbour])
        return AtomicOutput(pair.new_zeros(graph.system.n_atoms).index_add(0, graph.centre, 0.5 * pair))

    def config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {"elements": list(self.capabilities.elements), "envelope_power": self.repulsion.envelope_power}
