"""Interaction blocks: from features of the neighbours to one-body features A of each atom."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from simkit.potentials.constants import Constants
from simkit.potentials.irreps import coupling_paths
from simkit.potentials.kernels.convolution import path_layout
from simkit.potentials.mace.convolution import Edges, convolution, coupling_table
from simkit.potentials.mace.grouping import ElementGroups
from simkit.potentials.mace.linear import (
    SIGMOID_NORM,
    SILU_NORM,
    ElementLinear,
    Linear,
    NormalisedNetwork,
    RadialNetwork,
)


class EdgeFeatures(NamedTuple):
    """What depends on each edge alone.

    Attributes:
        edges: which atoms are connected.
        radial: radial basis, already multiplied by the envelope unless ``envelope`` is given.
        envelope: falls to zero at the cutoff; multiplies radial weights and density if it is not in ``radial``.
        harmonics: spherical harmonics of the direction from sender to receiver.
    """

    edges: Edges
    radial: Float[Tensor, "edges radial"]
    envelope: Float[Tensor, "edges 1"] | None
    harmonics: Float[Tensor, "edges harmonics"]


class Widths(NamedTuple):
    """Sizes of an interaction block.

    Attributes:
        inputs: channels of each degree of the incoming features.
        edges: channels of each degree of the features that are sent along edges, all equal.
        hidden: channels of each degree of the outgoing features (skip connection).
        channels: channels of A.
        lmax: highest degree of A and of the harmonics.
        radial: number of radial functions.
        radial_mlp: hidden layers of the radial network.
        n_elements: number of elements.
    """

    inputs: tuple[int, ...]
    edges: tuple[int, ...]
    hidden: tuple[int, ...]
    channels: int
    lmax: int
    radial: int
    radial_mlp: tuple[int, ...]
    n_elements: int


class Convolution(Constants):
    """Paths, their coupling table and the channels of the message of each degree."""

    table: Tensor

    def __init__(self, widths: Widths) -> None:
        super().__init__()
        self.channels = widths.edges[0]
        self.paths = coupling_paths(len(widths.edges) - 1, widths.lmax, widths.lmax)
        self.register_constant("table", coupling_table(self.paths, widths.lmax), persistent=False)
        self.layout = path_layout(self.paths)

    @property
    def outputs(self) -> list[int]:
        """Channels of each degree: number of paths times channels."""
        degrees = [path.l3 for path in self.paths]
        return [self.channels * degrees.count(degree) for degree in range(max(degrees) + 1)]

    @property
    def n_weights(self) -> int:
        """Radial weights of each edge."""
        return len(self.paths) * self.channels

    def forward(self, features: list[Tensor], weights: tuple[Tensor, Tensor], given: EdgeFeatures) -> list[Tensor]:
        """Messages of each degree, summed over neighbours; ``weights`` are the factors (hidden, matrix) of w."""
        hidden, matrix = _enveloped(weights[0], given), weights[1]
        return convolution(features, hidden, matrix, given.harmonics, given.edges, self.paths, self.table, self.layout)


class Interaction(nn.Module):
    """``A_i = Linear(Σ_j w(r_ij) Y(r̂_ij) ⊗ Linear(h_j)) / norm_i``.

    The norm is the average number of neighbours, or ``1 + Σ_j tanh(d(r_ij)²)`` with a learned d (density). A residual
    block also returns an element-dependent linear map of h_i as skip connection; another one applies such a map to A.

    Args:
        widths: sizes.
        residual: whether there is a skip connection.
        density: whether the learned density normalises.
        average_neighbours: norm of blocks without density.
    """

    def __init__(self, widths: Widths, residual: bool, density: bool, average_neighbours: float) -> None:
        super().__init__()
        target = (widths.channels,) * (widths.lmax + 1)
        self.residual = residual
        self.average_neighbours = average_neighbours
        self.linear_up = Linear(widths.inputs, widths.edges)
        self.convolution = Convolution(widths)
        self.conv_tp_weights = RadialNetwork((widths.radial, *widths.radial_mlp, self.convolution.n_weights))
        self.linear = Linear(self.convolution.outputs, target)
        skip = (widths.inputs, widths.hidden) if residual else (target, target)
        self.skip_tp = ElementLinear(*skip, widths.n_elements)
        self.density_fn = RadialNetwork((widths.radial, 1)) if density else None

    def forward(
        self, features: list[Tensor], given: EdgeFeatures, groups: ElementGroups
    ) -> tuple[list[Tensor], list[Tensor] | None]:
        """One-body features of each degree, and the skip connection if there is one."""
        weights = self.conv_tp_weights.factors(given.radial)
        message = self.linear(self.convolution(self.linear_up(features), weights, given))
        if self.density_fn is None:
            message = [block / self.average_neighbours for block in message]
        else:
            density = torch.tanh(self.density_fn(given.radial) ** 2)
            norm = 1 + _sum_edges(_enveloped(density, given), given, message[0].shape[0])
            message = [block / norm[:, :, None] for block in message]
        if self.residual:
            return message, self.skip_tp(features, groups)
        return self.skip_tp(message, groups), None


class NonLinearInteraction(nn.Module):
    """Residual block with a gate, whose radial weights also depend on the elements of both ends.

    ``A = Linear(Gate(Linear(m)/(α + β·density) + Linear(h)))``; the scalars pass through silu and the other degrees are
    multiplied by the logistic function of further scalars.

    Args:
        widths: sizes.
    """

    def __init__(self, widths: Widths) -> None:
        super().__init__()
        scalars, degrees = widths.inputs[0], widths.lmax + 1
        target = (widths.channels,) * degrees
        gated = (widths.channels * degrees, *target[1:])
        self.channels = widths.channels
        self.source_embedding = Linear((widths.n_elements,), (scalars,))
        self.target_embedding = Linear((widths.n_elements,), (scalars,))
        for embedding in (self.source_embedding, self.target_embedding):
            nn.init.uniform_(embedding.weight, -0.001, 0.001)
        self.linear_up = Linear(widths.inputs, widths.edges)
        self.convolution = Convolution(widths)
        inputs = widths.radial + 2 * scalars
        self.conv_tp_weights = NormalisedNetwork((inputs, *widths.radial_mlp, self.convolution.n_weights))
        self.skip_tp = Linear(widths.inputs, widths.hidden)
        self.linear_res = Linear(widths.edges, gated)
        self.linear_1 = Linear(self.convolution.outputs, gated)
        self.linear_2 = Linear(target, target)
        self.density_fn = NormalisedNetwork((inputs, 64, 1))
        self.alpha = nn.Parameter(torch.tensor(20.0))
        self.beta = nn.Parameter(torch.tensor(0.0))

    def forward(
        self, features: list[Tensor], given: EdgeFeatures, groups: ElementGroups
    ) -> tuple[list[Tensor], list[Tensor] | None]:
        """One-body features of each degree, and the skip connection."""
        sent = self.linear_up(features)
        inputs = torch.cat([given.radial, *self._element_features(given.edges, groups)], 1)
        weights = self.conv_tp_weights.factors(inputs)
        density = _enveloped(torch.tanh(self.density_fn(inputs) ** 2), given)
        norm = self.alpha + self.beta * _sum_edges(density, given, features[0].shape[0])
        message = self.linear_1(self.convolution(sent, weights, given))
        message = [block / norm[:, :, None] for block in message]
        for degree, block in enumerate(self.linear_res(sent)):
            message[degree] = message[degree] + block
        return self.linear_2(self._gated(message)), self.skip_tp(features)

    def _element_features(self, edges: Edges, groups: ElementGroups) -> tuple[Tensor, Tensor]:
        unit = torch.eye(groups.n_elements, dtype=edges.vectors.dtype, device=edges.vectors.device)
        source, target = self.source_embedding([unit])[0], self.target_embedding([unit])[0]
        return source[groups.index[edges.neighbour]], target[groups.index[edges.centre]]

    def _gated(self, message: Sequence[Tensor]) -> list[Tensor]:
        scalars, *gates = message[0].split(self.channels, 2)
        result = [SILU_NORM * functional.silu(scalars)]
        for gate, block in zip(gates, message[1:], strict=True):
            result.append(SIGMOID_NORM * torch.sigmoid(gate) * block)
        return result


def _enveloped(values: Tensor, given: EdgeFeatures) -> Tensor:
    return values if given.envelope is None else values * given.envelope


def _sum_edges(values: Float[Tensor, "edges 1"], given: EdgeFeatures, n_atoms: int) -> Float[Tensor, "atoms 1"]:
    return values.new_zeros(n_atoms, 1).index_add(0, given.edges.centre, values)
