"""Values and derivatives at faces, from averages over cells."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

GHOSTS = 3
"""Ghost cells that the stencils need at each end: every face sees three cells at either side."""
EPSILON = 1e-6
"""Of the weights, in units of u²: variations far below √ε are taken for smooth."""


def around_faces(padded: Float[Tensor, "systems fields padded"]) -> list[Float[Tensor, "systems fields faces"]]:
    """For every face the averages of the six cells around it, in the order of coordinates."""
    faces = padded.shape[-1] - 2 * GHOSTS + 1
    return [padded[..., k : k + faces] for k in range(2 * GHOSTS)]


def weno5(
    cells: list[Float[Tensor, "systems fields faces"]],
) -> tuple[Float[Tensor, "systems fields faces"], Float[Tensor, "systems fields faces"]]:
    """Values at the left and the right side of every face, of fifth order where u is smooth.

    A weighted mean of the three parabolas that have the averages of three neighbouring cells, with weights
    ``d_k / (ε + β_k)²`` that leave out those which cross a discontinuity. Fields are reconstructed one by one.

    Args:
        cells: averages of the six cells around each face, see ``around_faces``.

    Reference: G.-S. Jiang, C.-W. Shu, J. Comput. Phys. 126, 202 (1996), doi:10.1006/jcph.1996.0130.
    """
    a, b, c, d, e = (torch.stack([cells[k], cells[5 - k]]) for k in range(5))
    parabolas = torch.stack([2 * a - 7 * b + 11 * c, 5 * c - b + 2 * d, 2 * c + 5 * d - e]) / 6
    curvatures = torch.stack([a - 2 * b + c, b - 2 * c + d, c - 2 * d + e])
    slopes = torch.stack([a - 4 * b + 3 * c, b - d, 3 * c - 4 * d + e])
    roughness = 13 / 12 * curvatures.square() + 0.25 * slopes.square()
    ideal = roughness.new_tensor([0.1, 0.6, 0.3]).view(3, *(1,) * (roughness.dim() - 1))
    weights = ideal / (EPSILON + roughness).square()
    left, right = (weights * parabolas).sum(0) / weights.sum(0)
    return left, right


def face_slopes(
    cells: list[Float[Tensor, "systems fields faces"]], width: float
) -> Float[Tensor, "systems fields faces"]:
    """``u_x`` at the faces, of sixth order."""
    a, b, c, d, e, f = cells
    return (245 * (d - c) - 25 * (e - b) + 2 * (f - a)) / (180 * width)


def face_curvatures(
    cells: list[Float[Tensor, "systems fields faces"]], width: float
) -> Float[Tensor, "systems fields faces"]:
    """``u_xx`` at the faces, of fourth order."""
    a, b, c, d, e, f = cells
    return (7 * (b + e) - 6 * (c + d) - (a + f)) / (8 * width**2)
