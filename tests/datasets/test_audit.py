"""What is planted in a sound dataset is found, named and explained; the sound dataset itself passes."""

import json
from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.cluster import Icosahedron
from ase.io import write
from scipy.spatial.transform import Rotation

from simkit.datasets.ase_frames import LabelKeys, detect_keys, frame_from_atoms
from simkit.datasets.audit import audit
from simkit.datasets.audit.consistency import all_electron_unit, explain_force_ratio
from simkit.datasets.audit.duplicates import same_structure
from simkit.datasets.audit.pair_fit import pair_fit_slope
from simkit.datasets.combine import MemoryDataset
from simkit.datasets.files import open_dataset
from simkit.units import BOHR, GPA, HARTREE, KCAL_PER_MOL
from tests.datasets.examples import clusters, crystals, dataset, labelled


@pytest.fixture(scope="module")
def dynamics():
    return clusters(40)


@pytest.fixture(scope="module")
def bulk():
    return crystals(40)


def kinds(report):
    return {finding.kind: finding for finding in report.findings}


def scaled(frames, energy=1.0, forces=1.0, stress=1.0):
    """The same frames as another program would have written them."""
    changed = []
    for frame in dataset(frames):
        labels = frame.labels
        changed.append(
            replace(
                frame,
                labels=replace(
                    labels,
                    energy=labels.energy * energy,
                    forces=labels.forces * forces,
                    stress=None if labels.stress is None else labels.stress * stress,
                ),
            )
        )
    return MemoryDataset(changed)


def test_sound_data_pass(dynamics, bulk):
    for frames in (dynamics, bulk):
        report = audit(dataset(frames))
        assert report.findings == ()
        assert "nothing suspicious" in str(report)
    assert report.facts["elements"] == "Cu Au"


def test_duplicates_are_found_whatever_their_pose(dynamics):
    rng = np.random.default_rng(0)
    copy = dynamics[7].copy()
    order = rng.permutation(len(copy))
    rotation = Rotation.random(rng=rng).as_matrix()
    copy = Atoms(copy.numbers[order], copy.positions[order] @ rotation.T + [1, 2, 3])
    copy.info["energy"] = dynamics[7].get_potential_energy()
    wrong = dynamics[9].copy()
    wrong.info["energy"] = dynamics[9].get_potential_energy() + 1.0
    frames = [*dynamics[:10], copy, wrong]
    keys = detect_keys(LabelKeys(), frames, "memory")
    data = MemoryDataset(frame_from_atoms(atoms, keys, f"memory:{i}") for i, atoms in enumerate(frames))
    found = kinds(audit(data))
    assert found["duplicate"].frames == ("memory:7 = memory:10",)
    assert found["conflicting-labels"].frames == ("memory:9 = memory:11",)
    assert "76.9 meV/atom" in found["conflicting-labels"].message


def test_another_cell_of_the_same_crystal_is_a_duplicate(bulk):
    one = dataset(bulk)[0]
    other = bulk[0].copy()
    other.set_cell(np.array([[1, 1, 0], [0, 1, 0], [0, -1, 1]]) @ other.cell.array)
    other.positions += [0.4, 0.5, 0.6]
    other.wrap()
    assert same_structure(one, dataset([other])[0])
    other.positions[0, 0] += 0.01
    assert not same_structure(one, dataset([other])[0])


def test_distances_beyond_the_cutoff_matter(dynamics):
    pair = [Atoms("Cu2", [[0, 0, 0], [x, 0, 0]], cell=[30] * 3, pbc=True) for x in (6.0, 7.0)]
    assert not same_structure(*dataset(pair))


