from pathlib import Path

import pytest
from typer.testing import CliRunner

from simkit.cli import app
from simkit.workflow.kinds import KINDS

TOYS = Path(__file__).parents[1] / "workflow/toys"


@pytest.fixture(autouse=True)
def _clean_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture
def simkit():
    """Run a command line; its result has exit_code, stdout and stderr."""

    def simkit(*words):
        return CliRunner().invoke(app, [str(word) for word in words], prog_name="simkit")

    return simkit


@pytest.fixture
def toys(monkeypatch):
    """Make the toy steps known to workflow files."""
    monkeypatch.syspath_prepend(str(TOYS))
    for kind, name in {"number": "Number", "add": "Add", "fail": "Fail", "page": "WholeFolder"}.items():
        monkeypatch.setitem(KINDS, kind, f"simkit_toys:{name}")
