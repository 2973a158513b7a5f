"""Small systems, without any symmetry, of given elements and spacing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from simkit.system import System, concatenate

TRICLINIC = torch.tensor([[2.0, 0.0, 0.0], [0.5, 2.0, 0.0], [-0.3, 0.4, 1.0]], dtype=torch.float64)
"""Lattice vectors in units of the spacing, for 2 x 2 x 1 atoms."""


def make_system(
    positions: Float[Tensor, "atoms 3"],
    elements: Sequence[int],
    cell: Float[Tensor, "3 3"] | None = None,
    pbc: Sequence[bool] = (False, False, False),
) -> System:
    """One system whose atoms take the elements in turn."""
    count = positions.shape[0]
    numbers = torch.tensor([elements[index % len(elements)] for index in range(count)], dtype=torch.int64)
    return System(
        positions=positions,
        numbers=numbers,
        cell=torch.zeros(1, 3, 3) if cell is None else cell[None],
        pbc=torch.tensor([list(pbc)]),
        batch=torch.zeros(count, dtype=torch.int64),
    )


def grid(shape: tuple[int, int, int], spacing: float, rattle: float, seed: int) -> Float[Tensor, "atoms 3"]:
    """Points of a cubic grid, each moved by up to ``rattle`` spacings along every axis."""
    generator = torch.Generator().manual_seed(seed)
    axes = [torch.arange(count, dtype=torch.float64) for count in shape]
    points = torch.cartesian_prod(*axes)
    noise = 2 * torch.rand(points.shape, generator=generator, dtype=torch.float64) - 1
    return spacing * (points + rattle * noise)


def molecule(elements: Sequence[int], spacing: float, seed: int = 1) -> System:
    """Seven atoms in vacuum."""
    return make_system(grid((2, 2, 2), spacing, 0.12, seed)[:7], elements)


def crystal(elements: Sequence[int], spacing: float, seed: int = 2, rattle: float = 0.12) -> System:
    """Four atoms in a triclinic cell that is smaller than the reach of most potentials."""
    cell = spacing * TRICLINIC
    points = grid((2, 2, 1), spacing, rattle, seed) / spacing
    return make_system(points @ torch.diag(torch.tensor([0.5, 0.5, 1.0])) @ cell, elements, cell, (True, True, True))


def slab(elements: Sequence[int], spacing: float, seed: int = 3) -> System:
    """Four atoms, two layers, periodic along the first two axes, without a third lattice vector."""
    cell = spacing * TRICLINIC
    cell[2] = 0
    points = grid((2, 1, 2), spacing, 0.12, seed)
    return make_system(points + torch.tensor([0.0, 0.0, 40.0]), elements, cell, (True, True, False))


def chain(elements: Sequence[int], spacing: float, count: int, seed: int = 4) -> System:
    """A nearly straight row of atoms in vacuum."""
    return make_system(grid((count, 1, 1), spacing, 0.08, seed), elements)


def dimers(elements: tuple[int, int], distances: Float[Tensor, " systems"]) -> System:
    """A batch of pairs, one for each distance, along a direction that is no axis."""
    direction = torch.tensor([2.0, -1.0, 2.0]) / 3
    return concatenate([make_system(torch.stack([0 * direction, r * direction]), elements) for r in distances])


def rotation(seed: int, improper: bool) -> Float[Tensor, "3 3"]:
    """A random orthogonal matrix with determinant 1, or -1."""
    generator = torch.Generator().manual_seed(seed)
    matrix = torch.linalg.qr(torch.randn(3, 3, generator=generator, dtype=torch.float64))[0]
    matrix = matrix * torch.linalg.det(matrix)
    return -matrix if improper else matrix


def repeated(system: System, copies: tuple[int, int, int]) -> System:
    """The supercell of one system; the copies of the whole system follow one another."""
    counts = torch.tensor(copies, dtype=torch.float64)
    shifts = torch.cartesian_prod(*[torch.arange(count, dtype=torch.float64) for count in copies]) @ system.cell[0]
    positions = (system.positions[None] + shifts[:, None]).reshape(-1, 3)
    number = shifts.shape[0]
    return replace(
        system,
        positions=positions,
        numbers=system.numbers.repeat(number),
        cell=system.cell * counts[:, None],
        batch=system.batch.repeat(number),
    )
