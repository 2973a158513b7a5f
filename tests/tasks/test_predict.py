import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms
from ase.io import read, write

import simkit
from simkit.errors import DataError, InvalidSystemError, SimkitWarning, UnsupportedElementError
from simkit.tasks.predict import predict_file


@pytest.mark.parametrize("batch_atoms", [1, 20, 1000])
def test_predictions_are_those_of_the_calculator_in_any_batching(tmp_path, argon_model, crystal, cluster, batch_atoms):
    slab = crystal.copy()
    slab.pbc = (True, True, False)
    frames = [crystal, cluster, slab, Atoms("Ar"), crystal * (2, 1, 1)]
    write(tmp_path / "in.xyz", frames)
    summary = predict_file(argon_model, tmp_path / "in.xyz", tmp_path / "out.xyz", batch_atoms=batch_atoms)
    assert summary["frames"] == 5
    assert summary["atoms"] == sum(map(len, frames))
    for atoms, predicted in zip(read(tmp_path / "in.xyz", ":"), read(tmp_path / "out.xyz", ":"), strict=True):
        atoms.calc = simkit.Calculator(argon_model)
        assert predicted.get_potential_energy() == pytest.approx(atoms.get_potential_energy(), abs=1e-12)
        np.testing.assert_allclose(predicted.get_forces(), atoms.get_forces(), atol=6e-9)  # eight decimals
        if atoms.pbc.any():
            np.testing.assert_allclose(predicted.get_stress(), atoms.get_stress(), atol=1e-9)
        else:
            assert "stress" not in predicted.calc.results


def test_uncertain_potentials_leave_their_deviations_too(tmp_path, argon_ensemble, crystal, cluster):
    """Energies of members are in the ratio of their wells, 0.0100 : 0.0104 : 0.0110 with deviation 0.0005033."""
    slab = crystal.copy()
    slab.pbc = (True, True, False)
    write(tmp_path / "in.xyz", [crystal, cluster, slab])
    predict_file(argon_ensemble, tmp_path / "in.xyz", tmp_path / "out.xyz", batch_atoms=1000)
    spread = np.std([100, 104, 110], ddof=1) / np.mean([100, 104, 110])
    for atoms, predicted in zip(read(tmp_path / "in.xyz", ":"), read(tmp_path / "out.xyz", ":"), strict=True):
        atoms.calc = simkit.Calculator(argon_ensemble)
        assert predicted.get_potential_energy() == pytest.approx(atoms.get_potential_energy(), abs=1e-12)
        np.testing.assert_allclose(predicted.get_forces(), atoms.get_forces(), atol=6e-9)  # eight decimals
        forces = predicted.get_forces()
        assert predicted.info["energy_std"] == pytest.approx(-spread * predicted.get_potential_energy(), rel=1e-6)
        np.testing.assert_allclose(predicted.arrays["forces_std"], spread * np.abs(forces), atol=2e-8)
        sigma = spread * np.linalg.norm(forces, axis=1) / np.sqrt(3)
        np.testing.assert_allclose(predicted.arrays["force_sigma"], sigma, atol=2e-8)
        assert predicted.info["uncertainty"] == "deep ensemble, not calibrated"
        if atoms.pbc.any():
            np.testing.assert_allclose(predicted.get_stress(), atoms.get_stress(), atol=1e-9)
        if atoms.pbc.all():
            stress = spread * np.abs(predicted.get_stress())
            np.testing.assert_allclose(predicted.info["stress_std"], stress, atol=1e-9)
        else:
            assert "stress_std" not in predicted.info


def test_the_frames_other_data_and_references_stay(tmp_path, argon_model, crystal):
    crystal.info |= {"config_type": "liquid", "answer": 42}
    crystal.set_array("velocity_class", np.arange(len(crystal)))
    crystal.set_constraint(FixAtoms([0, 2]))
    crystal.calc = SinglePointCalculator(crystal, energy=-1.5, forces=np.full((4, 3), 0.25))
    write(tmp_path / "in.xyz", crystal)
    summary = predict_file(argon_model, tmp_path / "in.xyz", tmp_path / "out.xyz")
    predicted = read(tmp_path / "out.xyz")
    assert summary["frames_with_references"] == 1
    assert predicted.info["config_type"] == "liquid"
    assert predicted.info["answer"] == 42
    np.testing.assert_array_equal(predicted.arrays["velocity_class"], np.arange(4))
    np.testing.assert_array_equal(predicted.constraints[0].index, [0, 2])
    assert predicted.info["REF_energy"] == -1.5
    np.testing.assert_array_equal(predicted.arrays["REF_forces"], np.full((4, 3), 0.25))
    assert predicted.get_potential_energy() != -1.5
    assert np.abs(predicted.get_forces(apply_constraint=False)[0]).max() > 1e-4


