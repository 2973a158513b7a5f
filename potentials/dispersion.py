"""DFT-D3(BJ): London dispersion that semilocal density functionals, and potentials trained on them, lack."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from simkit.errors import MissingExtraError, SimkitError
from simkit.graph import Graph
from simkit.potential import AtomicOutput, Capabilities, Potential
from simkit.potentials.cutoffs import quintic_switch
from simkit.potentials.elements import ElementIndex
from simkit.units import BOHR, HARTREE

CITATIONS = (
    "S. Grimme, J. Antony, S. Ehrlich, H. Krieg, J. Chem. Phys. 132, 154104 (2010), doi:10.1063/1.3382344",
    "S. Grimme, S. Ehrlich, L. Goerigk, J. Comput. Chem. 32, 1456 (2011), doi:10.1002/jcc.21759",
)
STEEPNESS = 16.0
SELECTIVITY = 4.0


class DispersionD3(Potential):
    """DFT-D3 with Becke-Johnson damping, pairwise, for molecules and periodic systems.

    ``E = -½ Σ_ij C6_ij [s6/(r⁶ + R⁶) + s8 q/(r⁸ + R⁸)] s(r)`` with ``q = 3 Q_i Q_j``, ``R = a1 √q + a2``. The
    coefficients depend on the coordination numbers ``CN_i = Σ_j 1/(1 + exp(-16 (R_cov/r - 1)))`` of both atoms:
    ``C6_ij = Σ_ab w_ia w_jb C6_ref(a, b)`` with ``w_ia ∝ exp(-4 (CN_i - CN_a)²)``.

    Sums over pairs are switched off by s before their cutoffs, where other programs cut sharply; the three-body
    (Axilrod-Teller-Muto) term is not included. Reference coefficients and radii are those of the package tad-dftd3.
    The number of pairs grows with the cube of the cutoff: about 7000 for each atom of silicon at 60 Bohr.

    Args:
        s8: scale of the C8 term.
        a1: factor of the damping radius.
        a2: constant part of the damping radius in Bohr, as it is published.
        s6: scale of the C6 term.
        cutoff: in Å; default 60 Bohr.
        coordination_cutoff: end in Å of the sum in the coordination numbers; default 40 Bohr.
        switch_on: where s starts to fall, as a fraction of each cutoff; close to 1 it is nearly a sharp cut.
        elements: atomic numbers, up to 103.

    Raises:
        MissingExtraError: tad-dftd3 is not installed.
        SimkitError: elements beyond 103.

    Reference: S. Grimme et al., J. Chem. Phys. 132, 154104 (2010), doi:10.1063/1.3382344; S. Grimme, S. Ehrlich,
    L. Goerigk, J. Comput. Chem. 32, 1456 (2011), doi:10.1002/jcc.21759.
    """

    kind: ClassVar[str] = "dispersion-d3"

    c6: Tensor
    reference_coordination: Tensor
    radius: Tensor
    moment: Tensor

    def __init__(
        self,
        s8: float,
        a1: float,
        a2: float,
        s6: float = 1.0,
        cutoff: float = 60 * BOHR,
        coordination_cutoff: float = 40 * BOHR,
        switch_on: float = 0.9,
        elements: Sequence[int] = tuple(range(1, 104)),
    ) -> None:
        if not set(elements) <= set(range(1, 104)):
            raise SimkitError(f"D3 has coefficients for the elements 1 to 103, found {sorted(elements)}")
        reach = max(cutoff, coordination_cutoff)
        super().__init__(Capabilities(reach, cutoff + coordination_cutoff, tuple(elements), citations=CITATIONS))
        self.s6, self.s8, self.a1, self.a2 = s6, s8, a1, a2
        self.pair_cutoff, self.coordination_cutoff, self.switch_on = cutoff, coordination_cutoff, switch_on
        self.index = ElementIndex(elements)
        for name, table in _tables(elements).items():
            self.register_buffer(name, table, persistent=False)

    @classmethod
    def for_functional(cls, functional: str, **options: Any) -> DispersionD3:
        """The parameters published for a density functional, e.g. ``"pbe"``; options as for the class.

        Raises:
            SimkitError: there are no D3(BJ) parameters of that name.
        """
        parameters = _library().param.functional.get_functional_params
        try:
            found = parameters(functional, damping="bj", dtype=torch.float64, device=torch.device("cpu"))
        except (KeyError, ValueError):
            raise SimkitError(
                f"there are no D3(BJ) parameters for the functional {functional!r}: expected a name such as 'pbe', "
                "'revpbe', 'b3lyp' or 'r2scan', or give s8, a1 and a2"
            ) from None
        return cls(**{name: found[name].item() for name in ("s6", "s8", "a1", "a2")}, **options)

    def forward(self, graph: Graph) -> AtomicOutput:
        """Half of every pair's energy goes to either atom."""
        element = self.index(graph.system.numbers)
        r = graph.vectors.square().sum(1).sqrt() / BOHR
        ends = element[graph.centre], element[graph.neighbour]
        weights = self._weights(element, self._coordination(graph, r, ends))
        c6 = self._pair_coefficients(graph, element, weights)
        q = 3 * self.moment[ends[0]] * self.moment[ends[1]]
        damping = self.a1 * q.sqrt() + self.a2
        radial = self.s6 / (r**6 + damping**6) + self.s8 * q / (r**8 + damping**8)
        pair = -0.5 * HARTREE * c6 * radial * self._switch(r, self.pair_cutoff)
        return AtomicOutput(pair.new_zeros(graph.system.n_atoms).index_add(0, graph.centre, pair))

    def _coordination(
        self, graph: Graph, r: Float[Tensor, " edges"], ends: tuple[Tensor, Tensor]
    ) -> Float[Tensor, " atoms"]:
        covalent = self.radius[ends[0]] + self.radius[ends[1]]
        count = torch.sigmoid(STEEPNESS * (covalent / r - 1)) * self._switch(r, self.coordination_cutoff)
        return count.new_zeros(graph.system.n_atoms).index_add(0, graph.centre, count)

    def _weights(
        self, element: Int[Tensor, " atoms"], coordination: Float[Tensor, " atoms"]
    ) -> Float[Tensor, "atoms references"]:
        """A softmax, so that an atom far from all references takes the nearest one instead of 0/0."""
        reference = self.reference_coordination[element]
        logits = -SELECTIVITY * (coordination[:, None] - reference) ** 2
        return logits.masked_fill(reference < 0, -torch.inf).softmax(1)

    def _pair_coefficients(
        self, graph: Graph, element: Int[Tensor, " atoms"], weights: Float[Tensor, "atoms references"]
    ) -> Float[Tensor, " edges"]:
        """The centre's references are contracted once for each atom and element, the neighbour's for each pair."""
        half = torch.einsum("ia,ieab->ieb", weights, self.c6[element])
        return (half[graph.centre, element[graph.neighbour]] * weights[graph.neighbour]).sum(1)

    def _switch(self, r: Float[Tensor, " edges"], cutoff: float) -> Float[Tensor, " edges"]:
        """From r in Bohr and the cutoff in Å."""
        return quintic_switch(r, self.switch_on * cutoff / BOHR, cutoff / BOHR)

    def config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {
            "s6": self.s6,
            "s8": self.s8,
            "a1": self.a1,
            "a2": self.a2,
            "cutoff": self.pair_cutoff,
            "coordination_cutoff": self.coordination_cutoff,
            "switch_on": self.switch_on,
            "elements": self.capabilities.elements,
        }


def _library() -> Any:
    try:
        import tad_dftd3
        import tad_dftd3.param.functional
    except ImportError:
        raise MissingExtraError("tad-dftd3", "dispersion", "the D3 dispersion correction") from None
    return tad_dftd3


def _tables(elements: Sequence[int]) -> dict[str, Tensor]:
    """C6 of pairs of references, their coordination numbers, covalent radii, and Q, all in atomic units."""
    library = _library()
    from tad_mctc.data import radii

    options: dict[str, Any] = {"dtype": torch.float64, "device": torch.device("cpu")}
    rows = torch.tensor(list(elements))
    reference = library.reference.Reference(**options)
    return {
        "c6": reference.c6[rows][:, rows].contiguous(),
        "reference_coordination": reference.cn[rows],
        "radius": radii.COV_D3(**options)[rows],
        "moment": library.data.R4R2(**options)[rows],
    }
