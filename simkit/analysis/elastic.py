"""Elastic constants from the stress of strained crystals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from simkit.analysis.batches import evaluate_many
from simkit.errors import InvalidSystemError
from simkit.potential import Potential
from simkit.progress import Task
from simkit.relaxation.memory import Budget
from simkit.system import System
from simkit.units import GPA
from simkit.voigt import VOIGT, to_voigt

Relax = Callable[[Sequence[System]], list[System]]
"""Moves the atoms of systems to the minimum of their energy at fixed cells."""


@dataclass(frozen=True)
class ElasticConstants:
    """Elastic constants in Voigt's notation: xx, yy, zz, yz, xz, xy.

    Attributes:
        matrix: C in GPa, symmetric.
        error: standard errors of the fits, in GPa.
        asymmetry: largest difference in GPa between C_ij and C_ji before they were averaged.
        stress: of the crystal without strain, in GPa, tension positive; C is well defined where it is zero.
        strains: magnitudes that were applied; engineering strain for shear.
        stresses: stress in GPa under each: strained component, magnitude, stress component.
    """

    matrix: Float[ndarray, "6 6"]
    error: Float[ndarray, "6 6"]
    asymmetry: float
    stress: Float[ndarray, " 6"]
    strains: Float[ndarray, " magnitudes"]
    stresses: Float[ndarray, "6 magnitudes 6"]

    @property
    def eigenvalues(self) -> Float[ndarray, " 6"]:
        """Of C, in GPa, ascending; a crystal without stress is stable if all are positive.

        Reference: F. Mouhat, F.-X. Coudert, Phys. Rev. B 90, 224104 (2014), doi:10.1103/PhysRevB.90.224104.
        """
        return np.linalg.eigvalsh(self.matrix)

    @property
    def stable(self) -> bool:
        """Whether every small strain costs energy."""
        return bool(self.eigenvalues[0] > 0)


def strained(system: System, strain: Float[ndarray, "3 3"]) -> System:
    """A system under a symmetric strain ε: ``x -> x (1 + ε)`` for positions and lattice vectors."""
    deformation = torch.eye(3, dtype=system.dtype) + torch.as_tensor(strain, dtype=system.dtype)
    deformation = deformation.to(system.device)
    return replace(system, positions=system.positions @ deformation, cell=system.cell @ deformation)


def elastic_constants(
    potential: Potential,
    system: System,
    *,
    strain: float = 0.01,
    points: int = 6,
    relax: Relax | None = None,
    budget: Budget | None = None,
    task: Task | None = None,
) -> ElasticConstants:
    """``C_ij = ∂σ_i/∂ε_j`` of a crystal, from the stress under finite symmetric strains.

    Each of the six strains is applied with ``points`` magnitudes from ``-strain`` to ``strain``; C is the slope at
    zero of a cubic polynomial through the stresses. All strained cells are evaluated as one batch. For a crystal under
    stress these are the coefficients of stress and strain, which differ from the second derivatives of the energy by
    terms of the size of the stress.

    Args:
        potential: conservative.
        system: one crystal, periodic along all axes; relaxed, if C shall be well defined.
        strain: largest magnitude; engineering strain γ = 2 ε_ij for shear.
        points: number of magnitudes, even and at least six.
        relax: moves the atoms to their minimum in each strained cell; None for clamped atoms.
        budget: what is evaluated together; measured if absent.
        task: told of each strained cell that is done.

    Raises:
        InvalidSystemError: more than one system, or one that is not periodic along all axes.

    Reference: Y. Le Page, P. Saxe, Phys. Rev. B 65, 104104 (2002), doi:10.1103/PhysRevB.65.104104.
    """
    if system.n_systems != 1 or not bool(system.pbc.all()):
        raise InvalidSystemError(
            f"expected one crystal that is periodic along all three axes, found {system.n_systems} systems with pbc "
            f"{system.pbc.tolist()}"
        )
    if points < 6 or points % 2 or not 0 < strain < 0.2:
        raise InvalidSystemError(
            f"expected at least six strains, an even number, up to a magnitude between 0 and 0.2; found {points} and "
            f"{strain:g}"
        )
    half = np.arange(1, points // 2 + 1) * 2 * strain / points
    magnitudes = np.concatenate([-half[::-1], half])
    cells = [strained(system, magnitude * _unit(index)) for index in range(6) for magnitude in magnitudes]
    if relax is not None:
        cells = relax(cells)
    predictions = evaluate_many(potential, [system, *cells], ("energy", "stress"), budget=budget, task=task)
    rows = np.array([_voigt(one.stress) for one in predictions]) / GPA
    stresses = rows[1:].reshape(6, points, 6)
    matrix, error = np.empty((6, 6)), np.empty((6, 6))
    for index in range(6):
        matrix[:, index], error[:, index] = _slopes(magnitudes, stresses[index])
    asymmetry = float(np.abs(matrix - matrix.T).max())
    symmetric = 0.5 * (matrix + matrix.T)
    return ElasticConstants(symmetric, 0.5 * np.hypot(error, error.T), asymmetry, rows[0], magnitudes, stresses)


def _unit(index: int) -> Float[ndarray, "3 3"]:
    """The strain tensor of one Voigt component of magnitude one."""
    tensor = np.zeros((3, 3))
    i, j = VOIGT[index]
    tensor[i, j] += 0.5
    tensor[j, i] += 0.5
    return tensor


def _voigt(stress: torch.Tensor | None) -> Float[ndarray, " 6"]:
    assert stress is not None
    return to_voigt(stress[0]).numpy(force=True)


def _slopes(x: Float[ndarray, " points"], y: Float[ndarray, "points 6"]) -> tuple[ndarray, ndarray]:
    """Slopes at zero of cubic polynomials, and their standard errors."""
    scale = x.max()
    powers = np.vander(x / scale, 4, increasing=True)
    best, *_ = np.linalg.lstsq(powers, y, rcond=None)
    variance = np.square(y - powers @ best).sum(0) / (len(x) - 4)
    return best[1] / scale, np.sqrt(np.linalg.inv(powers.T @ powers)[1, 1] * variance) / scale
