from collections import Counter
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write
from tblite.ase import TBLite

from simkit.csv_tables import read_table
from simkit.errors import DataError, SimkitError
from simkit.tasks.check import check_file
from simkit.tasks.label import Counts, Sampling, label, label_file, split_labelled
from simkit.tasks.labellers import isolated_atoms, make_labeller

QUICK = Sampling(temperatures=(300.0, 500.0), timestep=2.0, spacing=2, equilibration=4)


@pytest.fixture
def copper(tmp_path):
    path = tmp_path / "copper.xyz"
    write(path, bulk("Cu", cubic=True))
    return path


def sample(folder, structure, progress=None, **settings):
    counts = Counts(train=5, valid=2, test=3)
    return label(
        folder, structure=structure, labeller="emt", counts=counts, sampling=QUICK, progress=progress, **settings
    )


def test_sampled_frames_have_the_methods_energies_forces_and_stress(tmp_path, copper):
    summary = sample(tmp_path / "out", copper)
    assert (summary["train_frames"], summary["valid_frames"], summary["test_frames"]) == (5, 2, 3)
    train = read(tmp_path / "out" / "train.xyz", ":")
    assert [frame.info.get("config_type") for frame in train] == ["IsolatedAtom"] + [None] * 5
    for frame in train[1:]:
        again = frame.copy()
        again.calc = EMT()
        assert frame.get_potential_energy() == pytest.approx(again.get_potential_energy(), abs=1e-6)
        np.testing.assert_allclose(frame.get_forces(), again.get_forces(), atol=1e-6)
        np.testing.assert_allclose(frame.get_stress(), again.get_stress(), atol=1e-6)
        assert frame.info["labeller"].startswith("EMT (ASE")
        assert "momenta" not in frame.arrays


def test_the_temperatures_share_the_frames_and_the_test_frames_have_their_own_trajectories(tmp_path, copper):
    sample(tmp_path / "out", copper)
    groups = {
        name: [frame.info["group"] for frame in read(tmp_path / "out" / f"{name}.xyz", ":") if len(frame) > 1]
        for name in ("train", "valid", "test")
    }
    assert sorted(groups["train"] + groups["valid"]) == ["300K-train"] * 4 + ["500K-train"] * 3
    assert sorted(groups["test"]) == ["300K-test"] * 2 + ["500K-test"]


def test_calibration_frames_come_from_trajectories_of_their_own(tmp_path, copper):
    several = replace(QUICK, trajectories=2)
    summary = label(
        tmp_path / "out", structure=copper, labeller="emt", counts=Counts(2, 1, 3, calibration=5), sampling=several
    )
    assert summary["calibration_frames"] == 5
    frames = {name: read(tmp_path / "out" / f"{name}.xyz", ":") for name in ("test", "calibration")}
    groups = {name: Counter(frame.info["group"] for frame in found) for name, found in frames.items()}
    assert groups["test"] == {"300K-test1": 1, "300K-test2": 1, "500K-test1": 1}
    assert groups["calibration"] == {
        "300K-calibration1": 2, "300K-calibration2": 1, "500K-calibration1": 1, "500K-calibration2": 1
    }  # fmt: skip
    positions = [frame.positions for found in frames.values() for frame in found]
    assert min(np.abs(a - b).max() for a, b in combinations(positions, 2)) > 1e-3


def test_an_interrupted_sampling_gives_the_same_files(tmp_path, copper, stop_after, interrupted):
    sample(tmp_path / "whole", copper)
    for reports in (3, 8):
        with pytest.raises(interrupted):
            sample(tmp_path / "parts", copper, progress=stop_after(reports))
    sample(tmp_path / "parts", copper)
    for name in ("train.xyz", "valid.xyz", "test.xyz", "start.xyz"):
        whole, parts = read(tmp_path / "whole" / name, ":"), read(tmp_path / "parts" / name, ":")
        for a, b in zip(whole, parts, strict=True):
            np.testing.assert_allclose(a.positions, b.positions, atol=1e-7)
            assert a.get_potential_energy() == pytest.approx(b.get_potential_energy(), abs=1e-8)


