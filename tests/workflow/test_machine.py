import shutil
import sys
from pathlib import Path

import pytest

from simkit.errors import SimkitError, WorkflowError
from simkit.progress import Silent
from simkit.workflow.executors import open_executor
from simkit.workflow.machine import ProcessesProfile, SerialProfile, read_machine
from simkit.workflow.runner import run_plan
from simkit.workflow.store import read_result

EXAMPLES = sorted((Path(__file__).parents[2] / "workflows/machines").glob("*.yaml"))


def test_a_profile(write):
    profile = read_machine(write("executor: processes\nworkers: 3\ndevice: cuda:1\n"))
    assert profile == ProcessesProfile(executor="processes", workers=3, device="cuda:1", threads=None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("executor: proceses", r"executor: unknown value 'proceses'; did you mean 'processes'\?"),
        ("workers: 2", r"expected the key 'executor', which chooses what the other keys mean"),
        ("executor: processes\nworker: 2", r"line 2: worker: unknown key; did you mean 'workers'\?"),
        ("executor: serial\ndevice: gpu", r"line 2: device: expected a text of the form .*, found 'gpu'"),
        ("executor: processes\nworkers: 0", r"line 2: workers: expected a value greater than 0, found 0"),
    ],
)
def test_wrong_profiles(write, text, message):
    with pytest.raises(WorkflowError, match=message):
        read_machine(write(text))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_examples_are_valid(path):
    assert read_machine(path).executor


def test_there_is_an_example_of_every_executor():
    assert {read_machine(path).executor for path in EXAMPLES} == {
        "serial", "processes", "parsl", "dask", "executorlib", "submitit",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("executor", "package"),
    [("parsl", "parsl"), ("dask", "distributed"), ("executorlib", "executorlib"), ("submitit", "submitit")],
)
def test_a_missing_package_is_told(write, tmp_path, monkeypatch, executor, package):
    monkeypatch.setitem(sys.modules, package, None)
    profile = read_machine(write(f"executor: {executor}"))
    message = rf"needs the package '.*'. Install it with: pip install '.*{executor}"
    with pytest.raises(SimkitError, match=message), open_executor(profile, tmp_path):
        pass


def test_a_serial_profile_opens_nothing(tmp_path):
    with pytest.raises(ValueError, match="a serial profile has no executor"):
        open_executor(SerialProfile(), tmp_path)


CLUSTERS = {
    "executorlib": ("executorlib", "executor: executorlib\nworkers: 2\ndevice: cpu"),
    "submitit": ("submitit", "executor: submitit\ncluster: local\nparameters: {timeout_min: 2}\ndevice: cpu"),
    "dask": ("distributed", "executor: dask\nworkers: 2\ndevice: cpu"),
    "parsl": ("parsl", "executor: parsl\nprovider: local\nworkers: 2\ndevice: cpu"),
}
FLOW = """
name: spread
steps:
  a: {kind: number, value: 2}
  one: {kind: add, terms: [$a/number.txt]}
  two: {kind: add, terms: [$a/number.txt, $a/number.txt]}
  bad: {kind: fail, how: bug}
"""


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("name", CLUSTERS)
def test_executors_of_other_packages(write, plan, name, monkeypatch):
    package, text = CLUSTERS[name]
    pytest.importorskip(package)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent / "toys"))
    planned = plan(FLOW)
    report = run_plan(planned, read_machine(write(text, "machine.yaml")), Silent())
    assert set(report.finished) == {"a", "one", "two"}
    assert report.failed == {"bad": "ZeroDivisionError: division by zero"}
    assert read_result(planned.steps["two"].folder)["summary"]["sum"] == 4
    shutil.rmtree(planned.folder)
