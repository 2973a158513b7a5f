"""Data in other units, of other signs and under other keys: what the audit advises can be followed everywhere."""

import json
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.io import read, write

from simkit.datasets.audit.consistency import ENERGY_UNITS, FORCE_UNITS, STRESS_UNITS
from simkit.datasets.files import FORMATS
from simkit.training.sources import CONCERN_READING, ReadingSettings
from tests.datasets.examples import crystals

SMALL = "architecture: {kind: painn, cutoff: 3.0, channels: 2, layers: 1, n_radial: 2}\ntraining: {max_epochs: 1}\n"


@pytest.fixture(scope="module")
def copper() -> list[Atoms]:
    """Thermal and strained crystals with energies (eV), forces (eV/Å) and stresses (eV/Å³) of EMT."""
    rng = np.random.default_rng(0)
    thermal = [bulk("Cu", cubic=True) for _ in range(10)]
    for atoms in thermal:
        atoms.rattle(0.04, rng=rng)
    strained = crystals(24)
    frames = [*thermal, *(atoms for atoms in strained if set(atoms.symbols) == {"Cu"})]
    for atoms in thermal:
        atoms.calc = EMT()
    return frames


def foreign(path: Path, frames: list[Atoms], energy: float = 1.0, forces: float = 1.0, stress: float = 1.0) -> Path:
    """A file with keys of its own, whose units and signs are given as factors."""
    written = []
    for atoms in frames:
        one = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=True)
        one.info["E_dft"] = atoms.get_potential_energy() * energy
        one.info["S_dft"] = atoms.get_stress(voigt=False) * stress
        one.set_array("F_dft", atoms.get_forces() * forces)
        written.append(one)
    write(path, written, format="extxyz")
    return path


KEYS = ("energy_key=E_dft", "forces_key=F_dft", "stress_key=S_dft")
CASES = {
    "energy in kcal/mol": ({"energy": 23.0605}, "inconsistent-units", ["energy_unit=kcal/mol"]),
    "forces in Hartree/Bohr": ({"forces": 1 / 51.42207}, "inconsistent-units", ["forces_unit=Hartree/Bohr"]),
    "gradients": ({"forces": -1.0}, "force-sign", ["forces_sign=-1"]),
    "stress in kbar": ({"stress": 1602.1766}, "stress-unit", ["stress_unit=kbar"]),
    "compression positive": ({"stress": -1.0}, "stress-sign", ["stress_sign=-1"]),
}


def words(options: tuple[str, ...] | list[str]) -> list[str]:
    return [word for option in options for word in ("--reading", option)]


@pytest.mark.parametrize("case", CASES)
def test_the_audits_advice_can_be_followed_on_the_command_line(simkit, tmp_path, copper, case):
    factors, kind, remedy = CASES[case]
    data = foreign(tmp_path / "data.xyz", copper, **factors)

    def audit(*options):
        facts = json.loads(simkit("info", data, "--json", *words([*KEYS, *options])).stdout)
        return {finding["kind"]: finding for finding in facts["audit"]["findings"]}

    assert kind in audit()
    assert kind in CONCERN_READING
    assert not set(audit(*remedy)) & set(CONCERN_READING)
    if kind == "force-sign":
        assert "reading: {energy_unit: Hartree, forces_sign: -1}" in simkit("info", data, *words(KEYS)).stdout


def test_training_and_evaluation_read_foreign_data_as_their_own(simkit, tmp_path, copper):
    foreign(tmp_path / "plain.xyz", copper)
    foreign(tmp_path / "other.xyz", copper, energy=1 / 27.211386, forces=-1 / 51.42207, stress=-1602.1766)
    units = {"energy_unit": "Hartree", "forces_unit": "Hartree/Bohr", "stress_unit": "kbar"}
    keys = dict(word.split("=") for word in KEYS)
    reading = json.dumps(keys | units | {"forces_sign": -1, "stress_sign": -1})
    (tmp_path / "other.yaml").write_text(f"{SMALL}data: other.xyz\nreading: {reading}\nreplay: "
                                         f"{{data: other.xyz, reading: {reading}}}\n")  # fmt: skip
    (tmp_path / "plain.yaml").write_text(SMALL + "replay: {data: plain.xyz, reading: REPLAY}\n".replace(
        "REPLAY", json.dumps(keys)))  # fmt: skip
    options = words([*KEYS, *(f"{key}={value}" for key, value in units.items()), "forces_sign=-1", "stress_sign=-1"])
    assert simkit("train", "plain.yaml", "--data", "plain.xyz", *words(KEYS), "-o", "a").exit_code == 0
    result = simkit("train", "other.yaml", "-o", "b")
    assert result.exit_code == 0, result.stderr
    assert "warning" not in result.stderr
    summaries = [json.loads((tmp_path / name / "result.json").read_text())["summary"] for name in "ab"]
    for name in ("validation_energy_mae_mev_per_atom", "validation_forces_mae_mev_per_ang"):
        assert summaries[0][name] == pytest.approx(summaries[1][name], rel=1e-4)

    flow = {"kind": "evaluate", "model": "a/model.simkit", "data": "other.xyz", "reading": json.loads(reading)}
    (tmp_path / "flow.yaml").write_text(json.dumps({"name": "f", "steps": {"errors": flow}}))
    assert simkit("run", "flow.yaml").exit_code == 0
    step = json.loads((tmp_path / "runs/f/errors/errors.json").read_text())
    assert simkit("evaluate", "a/model.simkit", "other.xyz", "-o", "e.json", *options).exit_code == 0
    command = json.loads((tmp_path / "e.json").read_text())
    assert simkit("evaluate", "a/model.simkit", "plain.xyz", "-o", "p.json", *words(KEYS)).exit_code == 0
    plain = json.loads((tmp_path / "p.json").read_text())
    for name in ("energy_mae_mev_per_atom", "forces_mae_mev_per_ang", "stress_mae_mev_per_ang3"):
        assert step[name] == command[name]
        assert step[name] == pytest.approx(plain[name], rel=1e-4)


