"""System: ASE and pymatgen, joining and splitting, refusals."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from ase.constraints import FixAtoms, FixedPlane
from pymatgen.core import Lattice, Molecule, Structure

from simkit.errors import InvalidSystemError
from simkit.system import System, concatenate


def same(one: System, two: System) -> bool:
    for field in fields(System):
        a, b = getattr(one, field.name), getattr(two, field.name)
        if (a is None) != (b is None) or (a is not None and (a.dtype != b.dtype or not torch.equal(a, b))):
            return False
    return True


def frames() -> list[Atoms]:
    slab = fcc111("Cu", (2, 2, 3), vacuum=6.0)
    slab.set_constraint(FixAtoms(mask=slab.get_tags() > 2))
    slab.pbc = (True, True, False)
    ion = molecule("H2O")
    ion.info.update(charge=-1, spin=2)
    return [slab, ion, bulk("NaCl", "rocksalt", 5.64)]


def test_attributes_from_ase() -> None:
    slab, ion, salt = frames()
    system = System.from_ase([slab, ion, salt])
    assert (system.n_systems, system.n_atoms) == (3, 17)
    assert system.counts.tolist() == [12, 3, 2]
    assert system.charge is not None
    assert system.charge.tolist() == [0, -1, 0]
    assert system.spin is not None
    assert system.spin.tolist() == [1, 2, 1]
    assert system.tags is not None
    assert system.tags[:12].tolist() == slab.get_tags().tolist()
    assert system.fixed is not None
    assert system.fixed.nonzero()[:, 0].tolist() == [0, 1, 2, 3]
    assert system.pbc.tolist() == [[True, True, False], [False] * 3, [True] * 3]
    np.testing.assert_array_equal(system.cell[2].numpy(), salt.cell.array)


def test_round_trip_through_ase() -> None:
    system = System.from_ase(frames())
    assert same(System.from_ase(system.to_ase()), system)
    back = system.to_ase()[0]
    assert back.constraints[0].index.tolist() == [0, 1, 2, 3]
    assert "charge" in system.to_ase()[1].info


def test_plain_atoms_have_no_optional_attributes() -> None:
    system = System.from_ase(molecule("CH4"))
    assert all(getattr(system, name) is None for name in ("charge", "spin", "head", "tags", "fixed"))
    (back,) = system.to_ase()
    assert back == molecule("CH4")
    assert not back.constraints
    assert not back.info


def test_other_constraints_fix_no_atom() -> None:
    atoms = molecule("H2O")
    atoms.set_constraint(FixedPlane([0], [0, 0, 1]))
    assert System.from_ase(atoms).fixed is None


def test_no_frames_and_no_atoms() -> None:
    nothing = System.from_ase([])
    assert (nothing.n_systems, nothing.n_atoms, nothing.cell.shape) == (0, 0, (0, 3, 3))
    empty = System.from_ase(Atoms())
    assert (empty.n_systems, empty.n_atoms) == (1, 0)
    assert len(empty.to_ase()[0]) == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.positions.__setitem__((1, 0), np.nan), r"frame 0 \(Cu4\).*NaN or infinity at atoms \[1\]"),
        (lambda a: a.positions.__setitem__((3, 2), np.inf), r"NaN or infinity at atoms \[3\]"),
        (lambda a: a.cell.__setitem__((0, 0), np.nan), "expected a finite cell"),
        (lambda a: a.cell.__setitem__(2, 0), r"axes \[2\] are periodic but have no lattice vector"),
        (lambda a: a.cell.__setitem__(2, a.cell[1]), "linearly dependent"),
    ],
)
def test_malformed_frames(change, message: str) -> None:
    atoms = bulk("Cu", cubic=True)
    change(atoms)
    with pytest.raises(InvalidSystemError, match=message):
        System.from_ase(atoms)


def test_dependent_lattice_vectors_of_a_slab() -> None:
    atoms = Atoms("Cu", cell=[[3, 0, 0], [6, 0, 0], [0, 0, 9]], pbc=(True, True, False))
    with pytest.raises(InvalidSystemError, match="linearly dependent"):
        System.from_ase(atoms)


def test_volume_is_that_of_three_periodic_axes_only() -> None:
    system = System.from_ase([bulk("Cu"), fcc111("Cu", (1, 1, 2), vacuum=5.0, periodic=False), molecule("H2")])
    volume = system.volume()
    assert float(volume[0]) == pytest.approx(bulk("Cu").get_volume())
    assert volume[1:].isnan().all()
    left_handed = replace(system, cell=system.cell[:, [1, 0, 2]])
    assert float(left_handed.volume()[0]) == pytest.approx(float(volume[0]))


def test_lattice_has_no_rows_of_non_periodic_axes() -> None:
    atoms = Atoms("H", cell=[[1, 2, 3], [4, 5, 6], [7, 8, 10]], pbc=(False, True, False))
    assert System.from_ase(atoms).lattice.tolist() == [[[0, 0, 0], [4, 5, 6], [0, 0, 0]]]


def test_pymatgen_structure_round_trip() -> None:
    structure = Structure(Lattice.from_parameters(3, 4, 5, 80, 95, 110), ["Na", "Cl"], [[0, 0, 0], [0.4, 0.5, 0.6]])
    system = System.from_pymatgen(structure)
    assert system.numbers.tolist() == [11, 17]
    np.testing.assert_allclose(system.cell[0].numpy(), structure.lattice.matrix, atol=1e-14)
    np.testing.assert_allclose(system.positions.numpy(), structure.cart_coords, atol=1e-14)
    (back,) = system.to_pymatgen()
    assert isinstance(back, Structure)
    assert back.matches(structure)
    assert back.lattice == structure.lattice


def test_pymatgen_molecule_round_trip() -> None:
    water = Molecule(["O", "H", "H"], [[0, 0, 0], [0.76, 0.59, 0], [-0.76, 0.59, 0]])
    system = System.from_pymatgen([water, water])
    assert system.n_systems == 2
    assert not system.pbc.any()
    back = system.to_pymatgen()[1]
    assert isinstance(back, Molecule)
    np.testing.assert_allclose(back.cart_coords, water.cart_coords)


@pytest.mark.filterwarnings("ignore:Structure charge:UserWarning")
def test_charge_and_spin_of_pymatgen() -> None:
    hydroxide = Molecule(["O", "H"], [[0, 0, 0], [0.97, 0, 0]], charge=-1)
    triplet = Molecule(["O", "O"], [[0, 0, 0], [1.2, 0, 0]], spin_multiplicity=3)
    defect = Structure(Lattice.cubic(4.0), ["Na"], [[0, 0, 0]], charge=1)
    system = System.from_pymatgen([hydroxide, triplet, defect])
    assert system.charge is not None
    assert system.spin is not None
    assert system.charge.tolist() == [-1, 0, 1]
    assert system.spin.tolist() == [1, 3, 1]
    back = system.to_pymatgen()
    assert [item.charge for item in back] == [-1, 0, 1]
    assert [item.spin_multiplicity for item in back[:2]] == [1, 3]


def test_radical_to_pymatgen() -> None:
    (radical,) = System.from_ase(molecule("CH3")).to_pymatgen()
    assert radical.spin_multiplicity == 2


def test_disordered_structure() -> None:
    alloy = Structure(Lattice.cubic(3.0), [{"Cu": 0.5, "Au": 0.5}], [[0, 0, 0]])
    with pytest.raises(InvalidSystemError, match=r"structure 0 .* is disordered"):
        System.from_pymatgen(alloy)


def test_split_undoes_concatenate() -> None:
    parts = [System.from_ase(frame) for frame in frames()]
    joint = concatenate(parts)
    for part, again in zip(parts, joint.split(), strict=True):
        for name in ("positions", "numbers", "cell", "pbc", "batch"):
            assert torch.equal(getattr(part, name), getattr(again, name))
    assert same(concatenate(joint.split()), joint)
    assert same(joint, System.from_ase(frames()))
    nested = concatenate([concatenate(parts[:2]), parts[2]])
    assert same(nested, joint)


def test_concatenate_fills_with_neutral_values() -> None:
    plain = System.from_ase(molecule("H2"))
    full = replace(
        plain,
        charge=torch.tensor([1.0]),
        spin=torch.tensor([2.0]),
        head=torch.tensor([3]),
        tags=torch.tensor([1, 2]),
        fixed=torch.tensor([True, False]),
    )
    joint = concatenate([plain, full])
    expected = {
        "charge": [0, 1],
        "spin": [1, 2],
        "head": [0, 3],
        "tags": [0, 0, 1, 2],
        "fixed": [False, False, True, False],
    }
    assert {name: getattr(joint, name).tolist() for name in expected} == expected


def test_nothing_to_concatenate() -> None:
    with pytest.raises(InvalidSystemError, match="at least one system"):
        concatenate([])


def test_to_changes_floating_point_tensors_only() -> None:
    system = System.from_ase(frames()).to(dtype=torch.float32)
    assert system.positions.dtype == system.cell.dtype == torch.float32
    assert system.numbers.dtype == system.batch.dtype == torch.int64
    assert system.charge is not None
    assert system.charge.dtype == torch.float32
    assert system.pbc.dtype == torch.bool


def test_system_is_a_pytree() -> None:
    system = System.from_ase(frames())
    doubled = torch.utils._pytree.tree_map(lambda x: x * 2 if x.is_floating_point() else x, system)
    assert torch.equal(doubled.positions, 2 * system.positions)
    assert doubled.head is None


def test_shapes_are_checked_by_the_tests() -> None:
    system = System.from_ase(molecule("H2"))
    with pytest.raises(TypeError, match="positions"):
        replace(system, positions=system.positions[:, :2])


@pytest.mark.parametrize("info", [{"charge": "one"}, {"spin": [1, 2]}, {"charge": float("nan")}])
def test_charge_and_spin_that_are_no_numbers_are_named(info):
    with pytest.raises(InvalidSystemError, match=r"frame 0 \(H\): expected a number as info\['(charge|spin)'\]"):
        System.from_ase(Atoms("H", info=info))
