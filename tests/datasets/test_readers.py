"""Every format gives the same frames; what is damaged is refused with its place."""

import gzip
import json
import logging
import pickle

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.db import connect
from ase.io import write
from ase.io.trajectory import Trajectory

from simkit.datasets.combine import Concatenation
from simkit.datasets.extxyz import write_extxyz
from simkit.datasets.files import open_dataset
from simkit.datasets.hdf5 import write_hdf5
from simkit.datasets.shards import write_shards
from simkit.errors import DataError
from simkit.units import BOHR, HARTREE, KBAR, KCAL_PER_MOL
from tests.datasets.examples import crystals, dataset, labelled


def assert_same(found, expected, tolerance=1e-7):
    assert len(found) == len(expected)
    for index in range(len(expected)):
        one, other = found[index], expected[index]
        assert torch.equal(one.system.numbers, other.system.numbers)
        assert torch.equal(one.system.pbc, other.system.pbc)
        torch.testing.assert_close(one.system.positions, other.system.positions, atol=tolerance, rtol=0)
        torch.testing.assert_close(one.system.cell, other.system.cell, atol=tolerance, rtol=0)
        for label in ("energy", "forces", "stress"):
            value, reference = getattr(one.labels, label), getattr(other.labels, label)
            assert (value is None) == (reference is None), label
            if reference is not None:
                torch.testing.assert_close(value, reference, atol=tolerance, rtol=0)
        assert one.group == other.group


def write_file(kind, path, frames):
    if kind == "db":
        with connect(path) as database:
            for atoms in frames:
                database.write(atoms, group=atoms.info["group"])
    elif kind == "traj":
        with Trajectory(path, "w") as trajectory:
            for atoms in frames:
                trajectory.write(atoms)
    elif kind in ("xyz", "xyz.gz"):
        write(path, frames, format="extxyz")
    elif kind == "h5":
        write_hdf5(path, dataset(frames))
    else:
        write_shards(dataset(frames), path, frames_per_shard=3, cutoff=4.0)


@pytest.mark.parametrize("kind", ["xyz", "xyz.gz", "db", "traj", "h5", "shards"])
def test_formats_agree_and_survive_pickling(tmp_path, kind):
    frames = crystals(7)
    for atoms in frames:
        atoms.info["group"] = atoms.info["group"]
    path = tmp_path / f"data.{kind}"
    write_file(kind, path, frames)
    found = open_dataset(path)
    assert_same(pickle.loads(pickle.dumps(found)), dataset(frames))
    assert_same(found, dataset(frames))
    assert found.atom_counts().tolist() == [4] * 7
    with pytest.raises(IndexError):
        found[7]


def test_stress_is_the_strain_derivative(tmp_path):
    """Signs and units through a file: V σ:ε is the energy change under a small strain."""
    atoms = crystals(1)[0]
    strain = np.array([[2e-4, 1e-4, 0], [1e-4, -1e-4, 3e-4], [0, 3e-4, 0]])
    energies = []
    for sign in (1, -1):
        strained = atoms.copy()
        strained.set_cell(atoms.cell.array @ (np.eye(3) + sign * strain), scale_atoms=True)
        energies.append(labelled(strained).get_potential_energy())
    write(tmp_path / "a.xyz", [atoms])
    frame = open_dataset(tmp_path / "a.xyz")[0]
    work = float(frame.system.volume()[0] * (frame.labels.stress[0].numpy() * strain).sum())
    assert (energies[0] - energies[1]) / 2 == pytest.approx(work, rel=1e-3)


def test_several_files_and_patterns(tmp_path):
    frames = crystals(5)
    write(tmp_path / "b.xyz", frames[3:])
    write(tmp_path / "a.xyz", frames[:3])
    found = open_dataset(str(tmp_path / "*.xyz"))
    assert isinstance(found, Concatenation)
    assert_same(found, dataset(frames))
    assert found[3].name == "b.xyz:0"
    assert_same(open_dataset([tmp_path / "a.xyz", tmp_path / "b.xyz"]), dataset(frames))
    with pytest.raises(DataError, match="no file matches"):
        open_dataset(str(tmp_path / "*.db"))


