"""PaiNN: message passing with scalar and vector features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from simkit.errors import SimkitError
from simkit.graph import Graph
from simkit.potential import AtomicOutput, Capabilities, Potential
from simkit.potentials.cutoffs import cosine_cutoff, polynomial_envelope
from simkit.potentials.elements import ElementIndex, ReferenceEnergies
from simkit.potentials.options import Envelope
from simkit.potentials.radial import BesselBasis
from simkit.potentials.scale_shift import ScaleShift

CITATION = (
    "K. T. Schütt, O. T. Unke, M. Gastegger, Equivariant message passing for the prediction of tensorial properties "
    "and molecular spectra, ICML 2021, arXiv:2102.03150"
)
ENVELOPE_POWER = 6
NORM_EPSILON = 1e-8
"""Added to squared norms of vector features: keeps the gradient finite where they vanish, e.g. on isolated atoms."""


class Message(nn.Module):
    """What each atom receives from its neighbours.

    ``Δs_i = Σ_j φ_s(s_j) ∘ W_s(r_ij)`` and
    ``Δv_i = Σ_j v_j ∘ φ_vv(s_j) ∘ W_vv(r_ij) + Σ_j φ_vs(s_j) ∘ W_vs(r_ij) r̂_ij``, both divided by ``normaliser``.

    Reference: arXiv:2102.03150, Fig. 2b.
    """

    def __init__(self, channels: int, n_radial: int, normaliser: float) -> None:
        super().__init__()
        self.normaliser = normaliser
        self.scalar = nn.Sequential(nn.Linear(channels, channels), nn.SiLU(), nn.Linear(channels, 3 * channels))
        self.filter = nn.Linear(n_radial, 3 * channels)

    def forward(
        self,
        s: Float[Tensor, "atoms channels"],
        v: Float[Tensor, "atoms 3 channels"],
        graph: Graph,
        basis: Float[Tensor, "edges radial"],
        envelope: Float[Tensor, " edges"],
        direction: Float[Tensor, "edges 3"],
    ) -> tuple[Float[Tensor, "atoms channels"], Float[Tensor, "atoms 3 channels"]]:
        """Changes of the scalar and vector features; ``envelope`` makes the filters vanish at the cutoff."""
        filters = self.filter(basis) * (envelope / self.normaliser)[:, None]
        weights = self.scalar(s)[graph.neighbour] * filters
        to_scalar, along_direction, along_vector = weights.chunk(3, 1)
        vectors = along_direction[:, None] * direction[:, :, None] + along_vector[:, None] * v[graph.neighbour]
        change_s = torch.zeros_like(s).index_add(0, graph.centre, to_scalar)
        change_v = torch.zeros_like(v).index_add(0, graph.centre, vectors)
        return change_s, change_v


class Update(nn.Module):
    """How the scalar and vector features of one atom act on each other.

    ``Δs = a_ss + a_sv ∘ ⟨Uv, Vv⟩`` and ``Δv = a_vv ∘ Uv``, where the a are functions of s and ``‖Vv‖``.

    Reference: arXiv:2102.03150, Fig. 2c.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mix_u = nn.Linear(channels, channels, bias=False)
        self.mix_v = nn.Linear(channels, channels, bias=False)
        self.gates = nn.Sequential(nn.Linear(2 * channels, channels), nn.SiLU(), nn.Linear(channels, 3 * channels))

    def forward(
        self, s: Float[Tensor, "atoms channels"], v: Float[Tensor, "atoms 3 channels"]
    ) -> tuple[Float[Tensor, "atoms channels"], Float[Tensor, "atoms 3 channels"]]:
        """Changes of the scalar and vector features."""
        u_v, v_v = self.mix_u(v), self.mix_v(v)
        norm = (v_v.square().sum(1) + NORM_EPSILON).sqrt()
        a_ss, a_sv, a_vv = self.gates(torch.cat([s, norm], 1)).chunk(3, 1)
        return a_ss + a_sv * (u_v * v_v).sum(1), a_vv[:, None] * u_v


