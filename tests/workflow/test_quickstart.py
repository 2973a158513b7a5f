"""The quickstart, whole, with few frames and a tiny potential."""

from pathlib import Path

import pytest
from ase.io import read

from simkit.csv_tables import read_table
from simkit.progress import Silent
from simkit.workflow.machine import SerialProfile
from simkit.workflow.plan import make_plan
from simkit.workflow.runner import run_plan
from simkit.workflow.schema import read_workflow
from simkit.workflow.store import read_result

FILE = Path(__file__).parents[2] / "workflows" / "quickstart.yaml"
SMALL = (
    "steps.frames.train=6",
    "steps.frames.valid=2",
    "steps.frames.test=6",
    "steps.frames.calibration=6",
    "steps.frames.spacing=2",
    "steps.frames.equilibration=0",
    "steps.potential.architecture.hidden_irreps=4x0e + 4x1o",
    "steps.potential.training.max_epochs=2",
    "steps.potential.training.stage_two.start_epoch=1",
    "steps.uncertainty.repeats=2",
    "steps.minimum.max_steps=2",
    "steps.nve.steps=20",
    "steps.nve.timestep=0.1",
    "steps.nvt.steps=20",
)


@pytest.mark.filterwarnings("ignore::simkit.errors.SimkitWarning")  # nothing holds after two epochs, which is said
def test_from_the_labeller_to_the_report(tmp_path):
    pytest.importorskip("tblite")
    plan = make_plan(read_workflow(FILE, settings=SMALL), tmp_path)
    report = run_plan(plan, SerialProfile(device="cpu"), Silent())
    assert report.failed == {}
    assert report.succeeded
    start = read(plan.steps["frames"].folder / "start.xyz")
    # GFN2-xTB at its own minimum of ethanol, tblite 0.8
    assert start.get_potential_energy() == pytest.approx(-309.9885, abs=1e-3)
    assert read_result(plan.steps["nve"].folder)["summary"]["check"]["frames"] == 2
    assert read_result(plan.steps["uncertainty"].folder)["summary"]["calibration_groups"] == 6
    for name in ("nve", "nvt"):
        log = read_table(plan.steps[name].folder / "log.csv")
        assert (log["force_sigma_max_ev_per_ang"] > 0).all()
        assert read_result(plan.steps[name].folder)["summary"]["uncertainty"] == "LLPR, calibrated"
    html = (plan.steps["report"].folder / "report.html").read_text(encoding="utf-8")
    assert html.count("<img ") >= 19
    assert "Uncertainties by LLPR, calibrated on 6 frames of 6 independent groups" in html
