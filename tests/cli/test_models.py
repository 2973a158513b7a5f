"""The real steps and commands, as small as they can be."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write

from simkit import save_model
from simkit.potentials.lennard_jones import LennardJones

SMALL = """
architecture: {kind: mace, cutoff: 3.0, hidden_irreps: 2x0e, max_ell: 1, correlation: 2, radial_mlp: [4]}
training: {max_epochs: 1}
"""
FLOW = """
name: copper
steps:
  potential: {kind: train, data: copper.xyz, architecture: ARCHITECTURE, training: {max_epochs: 1}}
  errors: {kind: evaluate, model: $potential/model.simkit, data: copper.xyz}
  predicted: {kind: predict, model: $potential/model.simkit, structures: copper.xyz}
  minimum: {kind: relax, model: $potential/model.simkit, structures: copper.xyz, frame: 0, max_steps: 1}
  motion: {kind: md, model: $potential/model.simkit, structure: copper.xyz, steps: 2}
""".replace("ARCHITECTURE", SMALL.split("architecture: ")[1].splitlines()[0])


@pytest.fixture
def copper(tmp_path):
    rng = np.random.default_rng(0)
    frames = []
    for _ in range(6):
        atoms = bulk("Cu", cubic=True)
        atoms.rattle(0.1, rng=rng)
        atoms.calc = EMT()
        labels = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces(), "stress": atoms.get_stress()}
        atoms.calc = SinglePointCalculator(atoms, **labels)
        frames.append(atoms)
    write(tmp_path / "copper.xyz", frames)
    (tmp_path / "train.yaml").write_text("data: copper.xyz\n" + SMALL)
    (tmp_path / "flow.yaml").write_text(FLOW)
    return tmp_path / "copper.xyz"


@pytest.fixture
def argon(tmp_path):
    """A Lennard-Jones model, and atoms far from its minimum beside it."""
    path = tmp_path / "argon.simkit"
    save_model(path, LennardJones(epsilon=0.0104, sigma=3.4, cutoff=7.0, elements=(18,)))
    atoms = bulk("Ar", "fcc", a=4.6, cubic=True)
    atoms.rattle(0.4, rng=np.random.default_rng(1))
    write(tmp_path / "atoms.xyz", atoms)
    return path


def test_a_workflow_of_real_steps(simkit, copper):
    result = simkit("run", "flow.yaml")
    assert result.exit_code == 0, result.stderr
    folder = Path("runs/copper")
    errors = json.loads((folder / "errors/result.json").read_text())["summary"]
    predicted = read(folder / "predicted/predicted.xyz", ":")
    difference = [
        p.get_potential_energy() - frame.get_potential_energy()
        for p, frame in zip(predicted, read(copper, ":"), strict=True)
    ]
    assert errors["energy_mae_mev_per_atom"] == pytest.approx(1e3 * np.abs(difference).mean() / 4, rel=1e-5)
    assert len(read(folder / "minimum/relaxed.xyz", ":")) == 1
    assert "5 of 5" not in simkit("run", "flow.yaml", "-n").stdout


def test_train_then_use_the_model(simkit, copper):
    trained = simkit("train", "train.yaml", "-o", "out", "--device", "cpu")
    assert trained.exit_code == 0, trained.stderr
    assert "out/model.simkit" in trained.stdout
    again = simkit("train", "train.yaml", "-o", "out", "--device", "cpu")
    assert again.exit_code == 0
    assert "training" not in again.stderr

    errors = simkit("evaluate", "out/model.simkit", copper, "-o", "errors.json")
    values = json.loads(Path("errors.json").read_text())
    force = values["forces_mae_mev_per_ang"]
    assert (f"{force:.1f}" if force >= 100 else f"{force:#.3g}") in errors.stdout
    assert "meV/atom" in errors.stdout

    assert simkit("predict", "out/model.simkit", copper, "-o", "p.xyz", "--dtype", "float64").exit_code == 0
    assert read("p.xyz", 0).get_stress().shape == (6,)
    words = ("relax", "out/model.simkit", copper, "-o", "r.xyz")
    assert simkit(*words, "--frame", "-1", "--fmax", "1000").exit_code == 0
    stopped = simkit(*words, "--max-steps", "1")
    assert (stopped.exit_code, stopped.stdout.count("not converged")) == (1, 6)
    assert re.search(
        r"6 of 6 structures did not converge, the first \S+, frame 0 \(\w+\): raise max_steps", stopped.stderr
    )
    assert len(read("r.xyz", ":")) == 6
    assert simkit("md", "out/model.simkit", copper, "--steps", "1").exit_code == 0
    assert Path("md/trajectory.h5").exists()

    facts = json.loads(simkit("info", "out/model.simkit", "--json").stdout)
    assert (facts["kind"], facts["elements"], facts["cutoff_ang"]) == ("mace", ["Cu"], 3.0)
    assert facts["parameters"] > 0
    assert "10.1038" in " ".join(facts["citations"])
    shown = simkit("info", "out/model.simkit").stdout
    assert len(shown.splitlines()) < 40
    error = facts["metrics"]["validation_stress_mae_mev_per_ang3"]
    assert shown.count(f"{error:.1f}" if error >= 100 else f"{error:#.3g}") == 1
    assert "cutoff 3, hidden_irreps 2x0e" in shown


def test_info_of_data(simkit, copper):
    facts = json.loads(simkit("info", copper, "--json").stdout)
    assert (facts["frames"], facts["elements"]) == (6, ["Cu"])
    assert "audit" in simkit("info", copper).stdout


def test_dynamics_that_explode_end_with_an_error_and_the_last_good_frame(simkit, copper, argon):
    words = ("md", argon, "atoms.xyz", "--steps", "200", "--timestep", "1")
    result = simkit(*words, "--max-temperature", "301")
    assert result.exit_code == 1
    assert "the dynamics stopped early. At step" in result.stderr
    assert "exploded" in result.stdout
    assert np.isfinite(read("md/final.xyz").get_forces()).all()
    flow = {"md": {"kind": "md", "model": "argon.simkit", "structure": "atoms.xyz", "steps": 200, "timestep": 1}}
    flow["md"]["max_temperature"] = 301
    Path("md.yaml").write_text(json.dumps({"name": "hot", "steps": flow}))
    result = simkit("run", "md.yaml")
    assert result.exit_code == 1
    assert "the dynamics stopped early. At step" in result.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("train",), "expected a file of settings, or --data FRAMES.xyz"),
        (("train", "copper.xyz"), "give labelled frames as --data copper.xyz"),
        (("train", "flow.yaml"), "flow.yaml is a whole workflow: use simkit run flow.yaml"),
        (
            ("train", "train.yaml", "--set", "training.epochs=2"),
            "training.epochs: unknown key; did you mean 'max_epochs'?",
        ),
        (
            ("train", "train.yaml", "--set", "max_epochs=2"),
            "unknown key; did you mean 'training.max_epochs'?",
        ),
        (("train", "train.yaml", "--set", "data=absent.xyz"), "train.yaml, --set data: data: no such file"),
        (("train", "--data", "coper.xyz"), "data coper.xyz: no such file; did you mean copper.xyz?"),
        (("evaluate", "model.simkit", "copper.xyz"), "model model.simkit: no such file"),
        (("predict", "copper.xyz", "copper.xyz", "-o", "out.xyz"), "copper.xyz is no model file"),
        (("predict", "train.yaml", "copper.xyz", "-o", "out.xyz", "--device", "gpu"), "found 'gpu'"),
        (("relax", "train.yaml", "copper.xyz", "-o", "out.xyz", "--fmax", "0"), "expected --fmax greater than 0"),
        (("info", "nowhere/file"), "the folder nowhere does not exist either"),
    ],
)
def test_wrong_use_is_one_message(simkit, copper, words, message):
    result = simkit(*words)
    assert result.exit_code == 1
    assert message in result.stderr
    assert result.stderr.startswith("error: ")


def test_dynamics_of_many_systems(simkit, argon):
    words = ("md", argon, "atoms.xyz", "--steps", "3", "--ensemble", "npt", "--pressure", "0,0.1", "-o", "many")
    result = simkit(*words, "--temperature", "10,20", "--timestep", "1,2")
    assert result.exit_code == 0, result.stderr
    systems = json.loads(Path("many/md.json").read_text())["systems"]
    assert [(one["thermostat_temperature_k"], one["time_fs"]) for one in systems] == [(10, 3), (20, 6)]
    for index, one in enumerate(systems):
        assert re.search(rf" {index} +{one['formula']} +finished +3 .* {one['mean_volume_ang3']:.4g} ", result.stdout)
    for words, message in (
        (("--timestep", "fast"), "expected --timestep NUMBER or several with commas, found 'fast'"),
        (("--frame", "first"), "expected --frame to be a whole number or all, found 'first'"),
        (("--temperature", "10,20", "--timestep", "1,2,3"), "as many numbers in each setting that has several"),
    ):
        failed = simkit("md", argon, "atoms.xyz", "--steps", "3", *words)
        assert failed.exit_code == 1
        assert message in failed.stderr
