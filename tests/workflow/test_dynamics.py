"""The workflow of molecular dynamics, whole, at small size."""

from pathlib import Path

import pytest
from ase.build import bulk
from ase.io import read, write

import simkit
from simkit.csv_tables import read_table
from simkit.potentials.lennard_jones import LennardJones
from simkit.progress import Silent
from simkit.workflow.machine import SerialProfile
from simkit.workflow.plan import make_plan
from simkit.workflow.runner import run_plan
from simkit.workflow.schema import read_workflow
from simkit.workflow.store import read_result

FILE = Path(__file__).parents[2] / "workflows" / "md.yaml"


def test_from_a_crystal_to_its_spectrum(tmp_path):
    model, crystal = tmp_path / "argon.simkit", tmp_path / "crystal.xyz"
    simkit.save_model(model, LennardJones(epsilon=0.0104, sigma=3.4, cutoff=6.0, elements=(18,)))
    write(crystal, bulk("Ar", "fcc", a=5.4, cubic=True).repeat((2, 1, 1)))
    small = [f"steps.{step}.model={model}" for step in ("heat", "sample", "conserve")]
    small += [f"steps.{step}.temperature=[10, 20, 30]" for step in ("heat", "sample")]
    small += [f"steps.heat.structure={crystal}", "steps.heat.compressibility=0.3", "steps.heat.timestep=5"]
    small += ["steps.heat.steps=100", "steps.sample.steps=60", "steps.conserve.steps=240", "steps.conserve.timestep=8"]
    small += ["steps.vibrations.resolution=5"]
    plan = make_plan(read_workflow(FILE, settings=small), tmp_path / "runs")
    report = run_plan(plan, SerialProfile(device="cpu"), Silent())
    assert report.failed == {}
    assert report.succeeded
    summary = {name: read_result(step.folder)["summary"] for name, step in plan.steps.items()}
    assert [one["thermostat_temperature_k"] for one in summary["heat"]["systems"]] == [10, 20, 30]
    assert len({one["mean_volume_ang3"] for one in summary["heat"]["systems"]}) == 3
    first, last = (read(plan.steps[name].folder / "final.xyz", ":") for name in ("heat", "sample"))
    assert [one.get_volume() for one in last] == pytest.approx([one.get_volume() for one in first])
    log = read_table(plan.steps["conserve"].folder / "log.csv")
    assert log["kinetic_ev"][0] == pytest.approx(last[1].get_kinetic_energy(), rel=1e-5)
    assert abs(summary["conserve"]["energy_drift_mev_per_atom_per_ps"]) < 0.2
    assert summary["conserve"]["time_fs"] == 1920.0
    html = (plan.steps["report"].folder / "report.html").read_text(encoding="utf-8")
    assert "3 systems side by side, finished" in html
    assert "24 atoms" not in html  # those of all together
    assert "NPT, stochastic cell rescaling" in html