def test_references_survive_a_second_prediction(tmp_path, argon_model, crystal):
    crystal.calc = SinglePointCalculator(crystal, energy=-1.5)
    write(tmp_path / "in.xyz", crystal)
    predict_file(argon_model, tmp_path / "in.xyz", tmp_path / "once.xyz")
    predict_file(argon_model, tmp_path / "once.xyz", tmp_path / "twice.xyz")
    assert (tmp_path / "once.xyz").read_text() == (tmp_path / "twice.xyz").read_text()


def test_float32_is_close_to_float64(tmp_path, argon_model, crystal):
    write(tmp_path / "in.xyz", crystal)
    predict_file(argon_model, tmp_path / "in.xyz", tmp_path / "single.xyz", dtype="float32")
    predict_file(argon_model, tmp_path / "in.xyz", tmp_path / "double.xyz")
    single, double = read(tmp_path / "single.xyz"), read(tmp_path / "double.xyz")
    assert 0 < abs(single.get_potential_energy() - double.get_potential_energy()) < 1e-5


def test_a_frame_with_an_unknown_element_is_named_and_nothing_is_written(tmp_path, argon_model, crystal):
    write(tmp_path / "in.xyz", [crystal, Atoms("XeAr", [[0, 0, 0], [0, 0, 4]])])
    with pytest.raises(UnsupportedElementError, match=r"in\.xyz, frame 1 \(ArXe\).*supports Ne Ar.*contains Xe"):
        predict_file(argon_model, tmp_path / "in.xyz", tmp_path / "out.xyz")
    assert not (tmp_path / "out.xyz").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["argon.simkit", "in.xyz"]


def test_a_frame_with_atoms_on_top_of_one_another_is_named(tmp_path, argon_model, crystal):
    write(tmp_path / "in.xyz", [crystal, Atoms("Ar2", [[0, 0, 0], [0, 0, 1e-3]])])
    with pytest.raises(InvalidSystemError, match=r"frame 1 \(Ar2\): atoms 0 and 1 are 0\.001 Å apart"):
        predict_file(argon_model, tmp_path / "in.xyz", tmp_path / "out.xyz")


def test_a_truncated_file_is_refused(tmp_path, argon_model, crystal):
    write(tmp_path / "in.xyz", [crystal, crystal])
    text = (tmp_path / "in.xyz").read_text()
    (tmp_path / "in.xyz").write_text(text[: len(text) - 90])
    with pytest.raises(DataError, match="frame 1 should have 4 atoms, but the file ends before"):
        predict_file(argon_model, tmp_path / "in.xyz", tmp_path / "out.xyz")
    assert not (tmp_path / "out.xyz").exists()


def test_a_missing_file_and_a_wrong_suffix_are_named(tmp_path, argon_model, crystal):
    with pytest.raises(DataError, match="found none at"):
        predict_file(argon_model, tmp_path / "no.xyz", tmp_path / "out.xyz")
    write(tmp_path / "in.xyz", crystal)
    with pytest.raises(DataError, match=r"ends in \.xyz or \.extxyz, found out\.csv"):
        predict_file(argon_model, tmp_path / "in.xyz", tmp_path / "out.csv")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("99999999999\n\nAr 0 0 0\n", "frame 0 should have 99999999999 atoms, but the file ends before"),
        ("0\n\n", "expected at least one atom, found none"),
    ],
)
def test_a_file_with_a_wrong_number_of_atoms_is_refused(tmp_path, argon_model, text, message):
    (tmp_path / "in.xyz").write_text(text)
    with pytest.raises((DataError, InvalidSystemError), match=message):
        predict_file(argon_model, tmp_path / "in.xyz", tmp_path / "out.xyz")
    assert [path.name for path in tmp_path.glob("*out*")] == []


def test_a_charge_that_the_model_ignores_is_said_once(tmp_path, argon_model, crystal, cluster):
    cluster.info["charge"] = -1
    write(tmp_path / "in.xyz", [crystal, cluster, cluster])
    with pytest.warns(SimkitWarning, match=r"in.xyz, frame 1 \(Ar13\) has charge -1, which this lennard") as said:
        predict_file(argon_model, tmp_path / "in.xyz", tmp_path / "out.xyz")
    assert len(said) == 1
    assert read(tmp_path / "out.xyz", 1).info["charge"] == -1
