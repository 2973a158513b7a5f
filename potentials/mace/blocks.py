"""Blocks of a MACE around the interactions: embedding and products."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from simkit.potentials.mace.contraction import SymmetricContraction
from simkit.potentials.mace.grouping import ElementGroups
from simkit.potentials.mace.interaction import Widths
from simkit.potentials.mace.linear import Linear


class NodeEmbedding(nn.Module):
    """``h_i = W[z_i]/√(elements)``: the first features of an atom depend on its element alone."""

    def __init__(self, n_elements: int, channels: int) -> None:
        super().__init__()
        self.linear = Linear((n_elements,), (channels,))
        self.shape = (n_elements, channels)

    def forward(self, index: Int[Tensor, " atoms"]) -> list[Float[Tensor, "atoms 1 channels"]]:
        """Scalars of each atom."""
        table = self.linear.weight.view(self.shape) * self.shape[0] ** -0.5
        return [table[index][:, None]]


class Product(nn.Module):
    """``h = Linear(B) + skip`` with the symmetric contraction B of the one-body features.

    Args:
        widths: sizes of the interaction before it.
        correlation: highest number of factors.
        element_weights: whether each element has its own weights.
    """

    def __init__(self, widths: Widths, correlation: int, element_weights: bool) -> None:
        super().__init__()
        self.degrees = range(len(widths.hidden))
        self.element_weights = element_weights
        n_elements = widths.n_elements if element_weights else 1
        self.symmetric_contractions = SymmetricContraction(
            widths.lmax, len(widths.hidden) - 1, correlation, widths.channels, n_elements
        )
        self.linear = Linear((widths.channels,) * len(widths.hidden), widths.hidden)

    def forward(self, one_body: list[Tensor], skip: list[Tensor] | None, groups: ElementGroups) -> list[Tensor]:
        """One-body features and skip connection -> new features of each degree."""
        products = self.symmetric_contractions(torch.cat(one_body, 1), groups if self.element_weights else None)
        features = self.linear(list(products.split([2 * degree + 1 for degree in self.degrees], 1)))
        for degree, block in enumerate(skip or []):
            features[degree] = features[degree] + block
        return features
