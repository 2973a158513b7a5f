"""One step of a workflow on its own, as commands run it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from simkit.errors import SimkitError

if TYPE_CHECKING:
    from simkit.workflow.document import Document
    from simkit.workflow.plan import PlannedStep


def planned(document: Document, kind: str, seed: int, output: Path) -> PlannedStep:
    """A step whose settings are the whole document, with its results in the folder ``output``.

    Raises:
        WorkflowError: settings that are not valid, or inputs that are not there.
    """
    from simkit.workflow.kinds import KINDS
    from simkit.workflow.plan import make_plan
    from simkit.workflow.schema import Workflow, read_step

    step = read_step(document, {"kind": kind, **document.data}, (), KINDS)
    plan = make_plan(Workflow(kind, seed, {kind: step}, {kind: kind}, document), output.parent)
    return replace(plan.steps[kind], folder=output.absolute())


def run_alone(step: PlannedStep, seed: int, device: str, output: Path) -> None:
    """Run a step, or go on with it, with progress on the terminal.

    Raises:
        SimkitError: it failed.
    """
    from simkit.progress import Terminal
    from simkit.workflow.store import LOG
    from simkit.workflow.worker import run_job

    outcome = run_job(step.job(seed, device, threads=None), Terminal())
    if outcome.error:
        raise SimkitError(f"{outcome.error}\nlog with the traceback: {output / LOG}")