def test_random_access_reads_only_what_is_needed(tmp_path):
    path = tmp_path / "long.xyz"
    frames = crystals(40)
    write(path, frames)
    found = open_dataset(path, save_index=True)
    assert (tmp_path / "long.xyz.index.npz").exists()
    again = open_dataset(path, save_index=True)
    assert_same(again, dataset(frames))
    order = np.random.default_rng(0).permutation(40)
    for index in order:
        assert float(found[int(index)].labels.energy) == pytest.approx(frames[index].get_potential_energy())
    with path.open("a") as file:
        file.write((tmp_path / "long.xyz").read_text().split("4\n")[0])
    write(path, frames[:2])
    assert len(open_dataset(path, save_index=True)) == 2


def rewrite_keys(frames, energy, forces, stress=None):
    """The same labels under other keys, without a calculator."""
    renamed = []
    for atoms in frames:
        plain = atoms.copy()
        plain.info[energy] = atoms.get_potential_energy()
        plain.arrays[forces] = atoms.get_forces()
        if stress == "virial":
            plain.info[stress] = -atoms.get_stress(voigt=False) * atoms.get_volume()
        elif stress:
            plain.info[stress] = atoms.get_stress(voigt=False)
        renamed.append(plain)
    return renamed


@pytest.mark.parametrize(
    ("energy", "forces", "stress"),
    [("REF_energy", "REF_forces", "REF_stress"), ("dft_energy", "dft_forces", "virial"), ("energy", "force", "virial")],
)
def test_label_keys_are_found(tmp_path, energy, forces, stress):
    frames = crystals(3)
    renamed = rewrite_keys(frames, energy, forces, stress)
    write(tmp_path / "a.xyz", renamed)
    found = open_dataset(tmp_path / "a.xyz")
    assert (found.keys.energy, found.keys.forces, found.keys.stress) == (energy, forces, stress)
    assert_same(found, dataset(frames))
    assert energy not in found[0].info


def test_given_keys_win_and_ambiguity_is_logged(tmp_path, caplog):
    frames = crystals(2)
    both = []
    for atoms in frames:
        atoms.info["REF_energy"] = 7.0
        both.append(atoms)
    write(tmp_path / "a.xyz", both)
    with caplog.at_level(logging.WARNING, "simkit.datasets"):
        assert float(open_dataset(tmp_path / "a.xyz")[0].labels.energy) == 7.0
    assert "also present: energy" in caplog.text
    found = open_dataset(tmp_path / "a.xyz", energy_key="energy")
    assert float(found[0].labels.energy) == pytest.approx(frames[0].get_potential_energy())
    assert open_dataset(tmp_path / "a.xyz", forces_key="")[0].labels.forces is None
    with pytest.raises(DataError, match=r"expected the key 'pbe'.*REF_energy"):
        open_dataset(tmp_path / "a.xyz", energy_key="pbe")


def test_a_rare_key_is_found_beyond_the_first_look(tmp_path):
    frames = rewrite_keys(crystals(100), "energy", "forces")
    frames[95].info["special"] = 3.0
    write(tmp_path / "a.xyz", frames)
    found = open_dataset(tmp_path / "a.xyz", energy_key="special")
    assert found[94].labels.energy is None
    assert float(found[95].labels.energy) == 3.0


