"""Calibration of an ensemble whose deviations are known, on frames whose errors are known.

The members are Lennard-Jones potentials with different wells, so that every deviation is a fixed fraction of the mean.
Labels differ from the mean by twice the deviation, in either direction for each trajectory.
"""

import json
from functools import partial
from itertools import cycle

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write

import simkit
from simkit.errors import DataError, SimkitError, SimkitWarning
from simkit.potentials.mace import MACE
from simkit.potentials.model_file import read_header
from simkit.system import System
from simkit.tasks import calibrate
from simkit.tasks.calibration_data import IN_SAMPLE, read_residuals
from simkit.uncertainty.calibrated import Calibrated
from simkit.uncertainty.conformal_potential import Conformal
from simkit.uncertainty.residuals import NotFiniteError, TooFewGroupsError
from simkit.uncertainty.settings import CalibrationSettings, ConformalSettings, EnsembleMethod, LLPRMethod

calibrate_files = partial(calibrate.calibrate_files, repeats=3)
SPREAD = np.std([100, 104, 110], ddof=1) / np.mean([100, 104, 110])


@pytest.fixture
def labelled(tmp_path, argon_ensemble):
    """Write frames whose errors are so many deviations; returns the path."""

    def labelled(name, seed, deviations=2.0, groups=6, frames=12):
        calculator, random = simkit.Calculator(argon_ensemble), np.random.default_rng(seed)
        written = []
        for index, sign in zip(range(frames), cycle((1, -1))):
            atoms = bulk("Ar", "fcc", a=5.3, cubic=True)
            atoms.rattle(0.1, rng=random)
            atoms.calc = calculator
            factor = 1 + sign * deviations * SPREAD
            values = {key: factor * getattr(atoms, f"get_{key}")() for key in ("potential_energy", "forces", "stress")}
            values["energy"] = values.pop("potential_energy")
            frame = bulk("Ar", "fcc", a=5.3, cubic=True)
            frame.positions = atoms.positions
            frame.calc = SinglePointCalculator(frame, **values)
            if groups:
                frame.info["group"] = f"{name}{index % groups}"
            written.append(frame)
        path = tmp_path / f"{name}.xyz"
        write(path, written)
        return path

    return labelled


def of(summary, target, domain, method="model"):
    wanted = (target, domain, method)
    (line,) = (one for one in summary["assessments"] if (one["target"], one["domain"], one["method"]) == wanted)
    return line


def test_the_factor_is_found_and_holds_on_other_frames(tmp_path, argon_ensemble, labelled):
    calibration, test = labelled("calibration", 0), labelled("test", 1)
    summary = calibrate_files(argon_ensemble, calibration, tmp_path / "out", test={"cold": test})
    assert summary["map"]["alpha"] == pytest.approx(2, rel=1e-5)
    assert (summary["calibration_frames"], summary["calibration_groups"]) == (12, 6)
    assert summary["warnings"] == []
    for target in ("energy", "force-vectors", "stress"):
        line = of(summary, target, "cold")
        assert line["values"]["z_std"] == pytest.approx(1, rel=1e-3)
        assert (line["rows"], line["groups"]) == ({"energy": 12, "force-vectors": 48, "stress": 72}[target], 6)
    # this deviation is a fraction of the force, so the baseline that scales the force is as good
    free = of(summary, "force-vectors", "cold", "size of the force")
    assert free["values"]["nll"] == pytest.approx(of(summary, "force-vectors", "cold")["values"]["nll"], abs=0.1)
    assert json.loads((tmp_path / "out" / "calibration.json").read_text()) == summary
    rows = read_residuals(tmp_path / "out" / "calibration.npz")[("cold", "force-vectors")]
    np.testing.assert_allclose(np.linalg.norm(rows.errors, axis=1), np.sqrt(3) * rows.sigmas, rtol=1e-4)


def test_the_file_is_a_calibrated_potential(tmp_path, argon_ensemble, labelled):
    calibrate_files(argon_ensemble, labelled("calibration", 0), tmp_path / "out")
    potential, raw = simkit.load_model(tmp_path / "out" / "model.simkit"), simkit.load_model(argon_ensemble)
    assert isinstance(potential, Calibrated)
    assert potential.provenance.calibrated
    system = System.from_ase(read(tmp_path / "calibration.xyz"))
    found, before = potential.predict(system), raw.predict(system)
    np.testing.assert_allclose(found.force_sigma, 2 * before.force_sigma, rtol=1e-5)
    np.testing.assert_array_equal(found.forces, before.forces)


