"""The symmetric contraction: many-body features from products of one-body features."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from simkit.potentials.constants import Constants
from simkit.potentials.kernels import kernels_apply
from simkit.potentials.kernels.contraction import FACTORS, fused_contraction, make_terms
from simkit.potentials.mace.couplings import full_couplings, monomials, polynomial_coefficients, recursion
from simkit.potentials.mace.grouping import ElementGroups


class Contraction(Constants):
    """Weights and couplings of the products that have degree ``degree``.

    Parameters: ``weights_max`` for products of ``correlation`` factors, then ``weights.0`` for one factor less, and so
    on, each (elements, couplings, channels). Buffers: ``coupling_1``, ``coupling_2``, ... as
    :func:`~simkit.potentials.mace.couplings.polynomial_coefficients` gives them.

    Args:
        lmax: highest degree of the factors.
        degree: degree of the products.
        correlation: highest number of factors ν.
        channels: number of channels.
        n_elements: number of elements.
    """

    def __init__(self, lmax: int, degree: int, correlation: int, channels: int, n_elements: int) -> None:
        super().__init__()
        self.correlation = correlation
        self.nonzero: dict[int, Tensor] = {}
        weights = []
        for order in range(correlation, 0, -1):
            coupling = polynomial_coefficients(full_couplings(lmax, order, degree))
            self.register_constant(f"coupling_{order}", coupling)
            self.nonzero[order] = torch.nonzero((coupling.abs() > 1e-12).any(0).flatten())[:, 0]
            paths = coupling.shape[0]
            weights.append(nn.Parameter(torch.randn(n_elements, paths, channels) / paths))
        self.weights_max, *rest = weights
        self.weights = nn.ParameterList(rest)

    def coefficients(self, element: int) -> list[Float[Tensor, "channels products monomials"]]:
        """Coefficients of one element for products of 1, 2, ... factors; rows run over (component, last factor)."""
        result = []
        for weight, coupling, _ in self._orders():
            mixed = weight[element].mT @ coupling.flatten(1)
            result.append(mixed.view(-1, coupling.shape[1] * coupling.shape[2], coupling.shape[3]))
        return result

    def nonzero_coefficients(self, elements: Int[Tensor, " present"]) -> Float[Tensor, "present terms channels"]:
        """Those coefficients of some elements that do not vanish, in the order of :meth:`products`."""
        return torch.cat(
            [coupling.flatten(1)[:, nonzero].mT @ weight[elements] for weight, coupling, nonzero in self._orders()], 1
        )

    def products(self) -> list[tuple[tuple[int, ...], int]]:
        """Factors and component of each coefficient that does not vanish."""
        found = []
        for order, (_, coupling, nonzero) in enumerate(self._orders(), 1):
            size, lower = coupling.shape[2], monomials(coupling.shape[2], order - 1)
            for place in nonzero.tolist():
                rest, first = divmod(place, len(lower))
                found.append(((*lower[first], rest % size), rest // size))
        return found

    def _orders(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Weights, couplings and places of couplings that do not vanish, for products of 1, 2, ... factors."""
        for order in range(1, self.correlation + 1):
            weight = self.weights_max if order == self.correlation else self.weights[self.correlation - 1 - order]
            yield weight, self.get_buffer(f"coupling_{order}"), self.nonzero[order]


