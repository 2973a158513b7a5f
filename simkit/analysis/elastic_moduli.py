"""Moduli of polycrystals, and the symmetry of the crystal in its elastic constants."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import spglib
from jaxtyping import Float
from numpy import ndarray

from simkit.errors import InvalidSystemError
from simkit.system import System
from simkit.voigt import VOIGT


@dataclass(frozen=True)
class Moduli:
    """Isotropic moduli of a polycrystal in GPa: Voigt's upper bound, Reuss's lower bound and Hill's mean of both.

    Attributes:
        bulk_voigt, bulk_reuss, shear_voigt, shear_reuss: bounds in GPa.
        anisotropy: universal index ``5 G_V/G_R + B_V/B_R - 6``; zero for isotropic crystals.
    """

    bulk_voigt: float
    bulk_reuss: float
    shear_voigt: float
    shear_reuss: float
    anisotropy: float

    @property
    def bulk(self) -> float:
        """Hill's bulk modulus in GPa."""
        return 0.5 * (self.bulk_voigt + self.bulk_reuss)

    @property
    def shear(self) -> float:
        """Hill's shear modulus in GPa."""
        return 0.5 * (self.shear_voigt + self.shear_reuss)

    @property
    def young(self) -> float:
        """Young's modulus ``9BG/(3B + G)`` in GPa."""
        return 9 * self.bulk * self.shear / (3 * self.bulk + self.shear)

    @property
    def poisson(self) -> float:
        """Poisson's ratio ``(3B - 2G)/(6B + 2G)``."""
        return (3 * self.bulk - 2 * self.shear) / (6 * self.bulk + 2 * self.shear)


def moduli(matrix: Float[ndarray, "6 6"]) -> Moduli:
    """Moduli from elastic constants C (GPa) and compliances ``S = C⁻¹``.

    ``9 B_V = ΣC_ii + 2 ΣC_ij``, ``15 G_V = ΣC_ii - ΣC_ij + 3 ΣC_kk``, ``1/B_R = ΣS_ii + 2 ΣS_ij`` and
    ``15/G_R = 4 ΣS_ii - 4 ΣS_ij + 3 ΣS_kk`` with i < j in 1..3 and k in 4..6.

    Raises:
        InvalidSystemError: C is singular.

    References: R. Hill, Proc. Phys. Soc. A 65, 349 (1952), doi:10.1088/0370-1298/65/5/307; S. I. Ranganathan,
    M. Ostoja-Starzewski, Phys. Rev. Lett. 101, 055504 (2008), doi:10.1103/PhysRevLett.101.055504 (anisotropy).
    """
    if np.abs(np.linalg.eigvalsh(matrix)).min() < 1e-9 * np.abs(matrix).max():
        raise InvalidSystemError("expected elastic constants that can be inverted: some strain of this crystal is free")

    def sums(tensor: ndarray) -> tuple[float, float, float]:
        normal = tensor[:3, :3]
        return float(np.trace(normal)), float(normal[np.triu_indices(3, 1)].sum()), float(np.trace(tensor[3:, 3:]))

    parallel, across, shear = sums(matrix)
    s_parallel, s_across, s_shear = sums(np.linalg.inv(matrix))
    bulk_voigt, shear_voigt = (parallel + 2 * across) / 9, (parallel - across + 3 * shear) / 15
    bulk_reuss = 1 / (s_parallel + 2 * s_across)
    shear_reuss = 15 / (4 * s_parallel - 4 * s_across + 3 * s_shear)
    anisotropy = 5 * shear_voigt / shear_reuss + bulk_voigt / bulk_reuss - 6
    return Moduli(bulk_voigt, bulk_reuss, shear_voigt, shear_reuss, anisotropy)


def point_group(system: System, tolerance: float = 1e-3) -> Float[ndarray, "operations 3 3"]:
    """Rotations of a crystal as Cartesian matrices.

    Args:
        system: one crystal, on its sites.
        tolerance: distance in Å by which an atom may miss its image.

    Raises:
        InvalidSystemError: no symmetry was found, not even the identity.
    """
    cell = system.cell[0].double().cpu().numpy()
    fractions = system.positions.double().cpu().numpy() @ np.linalg.inv(cell)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of returning None, as handled below
        found = spglib.get_symmetry((cell, fractions, system.numbers.cpu().numpy()), symprec=tolerance)  # type: ignore[arg-type]
    if found is None:
        raise InvalidSystemError("the symmetry of the crystal cannot be found: are two atoms on one site?")
    # spglib rotates columns of fractions, x' = W x; with lattice vectors as rows of A, Cartesian columns are Aᵀ x
    rotations = cell.T @ found["rotations"] @ np.linalg.inv(cell.T)
    return np.unique(rotations.round(9), axis=0)


def symmetrised(matrix: Float[ndarray, "6 6"], rotations: Float[ndarray, "operations 3 3"]) -> Float[ndarray, "6 6"]:
    """Elastic constants averaged over rotations: ``1/|G| Σ_R R_ia R_jb R_kc R_ld C_abcd``."""
    index = np.zeros((3, 3), dtype=int)
    for voigt, (i, j) in enumerate(VOIGT):
        index[i, j] = index[j, i] = voigt
    tensor = matrix[index[:, :, None, None], index[None, None]]
    rotated = np.einsum("gia,gjb,gkc,gld,abcd->ijkl", *(rotations,) * 4, tensor, optimize=True) / len(rotations)
    i, j = np.array(VOIGT).T
    return rotated[i[:, None], j[:, None], i[None], j[None]]
