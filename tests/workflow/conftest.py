from pathlib import Path

import pytest

from simkit.workflow.plan import make_plan
from simkit.workflow.schema import read_workflow

KINDS = {
    "number": "simkit_toys:Number",
    "add": "simkit_toys:Add",
    "fail": "simkit_toys:Fail",
    "page": "simkit_toys:WholeFolder",
}


@pytest.fixture(autouse=True)
def _toys_importable(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent / "toys"))


@pytest.fixture
def kinds():
    return KINDS


@pytest.fixture
def write(tmp_path):
    """Write a workflow file and give its path."""

    def write(text: str, name: str = "flow.yaml") -> Path:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.fixture
def plan(write, tmp_path):
    """The plan of a workflow file's text."""

    def plan(text: str, **options):
        return make_plan(read_workflow(write(text), kinds=KINDS, **options), tmp_path / "runs")

    return plan