class SymmetricContraction(nn.Module):
    """``B_{i,LM} = Σ_ν Σ_η W^{(ν)}_{z_i,ηLC} Σ_{lm} C^{LM}_{η,lm} Π_ξ A_{i,l_ξ m_ξ C}``, ν = 1 ... correlation.

    Args:
        lmax: highest degree of A.
        degrees: highest degree L of B.
        correlation: highest number of factors ν.
        channels: number of channels.
        n_elements: number of elements; 1 shares the weights among all.

    Reference: I. Batatia et al., NeurIPS 2022, arXiv:2206.07697, eqs. 10 and 11.
    """

    def __init__(self, lmax: int, degrees: int, correlation: int, channels: int, n_elements: int) -> None:
        super().__init__()
        self.contractions = nn.ModuleList(
            Contraction(lmax, degree, correlation, channels, n_elements) for degree in range(degrees + 1)
        )
        for order in range(2, correlation):
            parent, last = recursion((lmax + 1) ** 2, order)
            self.register_buffer(f"parent_{order}", parent, persistent=False)
            self.register_buffer(f"last_{order}", last, persistent=False)
        self.correlation = correlation
        self.outputs = (degrees + 1) ** 2
        if correlation <= FACTORS:
            products = [
                (factors, degree**2 + component)
                for degree, part in enumerate(self.contractions)
                for factors, component in part.products()  # type: ignore[operator]
            ]
            self.terms = make_terms(products, (lmax + 1) ** 2)

    def forward(
        self, features: Float[Tensor, "atoms components channels"], groups: ElementGroups | None
    ) -> Float[Tensor, "atoms products channels"]:
        """Products of degree 0, 1, ... one after the other; without groups all atoms use the first weights."""
        if self.correlation <= FACTORS and kernels_apply(features):
            return self._fused(features, groups)
        steps = [(self.get_buffer(f"parent_{n}"), self.get_buffer(f"last_{n}")) for n in range(2, self.correlation)]

        def of_element(rows: Tensor, element: int) -> Tensor:
            coefficients = [part.coefficients(element) for part in self.contractions]  # type: ignore[operator]
            return symmetric_contraction(rows, coefficients, steps)

        return of_element(features, 0) if groups is None else groups.apply(of_element, features)

    def _fused(self, features: Tensor, groups: ElementGroups | None) -> Tensor:
        present, element = (
            (torch.zeros(1, dtype=torch.int64), torch.zeros(features.shape[0], dtype=torch.int64))
            if groups is None
            else groups.places()
        )
        parts = [part.nonzero_coefficients(present) for part in self.contractions]  # type: ignore[operator]
        return fused_contraction(features, torch.cat(parts, 1), element, self.terms, self.outputs)


def symmetric_contraction(
    features: Float[Tensor, "atoms components channels"],
    coefficients: Sequence[Sequence[Float[Tensor, "channels _ _"]]],
    steps: Sequence[tuple[Tensor, Tensor]],
) -> Float[Tensor, "atoms products channels"]:
    """Evaluate polynomials of each atom's and channel's components, whose coefficients all atoms share.

    The monomials of degree below ν are built once; one matrix product per degree leaves a vector over the last factor.

    Args:
        features: components A of each atom and channel.
        coefficients: for each output degree, for ν = 1, 2, ...: coefficients with rows (output component, last factor).
        steps: indices (parent, last factor) that build the monomials of degree 2, 3, ... from those of one less.
    """
    atoms, size, channels = features.shape
    x = contiguous(features.permute(2, 1, 0))  # channels, components, atoms
    powers = [x]
    for parent, last in steps:
        powers.append(powers[-1].index_select(1, parent) * x.index_select(1, last))
    outputs = []
    for linear, *higher in coefficients:
        partial = linear.expand(-1, -1, atoms)
        for coefficient, power in zip(higher, powers, strict=False):
            partial = torch.baddbmm(partial, coefficient, power)
        outputs.append((partial.view(channels, linear.shape[1] // size, size, atoms) * x[:, None]).sum(2))
    return contiguous(torch.cat(outputs, 1)).permute(2, 1, 0)


def contiguous(x: Tensor) -> Tensor:
    """``x`` in row-major order, and so all its derivatives: batched products copy what has no unit stride.

    ``torch.compile`` arranges the memory of derivatives itself.
    """
    return x.contiguous() if torch.compiler.is_compiling() else _Contiguous.apply(x)


class _Contiguous(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x.contiguous()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return contiguous(gradient)

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor) -> Tensor:
        return contiguous(tangent)