def test_another_seed_gives_other_frames(tmp_path, copper):
    sample(tmp_path / "one", copper)
    sample(tmp_path / "two", copper, seed=1)
    one, two = (read(tmp_path / name / "test.xyz", 0) for name in ("one", "two"))
    assert np.abs(one.positions - two.positions).max() > 1e-3


def test_a_model_file_labels(tmp_path, argon_model, crystal):
    write(tmp_path / "in.xyz", crystal)
    summary = label(
        tmp_path / "out",
        structure=tmp_path / "in.xyz",
        labeller=str(argon_model),
        counts=Counts(1, 1, 1),
        sampling=QUICK,
    )
    assert summary["method"] == "lennard-jones model argon.simkit"
    assert "doi:10.1098/rspa.1924.0082" in summary["citations"][0]


def test_frames_of_a_file_keep_their_data_and_get_new_results(tmp_path, copper):
    frames = [bulk("Cu", a=a) for a in (3.5, 3.6, 3.7)]
    frames[0].calc = SinglePointCalculator(frames[0], energy=99.0)
    frames[1].info["note"] = "kept"
    write(tmp_path / "in.xyz", frames)
    label_file(tmp_path / "in.xyz", tmp_path / "out.xyz", labeller="emt")
    labelled = read(tmp_path / "out.xyz", ":")
    for old, new in zip(frames, labelled, strict=True):
        old.calc = EMT()
        assert new.get_potential_energy() == pytest.approx(old.get_potential_energy(), abs=1e-8)
    assert labelled[1].info["note"] == "kept"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copper.xyz", "in.xyz", "out.xyz"]


