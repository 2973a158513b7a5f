"""Dynamics that watch their uncertainty: as a task, a step of a workflow and a command."""

from __future__ import annotations

from pathlib import Path

import pytest
from ase.io import write
from typer.testing import CliRunner

import simkit
from simkit.cli import app
from simkit.csv_tables import read_table
from simkit.errors import SimkitError, SimkitWarning
from simkit.progress import Silent
from simkit.report.dynamics_section import md_section
from simkit.report.results import Result
from simkit.tasks.dynamics import run_md
from simkit.tasks.frames import read_frames
from simkit.tasks.settings import Collecting, Watching
from simkit.uncertainty.calibrated import Calibrated
from simkit.uncertainty.calibration_maps import GlobalMap
from simkit.workflow.kinds import KINDS
from simkit.workflow.machine import SerialProfile
from simkit.workflow.plan import make_plan
from simkit.workflow.runner import run_plan
from simkit.workflow.schema import read_workflow
from simkit.workflow.store import read_result
from tests.uncertainty.committees import argon, crystal

HOT = {"temperature": 300.0, "timestep": 4.0, "log_every": 5, "save_every": 5, "seed": 1}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    simkit.save_model(tmp_path / "calibrated.simkit", Calibrated(argon(3), GlobalMap(2.0, "nll")))
    return tmp_path / "calibrated.simkit"


@pytest.fixture
def structure(tmp_path: Path) -> Path:
    write(tmp_path / "crystal.xyz", crystal(rattle=0.02))
    return tmp_path / "crystal.xyz"


def test_log_and_summary_tell_the_uncertainty(tmp_path: Path, model: Path, structure: Path) -> None:
    summary = run_md(model, structure, tmp_path / "md", steps=20, **HOT)
    table = read_table(tmp_path / "md" / "log.csv")
    assert summary["status"] == "finished"
    assert summary["uncertainty"] == "deep ensemble, calibrated"
    assert summary["largest_force_sigma_ev_per_ang"] == table["force_sigma_max_ev_per_ang"].max() > 0
    assert "collected_frames" not in summary
    settings = {"uncertainty": {"stop_above": 0.5}}
    html = md_section(Result(tmp_path / "md", {"step": "md", "summary": summary, "settings": settings}))
    assert "deep ensemble, calibrated" in html


def test_stops_and_collects(tmp_path: Path, model: Path, structure: Path) -> None:
    free = run_md(model, structure, tmp_path / "free", steps=60, **HOT)
    limit = 0.6 * free["largest_force_sigma_ev_per_ang"]
    watch = Watching(limit, checks=2, of=3, every=5, collect=Collecting(0.3 * limit, spacing=10))
    summary = run_md(model, structure, tmp_path / "md", steps=60, uncertainty=watch, **HOT)
    assert summary["status"] == "uncertain"
    assert summary["steps"] < 60
    assert f"above {limit:.3g} eV/Å in 2 of the last" in summary["remedy"]
    frames = list(read_frames(tmp_path / "md" / "candidates.xyz"))
    assert summary["collected_frames"] == len(frames) > 0
    assert all(one.info["force_sigma_max"] > 0.3 * limit for one in frames)
    again = run_md(model, structure, tmp_path / "md", steps=60, uncertainty=watch, **HOT)
    assert {key: again[key] for key in ("status", "steps", "remedy")} == {
        key: summary[key] for key in ("status", "steps", "remedy")
    }


def test_bad_requests(tmp_path: Path, structure: Path, argon_model: Path, argon_ensemble: Path) -> None:
    watch = {"stop_above": 1.0}
    with pytest.raises(SimkitError, match="expected a potential that tells its uncertainty"):
        run_md(argon_model, structure, tmp_path / "a", steps=5, uncertainty=watch)
    with pytest.raises(SimkitError, match="expected a calibrated uncertainty"):
        run_md(argon_ensemble, structure, tmp_path / "b", steps=5, uncertainty=watch)
    with pytest.raises(SimkitError, match="expected a calibrated uncertainty"):
        run_md(argon_ensemble, structure, tmp_path / "c", steps=5, uncertainty={"collect": {"above": 0.1}})
    with pytest.warns(SimkitWarning, match="not calibrated"):
        run_md(argon_ensemble, structure, tmp_path / "d", steps=5, uncertainty={**watch, "allow_uncalibrated": True})
    with pytest.raises(SimkitError, match=r"settings of uncertainty among stop_above.*found stop"):
        run_md(argon_ensemble, structure, tmp_path / "e", steps=5, uncertainty={"stop": 1.0})


def test_step(tmp_path: Path, model: Path, structure: Path) -> None:
    """A step that stops where it was asked to has not failed, and hands on what it kept."""
    settings = "ensemble: nve, temperature: 300, timestep: 4.0, steps: 40, log_every: 5, save_every: 5, "
    (tmp_path / "md.yaml").write_text(
        f"name: watch\nsteps:\n  run: {{kind: md, model: {model}, structure: {structure}, {settings}uncertainty: "
        "{stop_above: 1.0e-9, checks: 2, of: 2, every: 5, collect: {above: 1.0e-10, spacing: 1}}}\n"
        "  again: {kind: md, model: " + str(model) + ", structure: $run/candidates.xyz, steps: 2}\n"
    )
    plan = make_plan(read_workflow(tmp_path / "md.yaml", kinds=KINDS), tmp_path / "runs")
    report = run_plan(plan, SerialProfile(device="cpu"), Silent())
    assert report.succeeded
    assert read_result(plan.steps["run"].folder)["summary"]["status"] == "uncertain"
    assert read_result(plan.steps["again"].folder)["summary"]["status"] == "finished"
    (tmp_path / "bad.yaml").write_text(
        (tmp_path / "md.yaml").read_text().replace("checks: 2, of: 2", "checks: 3, of: 2")
    )
    with pytest.raises(SimkitError, match="expected checks of at most of"):
        read_workflow(tmp_path / "bad.yaml", kinds=KINDS)


def test_command(tmp_path: Path, model: Path, structure: Path) -> None:
    words = ["md", str(model), str(structure), "-o", str(tmp_path / "md"), "--steps", "20", "--log-every", "5"]
    found = CliRunner().invoke(app, [*words, "--stop-above", "1e-9", "--checks", "2/2", "--collect", "1e-10,5"])
    assert found.exit_code == 1
    assert "the dynamics stopped early" in found.output
    assert (tmp_path / "md" / "candidates.xyz").exists()
    wrong = CliRunner().invoke(app, [*words, "--stop-above", "1", "--checks", "two"])
    assert "expected --checks K/N" in wrong.output
