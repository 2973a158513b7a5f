"""The steps over potentials, run as the workflow engine runs them."""

import json

import numpy as np
import pytest
from ase.build import bulk
from ase.io import read, write
from pydantic import ValidationError

import simkit
from simkit.potentials.lennard_jones import LennardJones
from simkit.progress import Silent
from simkit.tasks.frames import read_frames
from simkit.workflow.step import Context
from simkit.workflow.steps.evaluate import Evaluate
from simkit.workflow.steps.label import Label
from simkit.workflow.steps.md import MolecularDynamics
from simkit.workflow.steps.predict import Predict
from simkit.workflow.steps.relax import Relax


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "argon.simkit"
    simkit.save_model(path, LennardJones(epsilon=0.0104, sigma=3.4, cutoff=7.0, elements=(18,)))
    return path


@pytest.fixture
def crystal(tmp_path):
    atoms = bulk("Ar", "fcc", a=5.3, cubic=True)
    atoms.rattle(0.05, rng=np.random.RandomState(1))
    write(tmp_path / "crystal.xyz", atoms)
    return tmp_path / "crystal.xyz"


def run(step, folder, **inputs):
    folder.mkdir()
    summary = step.run(Context(folder, inputs, seed=3, device="cpu", progress=Silent()))
    for name in step.produces:
        assert (folder / name).exists()
    json.dumps(summary, allow_nan=False)
    return summary


def test_labels_of_a_model_are_reproduced_by_it(tmp_path, model, crystal):
    step = Label(structure="s", labeller_model="m", train=3, valid=1, test=2, timestep=2, spacing=2, equilibration=0)
    run(step, tmp_path / "label", s=crystal, m=model)
    assert len(read(tmp_path / "label" / "train.xyz", ":")) == 4
    step = Evaluate(model="m", data="d")
    summary = run(step, tmp_path / "evaluate", m=model, d=tmp_path / "label" / "test.xyz")
    assert summary["frames"] == 2
    assert summary["forces_mae_mev_per_ang"] < 1e-4


def test_predict(tmp_path, model, crystal):
    run(Predict(model="m", structures="s"), tmp_path / "out", m=model, s=crystal)
    assert read(tmp_path / "out" / "predicted.xyz").get_potential_energy() < 0


def test_relax(tmp_path, model, crystal):
    summary = run(Relax(model="m", structures="s", relax_cell=True, fmax=1e-3), tmp_path / "out", m=model, s=crystal)
    assert summary["converged"] == 1


def test_md_continues_as_if_it_had_never_stopped(tmp_path, model, crystal):
    settings = {"model": "m", "structure": "s", "timestep": 10.0, "temperature": 60.0, "checkpoint_every": 5}
    run(MolecularDynamics(**settings, steps=16), tmp_path / "whole", m=model, s=crystal)
    run(MolecularDynamics(**settings, steps=7), tmp_path / "parts", m=model, s=crystal)
    context = Context(tmp_path / "parts", {"m": model, "s": crystal}, seed=3, device="cpu", progress=Silent())
    MolecularDynamics(**settings, steps=16).run(context)
    for name in ("log.csv", "final.xyz"):
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    whole, parts = (list(read_frames(tmp_path / name / "trajectory.h5")) for name in ("whole", "parts"))
    assert [frame.info for frame in parts] == [frame.info for frame in whole]


def test_label_wants_exactly_one_source():
    with pytest.raises(ValidationError, match="exactly one of molecule, structure and frames, found molecule, frames"):
        Label(molecule="H2O", frames="frames.xyz")


def test_the_integrators_papers_are_cited():
    citations = MolecularDynamics(model="m", structure="s", ensemble="bussi").citations()
    assert "10.1063/1.2408420" in citations[0]