def test_without_test_frames_the_calibration_frames_are_judged_and_this_is_said(tmp_path, argon_ensemble, labelled):
    summary = calibrate_files(argon_ensemble, labelled("calibration", 0), tmp_path / "out")
    assert summary["in_sample"]
    assert of(summary, "force-vectors", IN_SAMPLE)["values"]["z_std"] == pytest.approx(1, rel=1e-6)


def test_several_models_are_an_ensemble(tmp_path, argon_model, labelled):
    other = tmp_path / "other.simkit"
    simkit.save_model(other, type(simkit.load_model(argon_model))(0.0110, 3.4, 7.0, elements=(10, 18)))
    data = labelled("calibration", 0)
    summary = calibrate_files([argon_model, other], data, tmp_path / "out", method=EnsembleMethod())
    assert summary["method"] == "deep ensemble"
    assert summary["degrees_of_freedom"] == 1


def test_calibrating_again_replaces_the_calibration(tmp_path, argon_ensemble, labelled):
    calibrate_files(argon_ensemble, labelled("calibration", 0), tmp_path / "out")
    again = calibrate_files(tmp_path / "out" / "model.simkit", labelled("more", 1, 3.0), tmp_path / "again")
    assert again["map"]["alpha"] == pytest.approx(3, rel=1e-5)


def test_energies_alone_calibrate_too(tmp_path, argon_ensemble, labelled):
    path = labelled("calibration", 0)
    frames = read(path, ":")
    for frame in frames:
        frame.calc = SinglePointCalculator(frame, energy=frame.get_potential_energy())
    write(path, frames)
    summary = calibrate_files(argon_ensemble, path, tmp_path / "out")
    assert summary["map"]["alpha"] == pytest.approx(2, rel=1e-5)
    assert {line["target"] for line in summary["assessments"]} == {"energy"}


def test_a_domain_where_the_calibration_does_not_hold_is_named(tmp_path, argon_ensemble, labelled):
    data = {"cold": labelled("cold", 1), "hot": labelled("hot", 2, deviations=6.0)}
    with pytest.warns(SimkitWarning, match="hot: errors of .* are 3 times as large as predicted") as said:
        calibrate_files(argon_ensemble, labelled("calibration", 0), tmp_path / "out", test=data)
    assert len(said) == 3  # energies, forces, stresses
    summary = json.loads((tmp_path / "out" / "calibration.json").read_text())
    assert len(summary["warnings"]) == 3


def test_frames_of_the_training_are_named(tmp_path, argon_ensemble, labelled):
    calibration = labelled("calibration", 0)
    with pytest.raises(DataError, match="all 12 calibration frames are training frames too"):
        calibrate_files(argon_ensemble, calibration, tmp_path / "out", train=calibration)
    half = tmp_path / "half.xyz"
    write(half, read(calibration, "::2"))
    with pytest.warns(SimkitWarning) as said:
        calibrate_files(argon_ensemble, calibration, tmp_path / "out", train=half, test={"same": calibration})
    texts = [str(one.message) for one in said]
    assert any("6 of 12 calibration frames are training frames too" in text for text in texts)
    assert any("12 of 12 test frames (same) are calibration frames too" in text for text in texts)
    assert any("groups that have training frames too" in text for text in texts)


def test_trajectories_are_counted(tmp_path, argon_ensemble, labelled):
    with pytest.raises(TooFewGroupsError, match="independent"):
        calibrate_files(argon_ensemble, labelled("one", 0, groups=1), tmp_path / "out")
    with pytest.warns(SimkitWarning, match="on 3 independent groups"):
        calibrate_files(argon_ensemble, labelled("three", 0, groups=3), tmp_path / "out")
    with pytest.warns(SimkitWarning, match="12 of 12 calibration frames name no trajectory"):
        calibrate_files(argon_ensemble, labelled("none", 0, groups=0), tmp_path / "out")


