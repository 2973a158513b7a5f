"""Cells that change, with the atoms in them."""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from simkit.dynamics.state import MDState
from simkit.errors import SimkitError


def require_bulk(state: MDState) -> None:
    """Check that the cells of all systems can change.

    Raises:
        SimkitError: a system is not periodic along all three axes, or has fixed atoms.
    """
    system = state.system
    open_ones = torch.nonzero(~system.pbc.all(1))[:5, 0].tolist()
    if open_ones:
        raise SimkitError(
            "expected systems that are periodic along all three axes, as a pressure needs a volume; "
            f"found others (first: systems {open_ones}). Run them at constant cell"
        )
    if system.fixed is not None and bool(system.fixed.any()):
        held = torch.unique(system.batch[system.fixed])[:5].tolist()
        raise SimkitError(
            "expected systems without fixed atoms, as all atoms move with the cell; "
            f"found fixed atoms in systems {held}. Free them, or keep the cell constant"
        )


def stretched(state: MDState, factor: Float[Tensor, " systems"], momentum_factor: Float[Tensor, " systems"]) -> MDState:
    """Positions and cell multiplied by one factor for each system, momenta by another."""
    factors = factor.to(state.momenta.dtype)
    momenta = state.over_atoms(momentum_factor) * state.momenta
    positions = state.over_atoms(factors) * state.system.positions
    return replace(state.moved(positions, factors[:, None, None] * state.system.cell), momenta=momenta)


def deformed(
    state: MDState, matrix: Float[Tensor, "systems 3 3"], momentum_matrix: Float[Tensor, "systems 3 3"]
) -> MDState:
    """Positions ``x M`` and cell ``h M``, both of rows, and momenta ``p N``, for one M and N for each system."""
    matrix, momentum_matrix = matrix.to(state.momenta.dtype), momentum_matrix.to(state.momenta.dtype)
    momenta = _times(state, state.momenta, momentum_matrix)
    positions = _times(state, state.system.positions, matrix)
    return replace(state.moved(positions, state.system.cell @ matrix), momenta=momenta)


def _times(state: MDState, rows: Tensor, matrices: Tensor) -> Tensor:
    if state.n_systems == 1:
        return rows @ matrices[0]
    return (rows[:, None, :] @ matrices[state.system.batch])[:, 0]


def rotation_back(
    old: Float[Tensor, "systems 3 3"], new: Float[Tensor, "systems 3 3"], dt: Float[Tensor, " systems"]
) -> Float[Tensor, "systems 3 3"]:
    """The rotation R for which ``new R`` stands in space as ``old`` did; the identity where ``dt`` is zero.

    Any cell is ``h = L Q`` with L lower triangular with a positive diagonal and Q orthogonal. A cell stands as another
    does if their Q are the same: the first vector has the direction it had, and the second is in the plane of both.
    Strains that are symmetric matrices turn a cell a little, step by step; this takes it back.
    """
    back = _frame(new).mT @ _frame(old)
    identity = torch.eye(3, dtype=back.dtype, device=back.device)
    return torch.where((dt == 0)[:, None, None], identity, back)


def _frame(cell: Float[Tensor, "systems 3 3"]) -> Float[Tensor, "systems 3 3"]:
    columns, triangle = torch.linalg.qr(cell.mT)
    signs = torch.where(triangle.diagonal(dim1=1, dim2=2) < 0, -1.0, 1.0).to(cell.dtype)
    return signs[:, :, None] * columns.mT