def test_nan_extreme_and_missing_labels_are_named(dynamics):
    frames = [atoms.copy() for atoms in dynamics]
    for atoms, source in zip(frames, dynamics, strict=True):
        atoms.info["energy"] = source.get_potential_energy()
        atoms.arrays["forces"] = source.get_forces().copy()
    frames[3].info["energy"] = np.nan
    frames[5].arrays["forces"][0, 1] += 100
    del frames[8].arrays["forces"]
    for index in (20, 21, 22, 23, 24):
        frames[index].info["energy"] = -5.0
    close = frames[11]
    close.positions[1] = close.positions[0] + [0.5, 0, 0]
    report = audit(dataset(frames))
    found = kinds(report)
    assert found["nan-label"].frames == ("memory:3",)
    assert found["large-force"].frames == ("memory:5",)
    assert found["net-force"].frames == ("memory:5",)
    assert found["missing-label"].frames == ("memory:8",)
    assert found["constant-energy"].count == 5
    assert found["close-atoms"].frames == ("memory:11",)
    assert report.findings[0].severity == "error"
    assert json.loads(json.dumps(report.to_dict(), allow_nan=False))["frames"] == 40
    assert "memory:5" in str(report)


def test_isolated_and_lonely_atoms_and_missing_labels():
    atom = Atoms("Cu", info={"energy": 1.0})
    lonely = Atoms("Cu3", [[0, 0, 0], [2.5, 0, 0], [9, 0, 0]])
    found = kinds(audit(dataset([atom, lonely])))
    assert found["isolated-atoms"].frames == ("memory:0",)
    assert found["lonely-atoms"].frames == ("memory:1",)
    assert found["no-labels"].severity == "error"


@pytest.mark.parametrize(("symbol", "spacing", "suspect"), [("Cu", 4.5, True), ("Ar", 4.5, False)])
def test_atoms_far_from_one_another_are_suspect_unless_they_form_no_bonds(symbol, spacing, suspect):
    frames = [Atoms(symbol, cell=[spacing] * 3, pbc=True).repeat((2, 1, 1)) for _ in range(2)]
    frames[1].positions[1] += 0.1
    assert ("far-atoms" in kinds(audit(dataset(frames)))) == suspect


def test_unreadable_frames_do_not_stop_the_audit(tmp_path, dynamics):
    write(tmp_path / "a.xyz", dynamics)
    lines = (tmp_path / "a.xyz").read_text().splitlines(keepends=True)
    lines[5 * 15 + 4] = "??" + lines[5 * 15 + 4][2:]
    (tmp_path / "a.xyz").write_text("".join(lines))
    report = audit(open_dataset(tmp_path / "a.xyz"))
    assert "frame 5 (line 76)" in kinds(report)["unreadable"].frames[0]
    assert report.facts["with_forces"] == 39


@pytest.mark.parametrize(
    ("energy", "forces", "expected"),
    [
        (1 / KCAL_PER_MOL, 1.0, "kcal/mol and eV/Å"),
        (1 / HARTREE, 1.0, "Hartree and eV/Å"),
        (1.0, BOHR / HARTREE, "eV and Hartree/Bohr"),
        (1 / HARTREE, BOHR / HARTREE, "Hartree and Hartree/Bohr"),
    ],
)
def test_inconsistent_units_of_energies_and_forces(dynamics, energy, forces, expected):
    found = kinds(audit(scaled(dynamics, energy, forces)))["inconsistent-units"]
    assert found.severity == "error"
    assert expected in found.message


def test_gradients_in_place_of_forces(dynamics, bulk):
    assert "force-sign" in kinds(audit(scaled(dynamics, forces=-1.0)))


def test_consistent_kcal_is_suspected_from_the_size_of_forces(dynamics):
    found = kinds(audit(scaled(dynamics, 1 / KCAL_PER_MOL, 1 / KCAL_PER_MOL), largest_force=1e9))
    assert found["force-scale"].severity == "warning"


@pytest.mark.parametrize(
    ("factor", "kind", "text"),
    [(-1.0, "stress-sign", "wrong sign"), (1 / GPA, "stress-unit", "GPa"), (1 / GPA * 10, "stress-unit", "kbar")],
)
def test_stress_sign_and_unit(bulk, factor, kind, text):
    found = kinds(audit(scaled(bulk, stress=factor)))[kind]
    assert found.severity == "error"
    assert text in found.message


def test_pair_fit_tells_units_without_similar_frames():
    """Frames of one composition that are far from one another."""
    frames = []
    rng = np.random.default_rng(0)
    for _ in range(40):
        atoms = Icosahedron("Cu", 2)
        frames.append(labelled(Atoms(atoms.numbers, atoms.positions + rng.normal(0, 0.25, (13, 3)))))
    found = pair_fit_slope(list(dataset(frames)))
    assert found.correlation > 0.8
    assert 0.5 < found.ratio < 2
    message = kinds(audit(scaled(frames, 1 / KCAL_PER_MOL)))["inconsistent-units"].message
    assert "kcal/mol and eV/Å" in message


