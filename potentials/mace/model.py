"""MACE: higher-order equivariant message passing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from simkit.graph import Graph
from simkit.potential import AtomicOutput, Capabilities, Potential, require_elements
from simkit.potentials.elements import ElementIndex, ReferenceEnergies
from simkit.potentials.irreps import parse_irreps
from simkit.potentials.mace.architecture import build_interaction
from simkit.potentials.mace.blocks import NodeEmbedding, Product
from simkit.potentials.mace.convolution import Edges
from simkit.potentials.mace.grouping import ElementGroups
from simkit.potentials.mace.harmonics import SphericalHarmonics
from simkit.potentials.mace.interaction import EdgeFeatures, Widths
from simkit.potentials.mace.radial_embedding import RadialEmbedding
from simkit.potentials.mace.readout import LinearReadout, NonLinearReadout
from simkit.potentials.options import DistanceTransform, Gate, Interaction, RadialBasis, Repulsion, check_mace
from simkit.potentials.scale_shift import ScaleShift
from simkit.potentials.zbl import CITATION as ZBL_CITATION
from simkit.potentials.zbl import ZBLRepulsion
from simkit.system import System

CITATIONS = (
    "I. Batatia, D. P. Kovács, G. N. C. Simm, C. Ortner, G. Csányi, Adv. Neural Inf. Process. Syst. 35 (2022), "
    "arXiv:2206.07697",
    "I. Batatia et al., Nat. Mach. Intell. 7, 56 (2025), doi:10.1038/s42256-024-00956-x",
)


class MACE(Potential):
    """Equivariant message passing with many-body messages.

    Each layer builds one-body features A_i from neighbours (convolution), products of up to ν of them (symmetric
    contraction), and ``h_i ← Linear(B_i) + skip_i``; readouts of every layer add up to ε_i. With the isolated atom's
    energy E0, ``E_i = E0[z_i] + scale · ε_i + shift``. With ``first_interaction="agnostic"`` (or "density") and no
    shift, an isolated atom has exactly E0.

    Parameters have the names, shapes and normalisations of mace-torch, so weights can be exchanged with it. Constants
    that are kept beside them: ``radial_embedding.basis.*``, ``radial_embedding.transform.*``, ``pair_repulsion.*``,
    ``products.t.symmetric_contractions.contractions.L.coupling_ν``
    (:func:`~simkit.potentials.mace.couplings.polynomial_coefficients` of mace-torch's ``U_matrix_ν``),
    ``scale_shift.scale``, ``scale_shift.shift`` (one value for each head) and ``reference_energies.values``.

    Args:
        elements: atomic numbers.
        cutoff: in Å.
        hidden_irreps: channels of each degree of the features h.
        max_ell: highest degree of the harmonics and of A.
        correlation: highest number ν of one-body features in a product, one for all layers or one for each.
        layers: number of interactions.
        radial_basis: "bessel", "gaussian" or "chebyshev".
        n_radial: number of radial functions.
        envelope_power: p of the polynomial envelope.
        distance_transform: None, "agnesi" or "soft".
        radial_mlp: widths of the hidden layers of the radial network.
        first_interaction: block of the first layer: "agnostic", "residual", "density", "density_residual" or
            "residual_nonlinear".
        interaction: block of the other layers; one with a skip connection.
        readout_mlp: hidden units of the last readout, such as "16x0e".
        gate: nonlinearity of the last readout: "silu", "tanh" or "abs".
        average_neighbours: mean number of neighbours in the training data.
        reference_energies: energies of isolated atoms in eV, for each head and element; zero if absent.
        scale: of the interaction energy, in eV; one value or one for each head.
        shift: of each atom's interaction energy, in eV; one value or one for each head.
        heads: names of the levels of theory; ``system.head`` holds their indices.
        default_head: used for systems without ``head``; the first one if absent.
        zbl: None, or nuclear repulsion "inside" or "outside" of the scale and shift.
        apply_cutoff: whether the envelope multiplies the radial basis (True) or the radial weights (False).
        edge_irreps: channels of the features that are sent along edges; as ``hidden_irreps`` if absent.
        element_weights: whether products have weights for each element (True) or shared ones (False).

    Raises:
        SimkitError: an inconsistent combination.

    Reference: I. Batatia et al., NeurIPS 2022, arXiv:2206.07697.
    """

    kind: ClassVar[str] = "mace"

    def __init__(
        self,
        *,
        elements: Sequence[int],
        cutoff: float = 5.0,
        hidden_irreps: str = "128x0e+128x1o",
        max_ell: int = 3,
        correlation: int | Sequence[int] = 3,
        layers: int = 2,
        radial_basis: RadialBasis = "bessel",
        n_radial: int = 8,
        envelope_power: int = 5,
        distance_transform: DistanceTransform | None = None,
        radial_mlp: Sequence[int] = (64, 64, 64),
        first_interaction: Interaction = "residual",
        interaction: Interaction = "residual",
        readout_mlp: str = "16x0e",
        gate: Gate = "silu",
        average_neighbours: float = 1.0,
        reference_energies: Sequence[Sequence[float]] | None = None,
        scale: float | Sequence[float] = 1.0,
        shift: float | Sequence[float] = 0.0,
        heads: Sequence[str] = ("default",),
        default_head: str | None = None,
        zbl: Repulsion | None = None,
        apply_cutoff: bool = True,
        edge_irreps: str | None = None,
        element_weights: bool = True,
    ) -> None:
        citations = CITATIONS if zbl is None else (*CITATIONS, ZBL_CITATION)
        super().__init__(Capabilities(cutoff, layers * cutoff, tuple(elements), citations=citations))
        hidden = parse_irreps(hidden_irreps)
        orders = (correlation,) * layers if isinstance(correlation, int) else tuple(correlation)
        self.architecture: dict[str, Any] = {
            "hidden_irreps": hidden_irreps,
            "max_ell": max_ell,
            "correlation": list(orders),
            "layers": layers,
            "radial_basis": radial_basis,
            "n_radial": n_radial,
            "envelope_power": envelope_power,
            "distance_transform": distance_transform,
            "radial_mlp": list(radial_mlp),
            "first_interaction": first_interaction,
            "interaction": interaction,
            "readout_mlp": readout_mlp,
            "gate": gate,
            "average_neighbours": average_neighbours,
            "heads": list(heads),
            "default_head": heads[0] if default_head is None else default_head,
            "zbl": zbl,
            "apply_cutoff": apply_cutoff,
            "edge_irreps": edge_irreps,
            "element_weights": element_weights,
        }
        check_mace(self.architecture)
        channels = hidden[0]
        self.zbl = zbl
        self.apply_cutoff = apply_cutoff
        self.default_head = self.architecture["heads"].index(self.architecture["default_head"])
        self.element_index = ElementIndex(elements)
        energies = [[0.0] * len(elements)] * len(heads) if reference_energies is None else reference_energies
        self.reference_energies = ReferenceEnergies(energies)
        self.node_embedding = NodeEmbedding(len(elements), channels)
        self.spherical_harmonics = SphericalHarmonics(max_ell)
        self.radial_embedding = RadialEmbedding(radial_basis, n_radial, cutoff, envelope_power, distance_transform)
        self.pair_repulsion = None if zbl is None else ZBLRepulsion(envelope_power)
        self.interactions = nn.ModuleList()
        self.products = nn.ModuleList()
        self.readouts = nn.ModuleList()
        for layer, order in enumerate(orders):
            inputs = (channels,) if layer == 0 else hidden
            outputs = hidden if layer < layers - 1 else (channels,)
            edges = parse_irreps(edge_irreps) if edge_irreps is not None and layer > 0 else inputs
            widths = Widths(inputs, edges, outputs, channels, max_ell, n_radial, tuple(radial_mlp), len(elements))
            name = first_interaction if layer == 0 else interaction
            self.interactions.append(build_interaction(name, widths, average_neighbours))
            self.products.append(Product(widths, order, element_weights))
            last = layer == layers - 1 and layers > 1
            width = parse_irreps(readout_mlp)[0]
            self.readouts.append(
                NonLinearReadout(channels, width, len(heads), gate) if last else LinearReadout(channels, len(heads))
            )
        self.scale_shift = ScaleShift(scale, shift, len(heads))

    def forward(self, graph: Graph) -> AtomicOutput:
        """Energy of each atom; features are the scalars of all layers, the last layer's are what readouts multiply."""
        system = graph.system
        index = self.element_index(system.numbers)
        groups = self._groups(system, index)
        head = self._heads(graph)
        edges = Edges(graph.centre, graph.neighbour, -graph.vectors).arranged(system.n_atoms)
        given, repulsion = self._edge_features(edges, system.numbers)
        features = self.node_embedding(index)
        scalars, last_layer, energies = [], [], torch.zeros_like(features[0][:, 0, 0])
        for interaction, product, readout in zip(self.interactions, self.products, self.readouts, strict=True):
            one_body, skip = interaction(features, given, groups)
            features = product(one_body, skip, groups)
            scalars.append(features[0][:, 0])
            learned, derivatives = readout(scalars[-1], head)
            energies = energies + learned
            last_layer.append(derivatives)
        if repulsion is not None and self.zbl == "inside":
            energies = energies + repulsion
        energies = self.scale_shift(energies, head)
        if repulsion is not None and self.zbl == "outside":
            energies = energies + repulsion
        return AtomicOutput(
            self.reference_energies(index, head) + energies,
            features=torch.cat(scalars, 1),
            last_layer=self.scale_shift.scale[head, None] * torch.cat(last_layer, 1),
        )

    def _groups(self, system: System, index: Int[Tensor, " atoms"]) -> ElementGroups:
        try:
            return ElementGroups(system.numbers, index, self.capabilities.elements)
        except KeyError:
            require_elements(self, system)
            raise

    def _heads(self, graph: Graph) -> Int[Tensor, " atoms"]:
        system = graph.system
        if system.head is None:
            return torch.full_like(system.batch, self.default_head)
        return system.head[system.batch]

    def _edge_features(
        self, edges: Edges, numbers: Int[Tensor, " atoms"]
    ) -> tuple[EdgeFeatures, Float[Tensor, " atoms"] | None]:
        """What the layers need to know of the edges, and the nuclear repulsion of each atom."""
        r = edges.vectors.square().sum(1).clamp(min=1e-24).sqrt()
        centre, neighbour = numbers[edges.centre], numbers[edges.neighbour]
        radial, envelope = self.radial_embedding(r, centre, neighbour)
        if edges.weight is not None:
            envelope = envelope * edges.weight[:, None]
        harmonics = self.spherical_harmonics(edges.vectors / r[:, None])
        given = (
            EdgeFeatures(edges, radial * envelope, None, harmonics)
            if self.apply_cutoff
            else EdgeFeatures(edges, radial, envelope, harmonics)
        )
        if self.pair_repulsion is None:
            return given, None
        pair = 0.5 * self.pair_repulsion(r, centre, neighbour) * (r < self.cutoff)
        if edges.weight is not None:
            pair = pair * edges.weight
        return given, pair.new_zeros(numbers.shape[0]).index_add(0, edges.centre, pair)

    def config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {
            "elements": list(self.capabilities.elements),
            "cutoff": self.cutoff,
            **self.architecture,
            "reference_energies": self.reference_energies.values.tolist(),
            "scale": self.scale_shift.scale.tolist(),
            "shift": self.scale_shift.shift.tolist(),
        }
