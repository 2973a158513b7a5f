"""Generalised Clebsch-Gordan coefficients: how products of ν features couple to an irreducible representation."""

from __future__ import annotations

from functools import cache
from itertools import combinations_with_replacement

import torch
from jaxtyping import Float
from torch import Tensor

from simkit.potentials.mace.clebsch_gordan import clebsch_gordan

Irrep = tuple[int, int]
"""Degree and parity."""


@cache
def _chains(lmax: int, order: int, natural: bool) -> list[tuple[Irrep, Tensor]]:
    """All chains of couplings ((l_1 l_2) l_3) ... of ``order`` factors, sorted by irrep (stably)."""
    size = (lmax + 1) ** 2
    if order == 1:
        unit = torch.eye(size, dtype=torch.float64)
        return [((degree, (-1) ** degree), unit[degree**2 : (degree + 1) ** 2]) for degree in range(lmax + 1)]
    chains = []
    for (left, parity), table in _chains(lmax, order - 1, natural):
        for right in range(lmax + 1):
            for degree in range(abs(left - right), left + right + 1):
                irrep = (degree, parity * (-1) ** right)
                if natural and irrep[1] != (-1) ** degree:
                    continue
                coupled = torch.einsum("a...,abc->c...b", table, clebsch_gordan(left, right, degree))
                full = table.new_zeros(*coupled.shape[:-1], size)
                full[..., right**2 : (right + 1) ** 2] = coupled
                chains.append((irrep, full))
    return sorted(chains, key=lambda chain: chain[0])


def full_couplings(lmax: int, order: int, degree: int) -> Tensor:
    """Couplings of ``order`` factors of degrees 0 ... lmax to ``degree``, natural parity, one for each chain.

    Shape: (2·degree + 1, n, ..., n, chains) with n = (lmax + 1)² once for each factor, in float64. The chains are not
    symmetric under exchange of factors, and more than the independent symmetric ones; trained weights refer to them in
    this order. From order 4 on, intermediate irreps have natural parity.

    Reference: I. Batatia et al., NeurIPS 2022, arXiv:2206.07697, eq. 10.
    """
    wanted = (degree, (-1) ** degree)
    return torch.stack([table for irrep, table in _chains(lmax, order, order >= 4) if irrep == wanted], -1)


@cache
def monomials(size: int, order: int) -> list[tuple[int, ...]]:
    """Non-decreasing tuples of ``order`` indices below ``size``: the distinct products of components."""
    return list(combinations_with_replacement(range(size), order))


def polynomial_coefficients(couplings: Tensor) -> Float[Tensor, "chains components size monomials"]:
    """Couplings as coefficients of distinct monomials, each written as (its first ν-1 factors) × (its last factor).

    Args:
        couplings: (2L+1, n, ..., n, chains) with ν factors, as :func:`full_couplings` returns; only their part that is
            symmetric under exchange of factors matters.

    Returns:
        The coefficient of ``x_last · monomials(n, ν - 1)[k]`` at [chain, component, last, k]; zero wherever the last
        factor is smaller than another.
    """
    order = couplings.dim() - 2
    size = couplings.shape[1]
    grid = torch.cartesian_prod(*[torch.arange(size)] * order).view(-1, order).sort(dim=1).values
    place = {tuple(indices): k for k, indices in enumerate(monomials(size, order - 1))}
    rank = torch.tensor([place[tuple(indices)] for indices in grid[:, :-1].tolist()])
    target = grid[:, -1] * len(place) + rank
    flat = couplings.flatten(1, -2)
    result = flat.new_zeros(flat.shape[0], size * len(place), flat.shape[-1]).index_add(1, target, flat)
    return result.view(flat.shape[0], size, len(place), -1).permute(3, 0, 1, 2).contiguous()


def recursion(size: int, order: int) -> tuple[Tensor, Tensor]:
    """Indices (parent, last) with ``monomials(order)[k] = monomials(order - 1)[parent[k]] × x[last[k]]``."""
    place = {indices: k for k, indices in enumerate(monomials(size, order - 1))}
    here = monomials(size, order)
    return torch.tensor([place[m[:-1]] for m in here]), torch.tensor([m[-1] for m in here])