def test_all_electron_energies_tell_their_unit():
    """Water at the Hartree-Fock limit: -76.07 Hartree."""
    assert all_electron_unit([8, 1, 1], -76.07) == "Hartree"
    assert all_electron_unit([8, 1, 1], -76.07 * HARTREE) == "eV"
    assert all_electron_unit([8, 1, 1], -76.07 * HARTREE / KCAL_PER_MOL) == "kcal/mol"
    assert all_electron_unit([8, 1, 1], -14.2) is None
    water = Atoms("OH2", [[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]], info={"energy": -76.07})
    assert "Hartree" in kinds(audit(dataset([water])))["energy-unit"].message


ETHANOL = molecule("CH3CH2OH")
GFN2 = {"C": -48.7981, "O": -102.5218, "H": -10.7072}
"""Energies of atoms in GFN2-xTB in eV; its ethanol has -309.7 eV."""


def spring(steps, energy, forces):
    """Ethanol near a minimum of -309.7 eV with a spring on each atom, in eV and eV/Å times the factors."""
    rng = np.random.default_rng(0)
    frames, moved = [], np.zeros((9, 3))
    for _ in range(steps):
        moved = 0.9 * moved + rng.normal(0, 0.01, (9, 3))
        moved -= moved.mean(0)
        atoms = Atoms(ETHANOL.numbers, ETHANOL.positions + moved)
        atoms.info["energy"] = energy * (-309.7 + 15 * (moved**2).sum())
        atoms.arrays["forces"] = -30 * forces * moved
        frames.append(atoms)
    return frames


def test_valence_energies_of_the_size_of_all_electron_energies_are_no_error():
    """-309.7 is, by chance, near the all-electron energy of ethanol in Rydberg."""
    assert all_electron_unit(ETHANOL.numbers.tolist(), -309.7) == "Rydberg"
    frames = spring(20, 1.0, 1.0)
    alone = audit(dataset(frames))
    assert alone.errors == ()
    assert kinds(alone)["energy-unit"].severity == "note"
    atoms = [Atoms(symbol, info={"energy": energy}) for symbol, energy in GFN2.items()]
    assert "energy-unit" not in kinds(audit(dataset([*frames, *atoms])))


def test_all_electron_energies_that_disagree_with_the_forces_are_an_error():
    frames = spring(20, 1.0, HARTREE / 2)
    found = kinds(audit(dataset(frames)))
    assert found["energy-unit"].severity == "error"
    assert "Rydberg and eV/Å" in found["inconsistent-units"].message
    atoms = [Atoms(symbol, info={"energy": e}) for symbol, e in {"C": -75.6, "O": -150.0, "H": -1.0}.items()]
    assert kinds(audit(dataset([*frames, *atoms])))["energy-unit"].severity == "error"


def test_energies_beyond_all_electron_energies_in_ev_are_an_error():
    frames = spring(20, HARTREE / 2 / KCAL_PER_MOL, HARTREE / 2 / KCAL_PER_MOL)
    assert kinds(audit(dataset(frames)))["energy-unit"].severity == "error"


def test_ratios_are_explained():
    assert explain_force_ratio(23.06)[0] == "kcal/mol and eV/Å"
    assert explain_force_ratio(51.42)[0] == "eV and Hartree/Bohr"
    assert explain_force_ratio(1 / 27.2)[0] == "Hartree and eV/Å"


def test_published_3bpa_shares_31_frames(reference_data):
    report = audit(open_dataset(sorted((reference_data / "3bpa").glob("*.xyz"))))
    assert kinds(report)["duplicate"].count == 31
    assert report.errors == ()


def test_published_alignn_copper_has_wrong_stresses(reference_data):
    data = open_dataset(reference_data / "mlearn" / "Cu" / "alignn_id_prop.json.gz")
    assert "GPa" in kinds(audit(data))["conflicting-labels"].message
