"""What a potential predicts, in ASE's conventions."""

from __future__ import annotations

from ase import Atoms
from ase.stress import full_3x3_to_voigt_6_stress
from jaxtyping import Float
from numpy import ndarray


def has_volume(atoms: Atoms) -> bool:
    """Whether the cell has three lattice vectors that span a volume, so that ASE can tell a stress."""
    return bool(atoms.cell.rank == 3 and abs(atoms.cell.volume) > 1e-8)


def ase_stress(virial: Float[ndarray, "3 3"], atoms: Atoms) -> Float[ndarray, " 6"]:
    """Stress ``-virial / V`` in eV/Å³, tension positive, in Voigt order xx yy zz yz xz xy.

    ``V`` is ``atoms.get_volume()``: for slabs and wires, that of the cell given by the user.

    Args:
        virial: ``-∂E/∂ε`` in eV.
        atoms: in a cell that has a volume.
    """
    return full_3x3_to_voigt_6_stress(-virial / atoms.get_volume())
