import json
from pathlib import Path

import pytest

FLOW = """
name: demo
steps:
  a: {kind: number, value: 2}
  total: {kind: add, terms: [$a/number.txt]}
  page: {kind: page, folder: $total}
"""


@pytest.fixture
def flow(tmp_path, toys):
    path = tmp_path / "flow.yaml"
    path.write_text(FLOW)
    return path


def test_a_workflow_runs_once_and_says_where_the_report_is(simkit, flow):
    result = simkit("run", flow)
    assert result.exit_code == 0, result.stderr
    assert "report: runs/demo/page/report.html" in result.stdout
    assert Path("runs/demo/page/report.html").exists()
    assert "a: finished earlier" in simkit("run", flow).stderr


def test_dry_run_runs_nothing(simkit, flow):
    result = simkit("run", flow, "--dry-run")
    assert result.exit_code == 0
    assert result.stdout.count("would run") == 4
    assert "$a/number.txt" in result.stdout
    assert not Path("runs").exists()
    simkit("run", flow, "--only", "a")
    assert "2 of 3 steps would run" in simkit("run", flow, "-n").stdout
    assert "3 of 3 steps would run" in simkit("run", flow, "-n", "--force", "a").stdout


def test_settings_seed_and_folder(simkit, flow):
    result = simkit("run", flow, "--set", "steps.a.value=1e-3", "--seed", "5", "--runs", "elsewhere")
    assert result.exit_code == 0, result.stderr
    content = json.loads(Path("elsewhere/demo/total/result.json").read_text())
    assert content["summary"]["sum"] == 1e-3
    assert content["seed"] == 5


def test_force_runs_a_step_and_its_readers_again(simkit, flow):
    simkit("run", flow)
    Path("runs/demo/a/number.txt").write_text("99")
    result = simkit("run", flow, "--force", "a")
    assert result.exit_code == 0
    assert Path("runs/demo/total/sum.txt").read_text() == "2.0"
    assert "earlier" not in result.stderr
    result = simkit("run", flow, "--force", "total")
    assert "a: finished earlier" in result.stderr
    assert "total: runs in runs/demo/total-" in result.stderr


@pytest.mark.filterwarnings("default")
def test_a_failed_step_is_status_1(simkit, flow):
    flow.write_text(FLOW + "  bad: {kind: fail, how: simkit}\n  next: {kind: number, source: $bad/nothing.txt}\n")
    result = simkit("run", flow)
    assert result.exit_code == 1
    assert "bad: failed: expected 3 atoms, found [bold]2[/bold]" in result.stderr
    assert "log with the traceback: runs/demo/bad-" in result.stderr
    assert "not run: needs bad" in result.stdout
    assert "report: " in result.stdout


@pytest.mark.filterwarnings("default")
def test_an_interruption_is_status_130(simkit, flow):
    flow.write_text(FLOW + "  bad: {kind: fail, how: interrupt}\n")
    result = simkit("run", flow)
    assert result.exit_code == 130
    assert "interrupted; run the same command to continue" in result.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("absent.yaml",), "absent.yaml: no such file"),
        (("flow.yaml", "--set", "steps.a.valu=1"), "did you mean 'value'?"),
        (("flow.yaml", "--only", "al"), "--only al: no step is called 'al'"),
        (("flow.yaml", "--force", "totl"), "--force totl: no step is called 'totl'; did you mean 'total'?"),
        (("flow.yaml", "--machine", "absent.yaml"), "absent.yaml: no such file"),
    ],
)
def test_wrong_use_is_one_message(simkit, flow, words, message):
    result = simkit("run", *words)
    assert result.exit_code == 1
    assert result.stderr.startswith("error: ")
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_debug_may_stand_anywhere(simkit, toys):
    for words in (("run", "absent.yaml", "--debug"), ("--debug", "run", "absent.yaml")):
        assert "Traceback" in simkit(*words).stderr


def test_torchrun_is_for_train(simkit, flow, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert "use torchrun with 'simkit train'" in simkit("run", flow).stderr


def test_info_of_results(simkit, flow):
    simkit("run", flow)
    facts = json.loads(simkit("info", "runs/demo/total", "--json").stdout)
    assert facts["state"] == "finished"
    assert facts["summary"]["sum"] == 2
    assert "summary.sum" in simkit("info", "runs/demo/total").stdout
    assert "not finished" not in simkit("info", "runs/demo").stdout
    Path("runs/demo/total/result.json").unlink()
    assert "begun, not finished" in simkit("info", "runs/demo/total").stdout
    assert "file absent: no such file" in simkit("info", "absent").stderr
    assert "simkit run flow.yaml --dry-run" in simkit("info", "flow.yaml").stderr


def test_schemas_are_json(simkit):
    assert "executor" in simkit("schema", "machine").stdout
    schema = json.loads(simkit("schema").stdout)
    assert {"Train", "WriteReport"} <= set(schema["$defs"])
