import subprocess
import sys

import pytest
import typer

import simkit as package
from simkit.commands.failures import reported
from simkit.errors import DataError, Interrupted

COMMANDS = ("run", "train", "evaluate", "predict", "relax", "md", "info", "schema", "version")


def test_the_command_line_starts_without_torch():
    slow = ("torch", "ase", "numpy", "pydantic", "matplotlib")
    code = f"import sys, simkit.cli; print([name for name in {slow} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_workflow_files_are_checked_without_torch():
    code = (
        "import sys; from simkit.workflow.kinds import KINDS, load_class; "
        "[load_class(target) for target in KINDS.values()]; print('torch' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"


def test_help_names_every_command(simkit):
    result = simkit("--help")
    assert result.exit_code == 0
    for command in COMMANDS:
        assert command in result.stdout
        assert simkit(command, "--help").exit_code == 0


def test_unknown_commands_and_options_are_usage_errors(simkit):
    assert simkit("rn").exit_code == 2
    result = simkit("run", "x.yaml", "--dry-rum")
    assert result.exit_code == 2
    assert "--dry-run" in result.stderr
    result = simkit("md", "model", "atoms", "--ensemble", "nvt")
    assert result.exit_code == 2
    assert "'--ensemble': 'nvt' is not one of 'nve'" in result.stderr


def test_version(simkit):
    assert f"simkit {package.__version__}" in simkit("version").stdout


def test_known_errors_are_one_message(capsys):
    with pytest.raises(typer.Exit) as caught, reported(debug=False):
        raise DataError("expected [one] thing")
    assert caught.value.exit_code == 1
    assert capsys.readouterr().err == "error: expected [one] thing\n"


def test_debug_shows_the_traceback(capsys):
    with pytest.raises(typer.Exit), reported(debug=True):
        raise DataError("expected")
    assert "Traceback" in capsys.readouterr().err
    with pytest.raises(ZeroDivisionError), reported(debug=True):
        _ = 1 / 0


def test_unexpected_errors_leave_their_traceback_in_a_file(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(typer.Exit), reported(debug=False):
        _ = 1 / 0
    message = capsys.readouterr().err
    (log,) = tmp_path.glob("simkit-error-*.log")
    assert "unexpected ZeroDivisionError: division by zero" in message
    assert str(log) in message
    assert "Traceback" in log.read_text()


@pytest.mark.parametrize(
    ("error", "text"),
    [(KeyboardInterrupt(), "run the same command to continue"), (Interrupted("saved at 7"), "saved at 7")],
)
def test_interruptions_have_their_own_status(capsys, error, text):
    with pytest.raises(typer.Exit) as caught, reported(debug=False):
        raise error
    assert caught.value.exit_code == 130
    assert text in capsys.readouterr().err


def test_system_errors_name_the_file(capsys, tmp_path):
    with pytest.raises(typer.Exit), reported(debug=False):
        (tmp_path / "absent" / "file").read_text()
    assert capsys.readouterr().err == f"error: {tmp_path}/absent/file: No such file or directory\n"
