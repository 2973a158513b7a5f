"""A pair potential fitted to forces alone, whose energies tell whether the energies are in the forces' units."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from simkit.datasets.audit.consistency import Slope, slope
from simkit.datasets.base import Frame
from simkit.graph import make_graph
from simkit.neighbours import build_neighbours

CUTOFF = 4.0
"""Range of the pair potential in Å."""

CENTRES = np.geomspace(0.7, CUTOFF, 24)
WIDTHS = np.gradient(CENTRES)


def pair_fit_slope(frames: Sequence[Frame]) -> Slope:
    """Compare energy differences with those of a pair potential that was fitted to the forces.

    ``E = ½ Σ_pairs Σ_k c_k(z_i, z_j) φ_k(r)`` is linear in c, and so are its forces: c minimises the error of the
    forces, and the energies, never fitted, follow up to a constant. On molecular dynamics of molecules, liquids, metals
    and semiconductors the ratio lies within 0.6 to 2: it tells apart units that differ by a factor of ten, not by two.

    Args:
        frames: of one composition, with energies and forces.
    """
    codes = np.unique([code for frame in frames for code in _possible_codes(frame)])
    size = len(codes) * len(CENTRES)
    matrix, target = np.zeros((size, size)), np.zeros(size)
    descriptions, energies = [], []
    for frame in frames:
        assert frame.labels.forces is not None
        assert frame.labels.energy is not None
        description, gradient = _design(frame, codes)
        matrix += gradient.T @ gradient
        target += gradient.T @ frame.labels.forces.double().numpy().reshape(-1)
        descriptions.append(description)
        energies.append(float(frame.labels.energy[0]))
    if not matrix.any():
        return Slope(np.nan, 0.0, 0)
    coefficients = np.linalg.solve(matrix + 1e-6 * np.trace(matrix) / size * np.eye(size), target)
    predicted = np.array(descriptions) @ coefficients
    return slope(list(np.array(energies) - np.mean(energies)), list(predicted - predicted.mean()))


def _possible_codes(frame: Frame) -> list[int]:
    elements = sorted(set(frame.system.numbers.tolist()))
    return [1000 * one + other for one in elements for other in elements if one <= other]


def _design(
    frame: Frame, codes: ndarray
) -> tuple[Float[ndarray, " functions"], Float[ndarray, "components functions"]]:
    """What the energy and each component of the forces are for unit coefficients."""
    graph = make_graph(frame.system, build_neighbours(frame.system, CUTOFF))
    vectors, z = graph.vectors.numpy(), frame.system.numbers.numpy()
    centre, neighbour = graph.centre.numpy(), graph.neighbour.numpy()
    code = 1000 * np.minimum(z[centre], z[neighbour]) + np.maximum(z[centre], z[neighbour])
    kind = np.searchsorted(codes, code)
    r = np.linalg.norm(vectors, axis=1)
    value, derivative = _functions(r)
    energy = np.zeros((len(codes), len(CENTRES)))
    np.add.at(energy, kind, 0.5 * value)
    # both directions of a pair are in the list, so dE/dx_centre = -Σ φ'(r) r_vector/r over the pairs of that centre
    forces = np.zeros((len(z), len(codes), len(CENTRES), 3))
    np.add.at(forces, (centre, kind), derivative[:, :, None] * (vectors / r[:, None])[:, None, :])
    return energy.reshape(-1), forces.transpose(0, 3, 1, 2).reshape(3 * len(z), -1)


def _functions(r: ndarray) -> tuple[ndarray, ndarray]:
    """Gaussians times ``(1 - (r/r_c)²)²``, and their derivatives."""
    t = (r[:, None] - CENTRES) / WIDTHS
    gaussian = np.exp(-0.5 * t * t)
    inside = np.clip(1 - (r / CUTOFF) ** 2, 0, None)[:, None]
    value = gaussian * inside**2
    return value, -t / WIDTHS * value - gaussian * 4 * (r / CUTOFF**2)[:, None] * inside
