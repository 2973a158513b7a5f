"""Spherical harmonics of the directions of edges."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from simkit.potentials.constants import Constants
from simkit.potentials.mace.clebsch_gordan import clebsch_gordan


class SphericalHarmonics(Constants):
    """Real spherical harmonics of degrees 0 ... lmax with ``Σ_m Y_lm² = 2l + 1``; the polar axis is y.

    They are built by ``Y_{l+1} ∝ Y_l ⊗ r̂``, polynomials of the direction, so derivatives of any order exist.

    Args:
        lmax: highest degree.
    """

    def __init__(self, lmax: int) -> None:
        super().__init__()
        self.lmax = lmax
        for degree in range(1, lmax):
            self.register_constant(f"raising_{degree}", _raising(degree), persistent=False)

    def forward(self, unit: Float[Tensor, "edges 3"]) -> Float[Tensor, "edges components"]:
        """Unit vectors -> harmonics, degree after degree, m = -l ... l within each."""
        values = [torch.ones_like(unit[:, :1])]
        if self.lmax > 0:
            values.append(3**0.5 * unit)
        for degree in range(1, self.lmax):
            products = (values[-1][:, :, None] * unit[:, None, :]).flatten(1)
            values.append(products @ self.get_buffer(f"raising_{degree}"))
        return torch.cat(values, 1)


def _raising(degree: int) -> Float[Tensor, "products components"]:
    """Table of ``Y_{l+1} = (Y_l ⊗ r̂) @ table``, normalised at the pole, where the middle component is ``√(2l+1)``."""
    table = clebsch_gordan(degree, 1, degree + 1)
    at_pole = table[degree, 1, degree + 1] * (2 * degree + 1) ** 0.5
    return (table * ((2 * degree + 3) ** 0.5 / at_pole)).flatten(0, 1)
