"""Settings of every test: float64, fixed seeds, and shapes checked against the signatures.

The tensors of tests are tiny, so one thread is fastest; child processes inherit the setting.

The import hook that checks shapes cannot be traced by ``torch.compile``. Tests marked ``compiled`` therefore run in a
child process for each file without it, and report their results here.
"""

import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

import jaxtyping
import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
UNCHECKED = "SIMKIT_NO_SHAPE_CHECKS"
SHAPE_CHECKS = os.environ.get(UNCHECKED) != "1"
if SHAPE_CHECKS:
    # an int is a float, as for type checkers
    checker = "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))"
    jaxtyping.install_import_hook("simkit", checker)

import torch  # noqa: E402

torch.set_default_dtype(torch.float64)
compiled_results = pytest.StashKey[dict[Path, dict[str, ElementTree.Element]]]()


@pytest.fixture(autouse=True)
def float64_and_seed() -> Iterator[None]:
    """Start every test from the same random state, and restore the default type that it may change."""
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float64)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Take the result of a ``compiled`` test from the child process."""
    if not SHAPE_CHECKS or pyfuncitem.get_closest_marker("compiled") is None:
        return None
    results = pyfuncitem.session.stash.setdefault(compiled_results, {})
    if pyfuncitem.path not in results:
        results[pyfuncitem.path] = _run_without_shape_checks(pyfuncitem.session, pyfuncitem.path)
    case = results[pyfuncitem.path].get(_dotted(pyfuncitem.nodeid))
    if case is None:
        pytest.fail("the child process did not run this test", pytrace=False)
    for outcome in case:
        if outcome.tag in ("failure", "error"):
            pytest.fail(f"in the child process:\n{outcome.text}", pytrace=False)
        if outcome.tag == "skipped":
            act = pytest.xfail if outcome.get("type") == "pytest.xfail" else pytest.skip
            act(outcome.get("message", ""))
    return True


def _run_without_shape_checks(session: pytest.Session, path: Path) -> dict[str, ElementTree.Element]:
    nodes = [item.nodeid for item in session.items if item.path == path and item.get_closest_marker("compiled")]
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = ["-q", "-p", "no:cacheprovider", "--numprocesses=0", f"--junitxml={report}", *nodes]
        child = subprocess.run(
            [sys.executable, "-P", "-m", "pytest", *command],
            cwd=session.config.rootpath,
            env={**os.environ, UNCHECKED: "1"},
            capture_output=True,
            text=True,
        )
        if not report.exists():
            pytest.fail(f"the child process for compiled tests broke:\n{child.stdout}{child.stderr}", pytrace=False)
        cases = list(ElementTree.parse(report).iter("testcase"))
    return {f"{case.get('classname')}.{case.get('name')}": case for case in cases}


def _dotted(nodeid: str) -> str:
    path, _, rest = nodeid.partition("::")
    return f"{path.removesuffix('.py').replace('/', '.')}.{rest.replace('::', '.')}"
