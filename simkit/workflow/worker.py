"""Running one step, in this process or in another one on this or another machine."""

from __future__ import annotations

import logging
import os
import platform
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pydantic_core import PydanticSerializationError, to_jsonable_python

import simkit
from simkit.devices import resolve_device
from simkit.errors import Interrupted, SimkitError, WorkflowError
from simkit.files import write_json
from simkit.progress import Progress
from simkit.units import UNITS
from simkit.workflow.lock import locked
from simkit.workflow.relay import EventFile
from simkit.workflow.step import Context, Step
from simkit.workflow.store import EVENTS, FORMAT, LOG, RESULT, is_begun, is_finished


@dataclass(frozen=True)
class Job:
    """One step, ready to be sent to any process that can import the module of its class.

    Attributes:
        name: of the step.
        kind: of the step.
        step: its settings.
        address: of the results.
        folder: of the results.
        inputs: absolute path of each input, by its value in the file.
        origins: address or content hash of each input.
        seed: of every random choice.
        device: torch device name, or ``auto``.
        threads: of torch; None leaves torch's own choice.
    """

    name: str
    kind: str
    step: Step
    address: str
    folder: Path
    inputs: dict[str, Path]
    origins: dict[str, Any]
    seed: int
    device: str
    threads: int | None


@dataclass(frozen=True)
class StepOutcome:
    """How a step ended.

    Attributes:
        name: of the step.
        seconds: that this run took.
        error: empty if the step is finished.
    """

    name: str
    seconds: float
    error: str = ""


def run_job(job: Job, progress: Progress | None = None) -> StepOutcome:
    """Run a step in its folder, under its lock; errors are logged with their traceback and returned as text.

    Args:
        job: the step.
        progress: where it reports; a file in its folder if absent.

    Raises:
        Interrupted: the step was asked to stop, and did.
    """
    started = time.monotonic()
    try:
        with locked(job.folder), _logging_to(job.folder / LOG):
            error = _run_locked(job, progress or EventFile(job.folder / EVENTS))
    except WorkflowError as refused:
        error = str(refused)
    return StepOutcome(job.name, time.monotonic() - started, error)


def _run_locked(job: Job, progress: Progress) -> str:
    log = logging.getLogger(__name__)
    if is_finished(job.folder, job.address, job.step.produces):
        return ""
    log.info("%s (%s) %s", job.name, job.kind, "continued" if is_begun(job.folder) else "started")
    try:
        _run_step(job, progress)
    except (KeyboardInterrupt, Interrupted):
        log.info("%s interrupted", job.name)
        raise
    except SimkitError as error:
        log.error("%s", traceback.format_exc())
        return str(error)
    except Exception as error:
        log.error("%s", traceback.format_exc())
        return f"{type(error).__name__}: {error}"
    log.info("%s finished", job.name)
    return ""


def _run_step(job: Job, progress: Progress) -> None:
    step = job.step
    begun = is_begun(job.folder)
    description = {
        "format": FORMAT,
        "step": job.name,
        "kind": job.kind,
        "address": job.address,
        "settings": to_jsonable_python(step),
        "seed": job.seed,
        "inputs": {source: {"path": str(path), **job.origins[source]} for source, path in job.inputs.items()},
    }
    write_json(job.folder / "step.json", description)
    _set_threads(job.threads)
    device = resolve_device(job.device)
    started, clock = datetime.now(UTC), time.perf_counter()
    summary = step.run(Context(job.folder, job.inputs, job.seed, device, progress))
    seconds = time.perf_counter() - clock
    missing = [name for name in step.produces if not (job.folder / name).exists()]
    if missing:
        raise WorkflowError(f"the step ended without making {', '.join(missing)}, which its class promises")
    timings = {"started": started.isoformat(timespec="seconds"), "seconds": round(seconds, 3), "continued": begun}
    result = {
        **description,
        "summary": json_ready(summary),
        "units": UNITS,
        "timings": timings,
        "versions": _versions(),
        "machine": {"host": platform.node(), "platform": platform.platform(), "device": device},
        "citations": list(step.citations()),
    }
    write_json(job.folder / RESULT, result)


def json_ready(summary: dict[str, Any]) -> Any:
    """A summary with plain numbers, and None for NaN and infinity, which JSON does not have.

    Raises:
        WorkflowError: a value that JSON cannot hold.
    """
    import numpy as np

    def plain(value: Any) -> Any:
        if isinstance(value, np.generic | np.ndarray):
            return value.tolist()
        raise WorkflowError(f"expected a JSON-compatible summary, found a {type(value).__name__} in it")

    def finite(value: Any) -> Any:
        if isinstance(value, dict):
            return {str(key): finite(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [finite(inner) for inner in value]
        return None if isinstance(value, float) and not np.isfinite(value) else value

    try:
        return finite(to_jsonable_python(summary, fallback=plain, inf_nan_mode="constants"))
    except PydanticSerializationError as error:
        raise WorkflowError(f"expected a JSON-compatible summary: {error}") from error


def _set_threads(threads: int | None) -> None:
    if threads is None:
        return
    os.environ["OMP_NUM_THREADS"] = str(threads)
    import torch

    torch.set_num_threads(threads)


def _versions() -> dict[str, str]:
    return {"simkit": simkit.__version__, "torch": version("torch"), "python": platform.python_version()}


@contextmanager
def _logging_to(path: Path) -> Iterator[None]:
    """Append what is logged and warned to a file."""
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    handler.setLevel(logging.INFO)
    root, own = logging.getLogger(), logging.getLogger("simkit")
    level = own.level
    root.addHandler(handler)
    own.setLevel(logging.INFO)
    logging.captureWarnings(True)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        own.setLevel(level)
        root.removeHandler(handler)
        handler.close()
