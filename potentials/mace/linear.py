"""Linear maps of equivariant features and networks of scalars, with the normalisations of e3nn.

Features are lists over the degree l of tensors ``atoms (2l+1) channels``: channels are innermost, so that every map
below is one matrix product.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from functools import partial
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from simkit.potentials.mace.grouping import ElementGroups

SILU_NORM = 1.6791767923989418
"""``⟨silu(z)²⟩^(-1/2)`` over normal z, as e3nn samples it: activations keep unit second moments."""

SIGMOID_NORM = 1.8467055342154763
"""The same for the logistic function."""


class Linear(nn.Module):
    """``y_l = x_l W_l/√(channels in)`` for each degree that both sides have.

    The weights are one flat parameter: for each degree, a matrix (in, out) in row-major order.

    Args:
        inputs: channels of each degree.
        outputs: channels of each degree.
    """

    def __init__(self, inputs: Sequence[int], outputs: Sequence[int]) -> None:
        super().__init__()
        self.shapes = list(zip(inputs, outputs, strict=False))
        self.weight = nn.Parameter(torch.randn(sum(a * b for a, b in self.shapes)))

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        """Map each degree; degrees beyond the last common one are dropped."""
        matrices = self.weight.split([a * b for a, b in self.shapes])
        return [x @ (w.view(a, b) * a**-0.5) for x, w, (a, b) in zip(features, matrices, self.shapes, strict=False)]


class ElementLinear(nn.Module):
    """``y_l = x_l W_{l,z}/√(channels in · elements)``: a linear map for each element z.

    The weights are one flat parameter: for each degree, an array (in, elements, out).

    Args:
        inputs: channels of each degree.
        outputs: channels of each degree.
        n_elements: number of elements.
    """

    def __init__(self, inputs: Sequence[int], outputs: Sequence[int], n_elements: int) -> None:
        super().__init__()
        self.shapes = [(a, n_elements, b) for a, b in zip(inputs, outputs, strict=False)]
        self.weight = nn.Parameter(torch.randn(sum(a * z * b for a, z, b in self.shapes)))

    def forward(self, features: list[Tensor], groups: ElementGroups) -> list[Tensor]:
        """Map each degree with the matrices of each atom's element."""
        outputs = []
        for x, matrices, (a, z, _) in zip(features, self.by_element(), self.shapes, strict=False):
            scaled = matrices * (a * z) ** -0.5
            outputs.append(groups.apply(partial(_product, scaled), x))
        return outputs

    def by_element(self) -> list[Float[Tensor, "elements inputs outputs"]]:
        """The matrices of each degree, not normalised."""
        arrays = self.weight.split([a * z * b for a, z, b in self.shapes])
        return [array.view(shape).transpose(0, 1) for array, shape in zip(arrays, self.shapes, strict=True)]


def _product(matrices: Tensor, rows: Tensor, element: int) -> Tensor:
    return rows @ matrices[element]


class RadialNetwork(nn.Sequential):
    """Perceptron without biases: ``x → c·silu(x W/√in)`` for each hidden layer, ``x W/√in`` for the last; 0 → 0.

    Args:
        widths: of the input, of each hidden layer and of the output.
    """

    def __init__(self, widths: Sequence[int]) -> None:
        last = len(widths) - 2
        layers = [_Layer(a, b, index < last) for index, (a, b) in enumerate(pairwise(widths))]
        super().__init__(OrderedDict((f"layer{index}", layer) for index, layer in enumerate(layers)))

    def factors(
        self, x: Float[Tensor, "edges inputs"]
    ) -> tuple[Float[Tensor, "edges hidden"], Float[Tensor, "hidden outputs"]]:
        """Two matrices whose product is the output: the values before the last layer, and that layer."""
        for layer in list(self)[:-1]:
            x = layer(x)
        last = self[-1]
        assert isinstance(last, _Layer)
        return x, last.matrix


class _Layer(nn.Module):
    def __init__(self, inputs: int, outputs: int, activated: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(inputs, outputs))
        self.activated = activated

    @property
    def matrix(self) -> Float[Tensor, "inputs outputs"]:
        return self.weight * self.weight.shape[0] ** -0.5

    def forward(self, x: Float[Tensor, "edges inputs"]) -> Float[Tensor, "edges outputs"]:
        x = x @ self.matrix
        return functional.silu(x) * SILU_NORM if self.activated else x


class NormalisedNetwork(nn.Module):
    """Perceptron with biases and layer normalisation: ``x → silu(LayerNorm(x W + b))``, last layer ``x W + b``.

    Args:
        widths: of the input, of each hidden layer and of the output.
    """

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for a, b in pairwise(widths):
            layers += [nn.Linear(a, b), nn.LayerNorm(b), nn.SiLU()]
        self.net = nn.Sequential(*layers[:-2])

    def forward(self, x: Float[Tensor, "edges inputs"]) -> Float[Tensor, "edges outputs"]:
        """Values for each edge."""
        return self.net(x)

    def factors(
        self, x: Float[Tensor, "edges inputs"]
    ) -> tuple[Float[Tensor, "edges hidden"], Float[Tensor, "hidden outputs"]]:
        """Two matrices whose product is the output: the values before the last layer and ones, that layer and bias."""
        for layer in list(self.net)[:-1]:
            x = layer(x)
        last = self.net[-1]
        assert isinstance(last, nn.Linear)
        return torch.cat([x, torch.ones_like(x[:, :1])], 1), torch.cat([last.weight.mT, last.bias[None]])
