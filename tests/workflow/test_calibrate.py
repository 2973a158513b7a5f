"""The workflow of calibrated uncertainties, whole, with few frames and tiny potentials."""

from pathlib import Path

import pytest
import torch
from ase.io import read

import simkit
from simkit.csv_tables import read_table
from simkit.progress import Silent
from simkit.system import System
from simkit.workflow.machine import SerialProfile
from simkit.workflow.plan import make_plan
from simkit.workflow.runner import run_plan
from simkit.workflow.schema import read_workflow
from simkit.workflow.store import read_result

FILE = Path(__file__).parents[2] / "workflows" / "calibrate.yaml"
SMALL = (
    "steps.frames.train=8",
    "steps.frames.valid=2",
    "steps.frames.test=6",
    "steps.frames.calibration=6",
    "steps.frames.spacing=4",
    "steps.frames.equilibration=4",
    "steps.hot.test=3",
    "steps.hot.spacing=4",
    "steps.hot.equilibration=4",
    "steps.committee.ensemble.members=2",
    "steps.committee.architecture.hidden_irreps=4x0e",
    "steps.committee.architecture.max_ell=1",
    "steps.committee.architecture.radial_mlp=[8]",
    "steps.committee.training.max_epochs=2",
    "steps.heating.steps=20",
    "steps.heating.uncertainty.stop_above=1000",
)
CALIBRATIONS = ("calibrated_committee", "last_layer", "distance")


@pytest.mark.filterwarnings("ignore::simkit.errors.SimkitWarning")  # nothing holds after two epochs, which is said
def test_from_the_labeller_to_dynamics_with_an_uncertainty(tmp_path):
    pytest.importorskip("tblite")
    repeats = [f"steps.{name}.repeats=2" for name in CALIBRATIONS]
    plan = make_plan(read_workflow(FILE, settings=(*SMALL, *repeats)), tmp_path)
    report = run_plan(plan, SerialProfile(device="cpu"), Silent())
    assert report.failed == {}
    assert report.succeeded

    summaries = {name: read_result(step.folder)["summary"] for name, step in plan.steps.items()}
    assert [summaries[name]["method"] for name in CALIBRATIONS] == ["deep ensemble", "LLPR", "latent distance"]
    for name in CALIBRATIONS:
        assert (summaries[name]["calibration_frames"], summaries[name]["calibration_groups"]) == (6, 6)
        assert summaries[name]["frames"] == {"300 and 600 K": 6, "1200 K": 3}
    assert len(summaries["committee"]["members"]) == 2

    structure = System.from_ase(read(plan.steps["hot"].folder / "test.xyz"), dtype=torch.float32)
    for name in CALIBRATIONS:
        prediction = simkit.load_model(plan.steps[name].folder / "model.simkit").predict(structure)
        assert prediction.provenance.calibrated
        assert float(prediction.force_sigma.min()) > 0
    log = read_table(plan.steps["heating"].folder / "log.csv")
    assert (log["force_sigma_max_ev_per_ang"] > 0).all()
    html = (plan.steps["report"].folder / "report.html").read_text(encoding="utf-8")
    for name in (*CALIBRATIONS, "committee"):
        assert f": {name}</h2>" in html
    assert html.count("<img ") >= 18