def test_training_says_how_to_follow_the_advice(simkit, tmp_path, copper):
    data = foreign(tmp_path / "data.xyz", copper, forces=-1.0)
    (tmp_path / "train.yaml").write_text(SMALL)
    said = simkit("train", "train.yaml", "--data", data, *words(KEYS)).stderr
    assert "the forces have the wrong sign" in said
    assert "--reading forces_sign=-1 on the command line" in said


def test_a_run_is_not_continued_with_data_read_otherwise(simkit, tmp_path, copper):
    data = foreign(tmp_path / "data.xyz", copper)
    (tmp_path / "train.yaml").write_text(SMALL)
    assert simkit("train", "train.yaml", "--data", data, *words(KEYS), "-o", "a").exit_code == 0
    result = simkit("train", "train.yaml", "--data", data, *words(KEYS), "--reading", "energy_unit=kcal/mol", "-o", "a")
    assert result.exit_code == 1
    assert "reading.energy_unit: None there, kcal/mol now" in result.stderr
    copper[0].info["E_dft"] = 0.0
    foreign(data, copper[1:])
    result = simkit("train", "train.yaml", "--data", data, *words(KEYS), "-o", "a")
    assert "data.data.xyz:" in result.stderr


def test_frames_that_are_written_keep_the_labels_that_were_chosen(simkit, tmp_path, copper):
    data = foreign(tmp_path / "data.xyz", copper)
    frames = read(data, ":")
    for atoms in frames:
        atoms.info["REF_energy"] = 1e3
        atoms.set_array("REF_forces", np.full((len(atoms), 3), 9.0))
    write(data, frames)
    (tmp_path / "train.yaml").write_text(SMALL + "split: {test: 3}\n")
    result = simkit("train", "train.yaml", "--data", data, *words(KEYS), "-o", "out")
    assert result.exit_code == 0, result.stderr
    summary = json.loads((tmp_path / "out/result.json").read_text())["summary"]
    assert simkit("evaluate", "out/model.simkit", "out/test.xyz", "-o", "errors.json").exit_code == 0
    errors = json.loads((tmp_path / "errors.json").read_text())
    for name in ("energy_mae_mev_per_atom", "forces_mae_mev_per_ang"):
        assert errors[name] == pytest.approx(summary[f"test_{name}"], rel=1e-4)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("energy_unit", "expected --reading KEY=VALUE, e.g. --reading energy_unit=Hartree, found 'energy_unit'"),
        ("energy_kye=E", "--reading energy_kye: reading.energy_kye: unknown key; did you mean 'energy_key'?"),
        ("energy_unit=parsec", "reading.energy_unit: expected a unit of energy"),
        ("forces_unit=kcal", "reading.forces_unit: expected a unit of force"),
        ("forces_sign=2", "reading.forces_sign: expected 1 or -1, found 2"),
        ("energy_key=absent", "expected the key 'absent' for the energy, found only"),
        ("stress_order=xy yz zx", "only JSON records have an order of shear stresses; remove stress_order"),
        ("format=pdf", "reading.format: expected 'extxyz'"),
    ],
)
def test_wrong_readings_are_one_message(simkit, tmp_path, copper, option, message):
    data = foreign(tmp_path / "data.xyz", copper[:3])
    result = simkit("info", data, "--reading", option)
    assert result.exit_code == 1
    assert message in result.stderr
    if "unit" in option:
        assert message in simkit("train", "--data", data, "--reading", option).stderr


def test_every_unit_that_an_audit_names_is_understood():
    for energy in ENERGY_UNITS:
        ReadingSettings(energy_unit=energy)
    for force in FORCE_UNITS:
        ReadingSettings(forces_unit=force)
    from simkit.datasets.unit_names import stress_factor

    for stress, factor in STRESS_UNITS.items():
        assert stress_factor(stress) == pytest.approx(factor)


def test_formats_are_those_of_the_readers():
    schema = ReadingSettings.model_json_schema()["properties"]["format"]
    assert set(schema["anyOf"][0]["enum"]) == set(FORMATS)