def test_interrupted_labelling_of_a_file_continues(tmp_path, monkeypatch, stop_after, interrupted):
    monkeypatch.setattr("simkit.tasks.label.SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    write(tmp_path / "in.xyz", [bulk("Cu", a=3.4 + 0.05 * i) for i in range(6)])
    with pytest.raises(interrupted):
        label_file(tmp_path / "in.xyz", tmp_path / "out.xyz", labeller="emt", progress=stop_after(4))
    assert not (tmp_path / "out.xyz").exists()
    assert len(read(tmp_path / ".out.xyz.partial", ":", format="extxyz")) == 4
    label_file(tmp_path / "in.xyz", tmp_path / "out.xyz", labeller="emt")
    label_file(tmp_path / "in.xyz", tmp_path / "whole.xyz", labeller="emt")
    assert (tmp_path / "out.xyz").read_text() == (tmp_path / "whole.xyz").read_text()


def test_labelled_frames_are_shared_out_without_repetition(tmp_path):
    write(tmp_path / "in.xyz", [bulk("Cu", a=3.4 + 0.02 * i) for i in range(10)])
    split_labelled(tmp_path / "in.xyz", tmp_path, counts=Counts(5, 2, 2), labeller="emt")
    volumes = [
        round(frame.get_volume(), 5)
        for name in ("train", "valid", "test")
        for frame in read(tmp_path / f"{name}.xyz", ":")
        if frame.pbc.all()
    ]
    assert len(volumes) == len(set(volumes)) == 9
    with pytest.raises(DataError, match="at least 11 frames to share out, found 10"):
        split_labelled(tmp_path / "in.xyz", tmp_path, counts=Counts(5, 3, 3), labeller="emt")


def test_gfn2_energies_are_those_of_its_authors_program():
    labeller = make_labeller("gfn2-xtb")
    water = molecule("H2O")
    water.calc = labeller.make_calculator()
    # value of tblite's documentation, https://tblite.readthedocs.io
    assert water.get_potential_energy() == pytest.approx(-137.96777625229421, abs=1e-5)
    (hydrogen,) = isolated_atoms([1, 1], labeller)
    assert hydrogen.get_potential_energy() == pytest.approx(-10.70721, abs=1e-4)


def test_labels_are_of_the_charge_and_spin_that_frames_have(tmp_path):
    ion, radical, neutral = molecule("OH"), molecule("OH"), molecule("H2O")
    ion.info |= {"charge": -1, "spin": 1}
    radical.info |= {"charge": 0, "spin": 2}
    cation = neutral.copy()
    cation.info |= {"charge": 1.0, "spin": 2.0}
    write(tmp_path / "in.xyz", [ion, radical, neutral, cation, neutral])
    label_file(tmp_path / "in.xyz", tmp_path / "out.xyz")
    found = [atoms.get_potential_energy() for atoms in read(tmp_path / "out.xyz", ":")]
    wanted = []
    for atoms, charge, multiplicity in ((ion, -1, 1), (ion, 0, 2), (neutral, 0, 1), (neutral, 1, 2), (neutral, 0, 1)):
        bare = Atoms(atoms.numbers, atoms.positions)
        bare.calc = TBLite(method="GFN2-xTB", charge=charge, multiplicity=multiplicity, verbosity=0)
        wanted.append(bare.get_potential_energy())
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    assert np.abs(np.diff(found)).min() > 1  # eV


def test_wrong_requests_say_what_to_do(tmp_path, copper):
    with pytest.raises(SimkitError, match="exactly one of the two"):
        label(tmp_path, labeller="emt")
    with pytest.raises(DataError, match="does not know 'unobtainium'"):
        label(tmp_path, molecule="unobtainium", labeller="emt")
    with pytest.raises(SimkitError, match="gfn2-xtb, gfn1-xtb, emt or a model file; found 'gfn3'"):
        label(tmp_path, structure=copper, labeller="gfn3")
    write(tmp_path / "xenon.xyz", Atoms("Xe"))
    with pytest.raises(DataError, match=r"xenon\.xyz, frame 0 \(Xe\): EMT failed"):
        label_file(tmp_path / "xenon.xyz", tmp_path / "out.xyz", labeller="emt")


def test_a_trajectory_is_compared_with_a_reference(tmp_path):
    frames = []
    for index, error in enumerate((0.01, -0.03)):
        atoms = bulk("Cu", cubic=True)
        atoms.rattle(0.05, seed=index)
        atoms.calc = EMT()
        results = {"energy": atoms.get_potential_energy() + error, "forces": atoms.get_forces() + error}
        frame = atoms.copy()
        frame.info["time_fs"] = 5.0 * index
        frame.calc = SinglePointCalculator(frame, **results)
        frames.append(frame)
    write(tmp_path / "trajectory.xyz", frames)
    summary = check_file(tmp_path / "trajectory.xyz", tmp_path / "check.csv", labeller="emt")
    table = read_table(tmp_path / "check.csv")
    np.testing.assert_allclose(table["time_fs"], [0, 5])
    np.testing.assert_allclose(table["energy_error_mev_per_atom"], [2.5, -7.5], atol=1e-3)
    np.testing.assert_allclose(table["forces_mae_mev_per_ang"], [10, 30], atol=1e-3)
    assert summary["energy_mae_mev_per_atom"] == pytest.approx(5.0, abs=1e-3)
    assert summary["forces_rmse_mev_per_ang"] == pytest.approx(np.sqrt((100 + 900) / 2), abs=1e-3)


def test_an_interrupted_comparison_continues(tmp_path, stop_after, interrupted):
    frames = []
    for index in range(5):
        atoms = bulk("Cu", cubic=True)
        atoms.rattle(0.05, seed=index)
        atoms.calc = SinglePointCalculator(atoms, energy=0.0, forces=np.zeros((4, 3)))
        frames.append(atoms)
    write(tmp_path / "trajectory.xyz", frames)
    check_file(tmp_path / "trajectory.xyz", tmp_path / "whole.csv", labeller="emt")
    with pytest.raises(interrupted):
        check_file(tmp_path / "trajectory.xyz", tmp_path / "parts.csv", labeller="emt", progress=stop_after(3))
    with (tmp_path / "parts.csv").open("a") as file:
        file.write("20.0,0.0,")  # what a kill may leave
    check_file(tmp_path / "trajectory.xyz", tmp_path / "parts.csv", labeller="emt")
    whole, parts = read_table(tmp_path / "whole.csv"), read_table(tmp_path / "parts.csv")
    for name, values in whole.items():
        np.testing.assert_allclose(parts[name], values, rtol=1e-10)
