"""The command ``simkit calibrate``, and what the others say of its model."""

import json
from itertools import cycle

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write

from simkit import Calculator, save_model
from simkit.potentials.lennard_jones import LennardJones
from simkit.potentials.model_file import read_header

WELLS = {"one": 0.0100, "two": 0.0104, "three": 0.0110}


@pytest.fixture
def members(tmp_path):
    """Three Lennard-Jones models."""
    for name, epsilon in WELLS.items():
        save_model(tmp_path / f"{name}.simkit", LennardJones(epsilon, 3.4, 6.0, elements=(18,)))
    return [f"{name}.simkit" for name in WELLS]


@pytest.fixture
def frames(tmp_path):
    """Labelled frames of six trajectories, with errors of 5 % of the middle member's, in either direction."""
    calculator = Calculator(LennardJones(WELLS["two"], 3.4, 6.0, elements=(18,)))
    for seed, name in enumerate(("calibration", "test")):
        written = []
        for index, sign in zip(range(6), cycle((1, -1))):
            atoms = bulk("Ar", "fcc", a=5.3, cubic=True)
            atoms.rattle(0.1, rng=np.random.default_rng([seed, index]))
            atoms.info["group"] = f"{name}{index}"
            energy, forces = calculator.get_potential_energy(atoms), calculator.get_forces(atoms)
            factor = 1 + 0.05 * sign
            atoms.calc = SinglePointCalculator(atoms, energy=factor * energy, forces=factor * forces)
            written.append(atoms)
        write(tmp_path / f"{name}.xyz", written)


def test_an_ensemble_is_calibrated_and_used(simkit, members, frames):
    words = ("calibrate", *members, "--data", "calibration.xyz", "--test", "cold=test.xyz", "--set", "repeats=2")
    result = simkit(*words, "-o", "out", "--device", "cpu", "--conformal")
    assert result.exit_code == 0, result.stderr
    assert "deep ensemble, 6 calibration frames in 6 groups; global map, alpha" in result.stdout
    assert "within conformal intervals of 90 %" in result.stdout
    assert "out/model.simkit" in result.stdout
    assert "intervals of 90% are infinite for energy, forces: they need at least 9" in words_of(result.stderr)
    summary = json.loads(read_text("out/calibration.json"))
    (line,) = (one for one in summary["assessments"] if one["target"] == "force-vectors" and one["method"] == "model")
    assert line["domain"] == "cold"
    assert line["values"]["z_std"] == pytest.approx(1, abs=0.05)
    assert read_header("out/model.simkit")["potential"]["kind"] == "conformal"

    found = simkit("info", "out").stdout
    assert "global map, alpha" in found  # the table of the command, not nested facts
    assert "spearman_ceiling" not in found
    facts = simkit("info", "out/model.simkit").stdout
    assert "deep ensemble" in facts
    assert "6 frames of 6 groups" in facts
    assert json.loads(simkit("info", "out/model.simkit", "--json").stdout)["uncertainty"]["members"] == 3
    errors = simkit("evaluate", "out/model.simkit", "test.xyz").stdout
    assert "predicted deviation of forces" in errors
    assert simkit("predict", "out/model.simkit", "test.xyz", "-o", "predicted.xyz").exit_code == 0
    predicted = read("predicted.xyz")
    assert predicted.info["uncertainty"] == "deep ensemble, calibrated"
    assert (predicted.arrays["force_sigma"] > 0).all()


def test_what_is_wrong_is_said(simkit, members, frames):
    alone = simkit("calibrate", members[0], "--data", "calibration.xyz", "-o", "out", "--device", "cpu")
    assert alone.exit_code == 1
    assert "one model alone does not tell its errors" in " ".join(alone.stderr.split())
    unknown = simkit("calibrate", members[0], "--data", "calibration.xyz", "--method", "dropout", "-o", "out")
    assert unknown.exit_code == 1
    assert "llpr" in unknown.stderr
    twice = simkit("calibrate", members[0], "--data", "calibration.xyz", "--test", "test.xyz", "--test", "test.xyz")
    assert "two test domains are called test" in twice.stderr
    missing = simkit("calibrate", members[0], "--data", "calibratoin.xyz")
    assert missing.exit_code == 1
    assert "did you mean calibration.xyz?" in missing.stderr
    features = simkit(
        "calibrate", members[0], "--data", "calibration.xyz", "--train", "test.xyz", "--method", "llpr", "-o", "out",
        "--device", "cpu",
    )  # fmt: skip
    assert features.exit_code == 1
    assert "last_layer" in features.stderr


def test_intervals_alone_have_no_deviations_to_doubt(simkit, members, frames):
    words = ("calibrate", members[0], "--data", "calibration.xyz", "--conformal", "-o", "out", "--device", "cpu")
    assert simkit(*words).exit_code == 0
    facts = simkit("info", "out/model.simkit").stdout
    assert "conformal prediction" in facts
    assert "deviations may be wrong" not in facts


def words_of(text):
    return " ".join(text.split())


def read_text(path):
    with open(path, encoding="utf-8") as file:
        return file.read()
