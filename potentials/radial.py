"""Radial bases and transforms of distances, shared by the learned potentials."""

from __future__ import annotations

import math

import torch
from ase.data import covalent_radii
from jaxtyping import Float, Int
from torch import Tensor, nn

from simkit.errors import SimkitError
from simkit.potentials.constants import Constants


class BesselBasis(Constants):
    """``b_n(x) = √(2/r_c) · sin(nπx/r_c)/x`` for n = 1 ... size; finite at x = 0.

    Args:
        cutoff: r_c in Å.
        size: number of functions.

    Reference: J. Gasteiger, J. Groß, S. Günnemann, ICLR 2020, arXiv:2003.03123, eq. 7.
    """

    frequencies: Tensor
    prefactor: Tensor

    def __init__(self, cutoff: float, size: int) -> None:
        super().__init__()
        frequencies = torch.arange(1, size + 1, dtype=torch.float64) * math.pi / cutoff
        self.register_constant("frequencies", frequencies)
        self.register_constant("prefactor", torch.tensor(math.sqrt(2 / cutoff), dtype=torch.float64))

    def forward(self, x: Float[Tensor, " edges"]) -> Float[Tensor, "edges size"]:
        """Distances (Å, or transformed) -> values of the basis."""
        return self.prefactor * self.frequencies * torch.sinc(x[:, None] * (self.frequencies / math.pi))


class GaussianBasis(Constants):
    """``exp(-(x - μ_n)²/(2Δ²))`` with centres μ evenly spaced by Δ from 0 to the cutoff.

    Args:
        cutoff: last centre in Å.
        size: number of functions, at least 2.
    """

    centres: Tensor

    def __init__(self, cutoff: float, size: int) -> None:
        super().__init__()
        if size < 2:
            raise SimkitError(f"expected at least 2 Gaussians, found {size}: increase the number of radial functions")
        self.register_constant("centres", torch.linspace(0, cutoff, size, dtype=torch.float64))
        self.coefficient = -0.5 * ((size - 1) / cutoff) ** 2

    def forward(self, x: Float[Tensor, " edges"]) -> Float[Tensor, "edges size"]:
        """Distances (Å, or transformed) -> values of the basis."""
        return torch.exp(self.coefficient * (x[:, None] - self.centres) ** 2)


class ChebyshevBasis(nn.Module):
    """Chebyshev polynomials of the first kind ``T_n(x)`` for n = 1 ... size.

    They are bounded for x in [-1, 1] alone, so distances should be transformed first (Agnesi).
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Float[Tensor, " edges"]) -> Float[Tensor, "edges size"]:
        """Transformed distances -> values of the basis, by ``T_{n+1} = 2xT_n - T_{n-1}``."""
        values = [torch.ones_like(x), x]
        while len(values) <= self.size:
            values.append(2 * x * values[-1] - values[-2])
        return torch.stack(values[1 : self.size + 1], 1)


class AgnesiTransform(Constants):
    """``y = [1 + a·t^q/(1 + t^{q-p})]⁻¹`` with ``t = 2r/(ρ_i + ρ_j)`` and covalent radii ρ: from 1 at r = 0 to 0.

    Reference: W. C. Witt et al., J. Chem. Phys. 159, 164101 (2023), doi:10.1063/5.0158783.
    """

    radii: Tensor
    a: Tensor
    q: Tensor
    p: Tensor

    def __init__(self, a: float = 1.0805, q: float = 0.9183, p: float = 4.5791) -> None:
        super().__init__()
        for name, value in (("a", a), ("q", q), ("p", p)):
            self.register_constant(name, torch.tensor(value, dtype=torch.float64))
        self.register_constant("radii", covalent_radius_table())

    def forward(
        self, r: Float[Tensor, " edges"], centre: Int[Tensor, " edges"], neighbour: Int[Tensor, " edges"]
    ) -> Float[Tensor, " edges"]:
        """Distances (Å) and the atomic numbers of both ends -> transformed distances in (0, 1]."""
        t = 2 * r / (self.radii[centre] + self.radii[neighbour])
        return 1 / (1 + self.a * t**self.q / (1 + t ** (self.q - self.p)))


class SoftTransform(Constants):
    """``y = p + (r - p)·½[1 + tanh(α(r - m)/(b - p))]``: r where atoms bond and beyond, constant where they overlap.

    ``p = ¾R`` and ``b = 4/3·R`` with ``R = ρ_i + ρ_j`` the sum of covalent radii, and ``m = (p + b)/2``.

    Args:
        steepness: α.
    """

    radii: Tensor
    steepness: Tensor

    def __init__(self, steepness: float = 4.0) -> None:
        super().__init__()
        self.register_constant("steepness", torch.tensor(steepness, dtype=torch.float64))
        self.register_constant("radii", covalent_radius_table())

    def forward(
        self, r: Float[Tensor, " edges"], centre: Int[Tensor, " edges"], neighbour: Int[Tensor, " edges"]
    ) -> Float[Tensor, " edges"]:
        """Distances (Å) and the atomic numbers of both ends -> transformed distances (Å)."""
        bond = self.radii[centre] + self.radii[neighbour]
        inner, outer = 3 / 4 * bond, 4 / 3 * bond
        switch = 0.5 * (1 + torch.tanh(self.steepness / (outer - inner) * (r - 0.5 * (inner + outer))))
        return inner + (r - inner) * switch


def covalent_radius_table() -> Float[Tensor, " numbers"]:
    """Covalent radii in Å by atomic number (B. Cordero et al., Dalton Trans. 2832 (2008), doi:10.1039/b801115j)."""
    return torch.as_tensor(covalent_radii, dtype=torch.float64)


def radial_basis(name: str, cutoff: float, size: int) -> BesselBasis | GaussianBasis | ChebyshevBasis:
    """A basis by its name.

    Raises:
        SimkitError: an unknown name.
    """
    if name == "bessel":
        return BesselBasis(cutoff, size)
    if name == "gaussian":
        return GaussianBasis(cutoff, size)
    if name == "chebyshev":
        return ChebyshevBasis(size)
    raise SimkitError(f"expected a radial basis among bessel, gaussian, chebyshev; found {name!r}")


def distance_transform(name: str) -> AgnesiTransform | SoftTransform:
    """A transform of distances by its name.

    Raises:
        SimkitError: an unknown name.
    """
    if name == "agnesi":
        return AgnesiTransform()
    if name == "soft":
        return SoftTransform()
    raise SimkitError(f"expected a distance transform among agnesi, soft or none; found {name!r}")