class PaiNN(Potential):
    """Polarisable atom interaction network for energies; forces are their derivative.

    ``E_i = E0[z_i] + scale · ε(s_i) + shift`` with a two-layer network ε of the final scalar features s, which are also
    the invariant features that it returns.

    Args:
        elements: atomic numbers.
        cutoff: in Å.
        channels: number of scalar features, and of vector features, per atom; even.
        layers: number of message and update blocks.
        n_radial: number of Bessel functions of the distance.
        average_neighbours: messages are divided by its square root; 1 is the paper's plain sum.
        reference_energies: E0 in eV for each head and element, in the order of ``elements``; zero by default.
        scale: factor of the learned energies, in eV; one value or one for each head.
        shift: added to the learned energy of each atom, in eV; one value or one for each head.
        envelope: how the filters vanish at the cutoff: ``polynomial`` has two continuous derivatives, so that Hessians
            are continuous too; ``cosine``, the paper's, has one.

    Raises:
        SimkitError: sizes that are not positive or do not fit one another.

    Reference: K. T. Schütt, O. T. Unke, M. Gastegger, ICML 2021, arXiv:2102.03150.
    """

    kind: ClassVar[str] = "painn"

    def __init__(
        self,
        elements: Sequence[int],
        cutoff: float = 5.0,
        channels: int = 128,
        layers: int = 3,
        n_radial: int = 20,
        average_neighbours: float = 1.0,
        reference_energies: Sequence[Sequence[float]] | None = None,
        scale: float | Sequence[float] = 1.0,
        shift: float | Sequence[float] = 0.0,
        envelope: Envelope = "polynomial",
    ) -> None:
        super().__init__(Capabilities(cutoff, layers * cutoff, tuple(elements), citations=(CITATION,)))
        references = (
            [[0.0] * len(elements)] if reference_energies is None else [list(row) for row in reference_energies]
        )
        _check_sizes(elements, channels, layers, average_neighbours, references)
        if envelope not in get_args(Envelope):
            raise SimkitError(f"expected the envelope 'polynomial' or 'cosine', found {envelope!r}")
        self.channels = channels
        self.n_radial = n_radial
        self.average_neighbours = average_neighbours
        self.envelope = envelope
        self.index = ElementIndex(elements)
        self.reference = ReferenceEnergies(references)
        self.scale_shift = ScaleShift(scale, shift, len(references))
        self.radial = BesselBasis(cutoff, n_radial)
        self.embedding = nn.Embedding(len(elements), channels)
        normaliser = average_neighbours**0.5
        self.messages = nn.ModuleList(Message(channels, n_radial, normaliser) for _ in range(layers))
        self.updates = nn.ModuleList(Update(channels) for _ in range(layers))
        hidden = channels // 2
        self.readout = nn.Sequential(nn.Linear(channels, hidden), nn.SiLU(), nn.Linear(hidden, len(references)))
        self.apply(_initialise)

    def forward(self, graph: Graph) -> AtomicOutput:
        """Energies of the atoms and their final scalar features."""
        index = self.index(graph.system.numbers)
        r = graph.vectors.square().sum(1).sqrt()
        direction = graph.vectors / r[:, None]
        basis, envelope = self.radial(r), self._envelope(r)
        s = self.embedding(index)
        v = s.new_zeros(s.shape[0], 3, s.shape[1])
        for message, update in zip(self.messages, self.updates, strict=True):
            change_s, change_v = message(s, v, graph, basis, envelope, direction)
            s, v = s + change_s, v + change_v
            change_s, change_v = update(s, v)
            s, v = s + change_s, v + change_v
        head = self._head(graph)
        first, gate, last = self.readout
        hidden = gate(first(s))
        learned = last(hidden).gather(1, head[:, None])[:, 0]
        return AtomicOutput(
            self.reference(index, head) + self.scale_shift(learned, head),
            features=s,
            last_layer=self.scale_shift.scale[head, None] * torch.cat([hidden, torch.ones_like(hidden[:, :1])], 1),
        )

    def config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {
            "elements": list(self.capabilities.elements),
            "cutoff": self.cutoff,
            "channels": self.channels,
            "layers": len(self.messages),
            "n_radial": self.n_radial,
            "average_neighbours": self.average_neighbours,
            "reference_energies": self.reference.values.tolist(),
            "scale": self.scale_shift.scale.tolist(),
            "shift": self.scale_shift.shift.tolist(),
            "envelope": self.envelope,
        }

    def _envelope(self, r: Float[Tensor, " edges"]) -> Float[Tensor, " edges"]:
        if self.envelope == "cosine":
            return cosine_cutoff(r, self.cutoff)
        return polynomial_envelope(r, self.cutoff, ENVELOPE_POWER)

    def _head(self, graph: Graph) -> Int[Tensor, " atoms"]:
        system = graph.system
        return torch.zeros_like(system.batch) if system.head is None else system.head[system.batch]


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def _check_sizes(
    elements: Sequence[int],
    channels: int,
    layers: int,
    average_neighbours: float,
    references: Sequence[Sequence[float]],
) -> None:
    if not elements:
        raise SimkitError("expected at least one element, found none: give their atomic numbers")
    if min(channels, layers) < 1 or average_neighbours <= 0:
        raise SimkitError(
            "expected positive channels, layers and average_neighbours, "
            f"found {channels}, {layers} and {average_neighbours}"
        )
    if channels % 2:
        raise SimkitError(f"expected an even number of channels, found {channels}: the readout halves it")
    wrong = [len(row) for row in references if len(row) != len(elements)]
    if wrong or not references:
        raise SimkitError(f"expected {len(elements)} reference energies for each head, found {wrong or 'no head'}")
