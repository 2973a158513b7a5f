"""The cell as a variable: the logarithm of its deformation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from simkit.errors import SimkitError
from simkit.voigt import VOIGT

SQUARINGS, ORDER = 4, 13


@dataclass(frozen=True)
class CellFilter:
    """Relax the cell together with the atoms, as ASE's FrechetCellFilter does.

    With the first cell ``h₀`` and the deformation gradient F, ``cell = h₀ Fᵀ`` and ``x = X Fᵀ``. The variables are the
    positions ``X`` in the undeformed cell and the rows of ``N log F``, where N is the number of atoms. The forces on
    them are the exact derivatives, through the Fréchet derivative of the matrix exponential, projected on the
    components of ``log F`` that may change.

    Attributes:
        pressure: in eV/Å³; minima are those of the enthalpy ``E + p V``.
        mask: components that may change: xx, yy, zz, yz, xz, xy.
        hydrostatic: keep the shape of the cell, relax its volume.
        constant_volume: keep the volume of the cell, relax its shape.

    Raises:
        SimkitError: nothing of the cell may change.
    """

    pressure: float = 0.0
    mask: tuple[bool, bool, bool, bool, bool, bool] = (True,) * 6
    hydrostatic: bool = False
    constant_volume: bool = False

    def __post_init__(self) -> None:
        if (self.hydrostatic and self.constant_volume) or not any(self.mask):
            raise SimkitError(
                "expected a cell that may change: choose hydrostatic or constant_volume, not both, and at least one "
                "component in the mask"
            )

    def forces(
        self,
        virial: Float[Tensor, "systems 3 3"],
        volume: Float[Tensor, " systems"],
        logarithm: Float[Tensor, "systems 3 3"],
    ) -> Float[Tensor, "systems 3 3"]:
        """Negative derivative of the enthalpy with respect to ``log F``, in eV.

        Args:
            virial: ``-∂E/∂ε`` in eV.
            volume: of the present cell, in Å³.
            logarithm: ``log F``.
        """
        identity = torch.eye(3, dtype=virial.dtype, device=virial.device)
        virial = virial - (self.pressure * volume)[:, None, None] * identity
        gradient = exponential(logarithm)
        forces = frechet_adjoint(logarithm, torch.linalg.solve(gradient.mT, virial, left=False))
        mean = forces.diagonal(dim1=1, dim2=2).mean(1)[:, None, None] * identity
        if self.hydrostatic:
            forces = mean
        if self.constant_volume:
            forces = forces - mean
        return torch.where(self._free(forces), forces, 0)

    def _free(self, like: Tensor) -> Bool[Tensor, "3 3"]:
        free = torch.zeros(3, 3, dtype=torch.bool, device=like.device)
        for (i, j), may_change in zip(VOIGT, self.mask, strict=True):
            free[i, j] = free[j, i] = may_change
        return free


def frechet_adjoint(
    matrix: Float[Tensor, "systems 3 3"], gradient: Float[Tensor, "systems 3 3"]
) -> Float[Tensor, "systems 3 3"]:
    """``∂f/∂A`` of ``f(exp A)`` from ``∂f/∂(exp A)``: the Fréchet derivative of exp at Aᵀ in that direction.

    It is block (1, 2) of the exponential of ``[[Aᵀ, G], [0, Aᵀ]]``.

    Reference: N. J. Higham, Functions of Matrices, SIAM (2008), eq. (10.43), doi:10.1137/1.9780898717778.
    """
    above = torch.cat([matrix.mT, gradient], 2)
    below = torch.cat([torch.zeros_like(matrix), matrix.mT], 2)
    return exponential(torch.cat([above, below], 1))[:, :3, 3:]


def exponential(matrix: Float[Tensor, "systems n n"]) -> Float[Tensor, "systems n n"]:
    """``exp A`` by Taylor's series of ``A / 2^s``, squared s times; to rounding for norms up to 3.

    The same operations whatever is in the batch, so that a matrix does not depend on the others.
    """
    scaled = matrix / 2**SQUARINGS
    identity = torch.eye(matrix.shape[1], dtype=matrix.dtype, device=matrix.device).expand_as(matrix)
    result = identity
    for order in range(ORDER, 0, -1):
        result = torch.baddbmm(identity, scaled, result, alpha=1 / order)
    for _ in range(SQUARINGS):
        result = result @ result
    return result
