"""pymatgen's structures and molecules as ASE's atoms and back, with total charge and spin multiplicity.

pymatgen's own adaptor leaves both in attributes that ASE does not know; here they are in ``info``.
"""

from __future__ import annotations

from collections.abc import Sequence

from ase import Atoms
from pymatgen.core import IMolecule, IStructure, Molecule, Structure
from pymatgen.io.ase import AseAtomsAdaptor

from simkit.errors import InvalidSystemError


def to_atoms(items: IStructure | IMolecule | Sequence[IStructure | IMolecule]) -> list[Atoms]:
    """One ASE object for each structure or molecule.

    Raises:
        InvalidSystemError: a disordered structure.
    """
    several = [items] if isinstance(items, IStructure | IMolecule) else list(items)
    for index, item in enumerate(several):
        if not item.is_ordered:
            raise InvalidSystemError(f"structure {index} ({item.formula}) is disordered: give an ordered one")
    return [_to_atoms(item) for item in several]


def _to_atoms(item: IStructure | IMolecule) -> Atoms:
    atoms = AseAtomsAdaptor.get_atoms(item, msonable=False)
    if abs(item.charge) > 1e-8:
        atoms.info["charge"] = float(item.charge)
    if isinstance(item, IMolecule) and item.spin_multiplicity != 1:
        atoms.info["spin"] = float(item.spin_multiplicity)
    return atoms


def from_atoms(atoms: Atoms) -> Structure | Molecule:
    """A Structure if any axis is periodic, otherwise a Molecule."""
    charge, spin = atoms.info.get("charge", 0.0), atoms.info.get("spin", 1.0)
    if atoms.pbc.any():
        structure = AseAtomsAdaptor.get_structure(atoms)
        return structure.set_charge(charge) if charge else structure
    multiplicity = None if spin == 1 else round(spin)  # None: the lowest that the number of electrons allows
    return Molecule(atoms.get_chemical_symbols(), atoms.positions, charge=charge, spin_multiplicity=multiplicity)