def test_units_are_converted_and_must_not_contradict(tmp_path):
    frames = rewrite_keys(crystals(2), "energy", "forces", "stress")
    write(tmp_path / "a.xyz", frames)
    plain = open_dataset(tmp_path / "a.xyz")[0].labels
    options = {"energy_unit": "Hartree", "forces_unit": "Hartree/Bohr", "stress_unit": "kbar"}
    converted = open_dataset(tmp_path / "a.xyz", **options)[0].labels
    torch.testing.assert_close(converted.energy, plain.energy * HARTREE)
    torch.testing.assert_close(converted.forces, plain.forces * HARTREE / BOHR)
    torch.testing.assert_close(converted.stress, plain.stress * KBAR)
    frames[1].info["energy_unit"] = "kcal/mol"
    write(tmp_path / "b.xyz", frames)
    mixed = open_dataset(tmp_path / "b.xyz")
    assert float(mixed[1].labels.energy) == pytest.approx(frames[1].info["energy"] * KCAL_PER_MOL)
    with pytest.raises(DataError, match=r"b.xyz:1: the energy is declared in kcal/mol"):
        open_dataset(tmp_path / "b.xyz", energy_unit="eV")[1]
    with pytest.raises(DataError, match=r"unit of energy .* found 'parsec'"):
        open_dataset(tmp_path / "a.xyz", energy_unit="parsec")[0]


def test_frames_without_some_labels(tmp_path):
    frames = crystals(3)
    frames[1].calc = None
    frames.append(Atoms("Cu", info={"config_type": "IsolatedAtom", "energy": -1.0}))
    write(tmp_path / "a.xyz", frames)
    found = open_dataset(tmp_path / "a.xyz")
    assert found[1].labels.energy is None
    assert found[1].labels.forces is None
    assert found[3].is_isolated_atom
    assert found[3].group == "IsolatedAtom"
    assert not found[0].is_isolated_atom


def test_stress_of_partly_periodic_systems_is_left_out(tmp_path):
    slab = crystals(1)[0].copy()
    slab.pbc = (True, True, False)
    slab.info["stress"] = np.eye(3)
    write(tmp_path / "a.xyz", [slab])
    assert open_dataset(tmp_path / "a.xyz")[0].labels.stress is None


def test_head_is_given_to_every_frame(tmp_path):
    write(tmp_path / "a.xyz", crystals(2))
    assert open_dataset(tmp_path / "a.xyz", head=1)[1].system.head.tolist() == [1]


def test_rmd17_arrays_are_converted(tmp_path):
    rng = np.random.default_rng(0)
    coordinates, forces = rng.normal(size=(2, 5, 3, 3))
    np.savez(tmp_path / "a.npz", nuclear_charges=[8, 1, 1], coords=coordinates, energies=np.arange(5.0), forces=forces)
    found = open_dataset(tmp_path / "a.npz")
    assert float(found[3].labels.energy) == pytest.approx(3 * 0.0433641, rel=1e-6)
    np.testing.assert_allclose(found[3].labels.forces.numpy(), forces[3] * 0.0433641, rtol=1e-6)
    np.testing.assert_array_equal(found[3].system.positions.numpy(), coordinates[3])
    assert not found[3].system.pbc.any()
    np.savez(tmp_path / "b.npz", z=[8, 1, 1], R=coordinates, E=np.arange(5.0)[:, None], F=forces)
    assert float(open_dataset(tmp_path / "b.npz", energy_unit="eV")[3].labels.energy) == 3.0


def test_deepmd_folder(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "type.raw").write_text("0\n1\n1\n")
    (tmp_path / "type_map.raw").write_text("O\nH\n")
    for name in ("set.000", "set.001"):
        folder = tmp_path / name
        folder.mkdir()
        np.save(folder / "coord.npy", rng.normal(size=(2, 9)).astype(np.float32))
        np.save(folder / "box.npy", np.tile(10 * np.eye(3).reshape(9), (2, 1)))
        np.save(folder / "energy.npy", np.array([1.0, 2.0]))
        np.save(folder / "force.npy", rng.normal(size=(2, 9)))
        np.save(folder / "virial.npy", np.tile(np.eye(3).reshape(9), (2, 1)))
    found = open_dataset(tmp_path)
    assert len(found) == 4
    assert found[3].system.numbers.tolist() == [8, 1, 1]
    assert float(found[3].labels.energy) == 2.0
    torch.testing.assert_close(found[3].labels.stress[0], -torch.eye(3) / 1000)
    np.save(tmp_path / "set.001" / "force.npy", np.zeros((2, 6)))
    with pytest.raises(DataError, match=r"expected forces of shape \(2, 3, 3\)"):
        open_dataset(tmp_path)


