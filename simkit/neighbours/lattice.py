"""Lattices that are periodic along some axes only, completed to three dimensions."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from simkit.system import System


def completed_lattice(system: System) -> Float[Tensor, "systems 3 3"]:
    """The lattice with non-periodic axes replaced by unit vectors orthogonal to the periodic ones, in float64."""
    full, some = system.pbc.all(1), system.pbc.any(1)
    cell = system.cell.detach().double()
    lattice = torch.where(full[:, None, None], cell, torch.eye(3, dtype=cell.dtype, device=cell.device))
    partly = torch.nonzero(some & ~full)[:, 0]
    if partly.shape[0] == 0:
        return lattice
    known = torch.where(system.pbc[partly, :, None], cell[partly].nan_to_num(), 0)
    u, lengths, vh = torch.linalg.svd(known)
    null = (lengths <= 1e-9 * lengths.amax(1, keepdim=True)).to(cell.dtype)
    return lattice.index_copy(0, partly, known + torch.einsum("sik,sk,skj->sij", u, null, vh))


def inverse(rows: Float[Tensor, "systems 3 3"]) -> Float[Tensor, "systems 3 3"]:
    """``rows⁻¹`` by cross products: fast for many small matrices, and not finite where there is none."""
    a, b, c = rows.unbind(1)
    columns = torch.stack([b.cross(c, dim=1), c.cross(a, dim=1), a.cross(b, dim=1)], 2)
    return columns / (a * columns[:, :, 0]).sum(1)[:, None, None]


def triangular(
    rows: Float[Tensor, "systems 3 3"],
) -> tuple[Float[Tensor, "systems 3 3"], Float[Tensor, "systems 3 3"]]:
    """``rows = U Q`` with an upper triangular U of positive diagonal and orthonormal rows Q.

    Along the first direction of Q, translations by the second and third lattice vector do nothing; along the second,
    translations by the third do nothing.
    """
    third = rows[:, 2] / rows[:, 2].norm(dim=1, keepdim=True)
    second = rows[:, 1] - (rows[:, 1] * third).sum(1, keepdim=True) * third
    second = second / second.norm(dim=1, keepdim=True)
    first = second.cross(third, dim=1)
    first = first * (rows[:, 0] * first).sum(1, keepdim=True).sign()
    directions = torch.stack([first, second, third], 1)
    return (rows @ directions.mT).triu(), directions
