"""The workflow of active learning, whole, with few frames and tiny potentials."""

from pathlib import Path

import pytest

import simkit
from simkit.csv_tables import read_table
from simkit.progress import Silent
from simkit.uncertainty.calibrated import Calibrated
from simkit.workflow.machine import SerialProfile
from simkit.workflow.plan import make_plan
from simkit.workflow.runner import run_plan
from simkit.workflow.schema import read_workflow
from simkit.workflow.store import read_result

FILE = Path(__file__).parents[2] / "workflows" / "active_learning.yaml"
SMALL = (
    "steps.first.molecule=H2O",
    "steps.first.train=6",
    "steps.first.test=3",
    "steps.first.spacing=4",
    "steps.first.equilibration=4",
    "steps.learn.members=2",
    "steps.learn.rounds=1",
    "steps.learn.batch=2",
    "steps.learn.fresh=3",
    "steps.learn.walkers=3",
    "steps.learn.steps=10",
    "steps.learn.save_every=2",
    "steps.learn.architecture={kind: painn, cutoff: 4.0, channels: 4, layers: 1, n_radial: 4}",
    "steps.learn.training.max_epochs=2",
    "steps.learn.retraining.max_epochs=1",
    "steps.explore.steps=10",
    "steps.explore.uncertainty.stop_above=1000",
)


@pytest.mark.filterwarnings("ignore::simkit.errors.SimkitWarning")  # two epochs teach nothing, which is said
def test_from_first_frames_to_a_committee_that_watches_itself(tmp_path):
    pytest.importorskip("tblite")
    plan = make_plan(read_workflow(FILE, settings=SMALL), tmp_path)
    report = run_plan(plan, SerialProfile(device="cpu"), Silent())
    assert report.failed == {}
    assert report.succeeded
    summary = read_result(plan.steps["learn"].folder)["summary"]
    assert len(summary["rounds"]) == 2
    assert summary["rounds"][1]["training_frames"] > summary["rounds"][0]["training_frames"]
    assert len(read_table(plan.steps["learn"].folder / "rounds.csv")["round"]) == 2
    assert isinstance(simkit.load_model(plan.steps["learn"].folder / "model.simkit"), Calibrated)
    assert read_result(plan.steps["explore"].folder)["summary"]["uncertainty"] == "deep ensemble, calibrated"
    html = (plan.steps["report"].folder / "report.html").read_text(encoding="utf-8")
    assert "Active learning: learn" in html
    assert "Errors of the forces, round after round" in html
    assert "10.1016/0304-3975(85)90224-5" in html


def test_settings_are_checked_before_anything_runs(tmp_path):
    for change, message in (("members=1", "greater than or equal to 2"), ("absurd=0.5", "greater than 1")):
        with pytest.raises(simkit.errors.WorkflowError, match=message):
            read_workflow(FILE, settings=[f"steps.learn.{change}"])