def test_what_cannot_be_calibrated(tmp_path, argon_ensemble, argon_model, labelled):
    data = labelled("calibration", 0)
    with pytest.raises(SimkitError, match="one model alone does not tell its errors"):
        calibrate_files(argon_model, data, tmp_path / "out")
    with pytest.raises(SimkitError, match="at least two members"):
        calibrate_files(argon_model, data, tmp_path / "out", method=EnsembleMethod())
    with pytest.raises(SimkitError, match="has an uncertainty of its own"):
        calibrate_files(argon_ensemble, data, tmp_path / "out", method=EnsembleMethod())
    with pytest.raises(SimkitError, match="at least 4 members"):
        calibrate_files(argon_ensemble, data, tmp_path / "out", calibration=CalibrationSettings(map="finite-committee"))


def test_predictions_that_are_not_numbers(tmp_path, argon_ensemble, labelled, monkeypatch):
    data, kind = labelled("calibration", 0), type(simkit.load_model(argon_ensemble))

    def broken(self, *arguments, **options):
        prediction = original(self, *arguments, **options)
        prediction.forces[0] = np.nan
        return prediction

    original = kind.predict
    monkeypatch.setattr(kind, "predict", broken)
    with pytest.raises(NotFiniteError, match="NaN"):
        calibrate_files(argon_ensemble, data, tmp_path / "out")


def test_conformal_intervals_around_the_calibrated_model(tmp_path, argon_ensemble, labelled):
    """All errors of the calibration are as many deviations, so every frame of the test is within, or none is."""
    data, tests = labelled("calibration", 0), {"same": labelled("same", 1), "worse": labelled("worse", 2, 2.2)}
    summary = calibrate_files(
        argon_ensemble, data, tmp_path / "out", test=tests, conformal=ConformalSettings(over_atoms="max")
    )
    potential = simkit.load_model(tmp_path / "out" / "model.simkit")
    assert isinstance(potential, Conformal)
    assert potential.provenance.calibrated
    system = System.from_ase(read(data))
    prediction = potential.predict(system)
    radius = prediction.interval(0.9).forces_radius
    np.testing.assert_allclose(radius, np.sqrt(3) * prediction.force_sigma, rtol=1e-4)
    assert summary["conformal"]["scores"]["forces"]["quantile"] == pytest.approx(np.sqrt(3), rel=1e-4)
    coverage = {name: one["energy"]["coverage"] for name, one in summary["conformal"]["domains"].items()}
    assert coverage["worse"] == 0.0
    assert coverage["same"] > 0.3  # the digits of the files decide


def test_conformal_intervals_need_no_deviations(tmp_path, argon_model, labelled):
    data = labelled("calibration", 0)
    summary = calibrate_files(argon_model, data, tmp_path / "out", conformal=ConformalSettings())
    assert summary["method"] == "conformal prediction"
    assert summary["assessments"] == []
    potential = simkit.load_model(tmp_path / "out" / "model.simkit")
    errors = [
        np.linalg.norm(frame.get_forces() - simkit.Calculator(argon_model).get_forces(frame), axis=1).max()
        for frame in read(data, ":")
    ]
    found = potential.predict(System.from_ase(read(data))).interval(0.9).forces_radius
    np.testing.assert_allclose(found, sorted(errors)[11], rtol=1e-6)  # the 12th of 12: ⌈13·0.9⌉


@pytest.mark.filterwarnings("ignore:calibration frames themselves")  # one factor does not suit stresses too
def test_last_layer_uncertainty_of_a_network(tmp_path, labelled):
    """An untrained network: its errors are large, and in a region that it was fitted to they are as predicted."""
    train, data = labelled("train", 3), labelled("calibration", 0)
    network = MACE(elements=[18], cutoff=5.0, hidden_irreps="4x0e", max_ell=1, correlation=1, radial_mlp=[4])
    simkit.save_model(tmp_path / "network.simkit", network)
    summary = calibrate_files(
        tmp_path / "network.simkit", data, tmp_path / "out", train=train, method=LLPRMethod(draws=4)
    )
    assert summary["method"] == "LLPR"
    assert of(summary, "force-vectors", IN_SAMPLE)["values"]["z_std"] == pytest.approx(1, rel=1e-6)
    header = read_header(tmp_path / "out" / "model.simkit")
    assert header["provenance"]["uncertainty"]["map"]["alpha"] == summary["map"]["alpha"]
    with pytest.raises(SimkitError, match="fitted to the frames that the model was trained on"):
        calibrate_files(tmp_path / "network.simkit", data, tmp_path / "out", method=LLPRMethod())