def mlearn_record(shear, stress):
    cell = 5 * np.eye(3)
    cell[1, 2] += 5 * shear
    sites = [{"species": [{"element": "Si", "occu": 1}], "xyz": [0.0, 0.0, 0.0]}]
    sites.append({"species": [{"element": "Si", "occu": 1}], "xyz": [1.2, 1.3, 1.4]})
    outputs = {"energy": -10.0, "forces": [[0.1, 0, 0], [-0.1, 0, 0]], "virial_stress": stress}
    return {"structure": {"lattice": {"matrix": cell.tolist()}, "sites": sites}, "outputs": outputs, "group": "Elastic"}


@pytest.mark.parametrize(("place", "order"), [(4, "xy yz zx"), (5, "xy zx yz")])
def test_mlearn_stress_order_is_told_from_sheared_cells(tmp_path, place, order):
    stress = [10.0, 20.0, 30.0, 0.0, 0.0, 0.0]
    stress[place] = -50.0
    path = tmp_path / "a.json.gz"
    path.write_bytes(gzip.compress(json.dumps([mlearn_record(0.05, stress)]).encode()))
    frame = open_dataset(path)[0]
    expected = -KBAR * np.array([[10.0, 0, 0], [0, 20, -50], [0, -50, 30]])
    np.testing.assert_allclose(frame.labels.stress[0].numpy(), expected)
    np.testing.assert_allclose(open_dataset(path, stress_order=order)[0].labels.stress[0].numpy(), expected)
    assert frame.group == "Elastic"
    assert float(frame.labels.energy) == -10.0


def test_mlearn_stress_of_unknown_order_is_left_out(tmp_path, caplog):
    path = tmp_path / "a.json"
    path.write_text(json.dumps([mlearn_record(0.0, [1.0, 2, 3, 4, 5, 6])]))
    with caplog.at_level(logging.WARNING, "simkit.datasets"):
        assert open_dataset(path)[0].labels.stress is None
    assert "stress_order" in caplog.text


def test_alignn_energies_are_per_atom(tmp_path):
    atoms = {"lattice_mat": np.eye(3).tolist(), "coords": [[0, 0, 0], [0.5, 0.5, 0.5]], "elements": ["Cu", "Cu"]}
    record = {"jid": "1", "atoms": atoms, "total_energy": -3.0, "forces": [[0, 0, 0], [0, 0, 0]]}
    (tmp_path / "a.json").write_text(json.dumps([record]))
    frame = open_dataset(tmp_path / "a.json")[0]
    assert float(frame.labels.energy) == -6.0
    assert frame.system.positions[1].tolist() == [0.5, 0.5, 0.5]


def test_extxyz_keeps_other_data(tmp_path):
    frames = crystals(2)
    frames[0].info.update(note="two words", number=3, charge=1.0)
    frames[0].arrays["magmoms"] = np.arange(4.0)
    frames[0].set_tags([0, 1, 1, 2])
    write_extxyz(tmp_path / "a.xyz", dataset(frames[:1]))
    frame = open_dataset(tmp_path / "a.xyz")[0]
    assert (frame.info["note"], frame.info["number"]) == ("two words", 3)
    assert frame.system.charge.tolist() == [1.0]
    np.testing.assert_array_equal(frame.arrays["magmoms"], np.arange(4.0))
    for name, writer in (("a.h5", write_hdf5), ("shards", lambda path, data: write_shards(data, path))):
        writer(tmp_path / name, open_dataset(tmp_path / "a.xyz"))
        copy = open_dataset(tmp_path / name)[0]
        assert copy.info == frame.info
        assert copy.system.tags.tolist() == [0, 1, 1, 2]
        np.testing.assert_array_equal(copy.arrays["magmoms"], np.arange(4.0))
