"""``simkit run``: workflow files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from simkit.errors import SimkitError
from simkit.files import shown

if TYPE_CHECKING:
    from simkit.workflow.plan import Plan
    from simkit.workflow.runner import RunSummary


def run(
    file: Annotated[Path, typer.Argument(help="Workflow file (YAML).", show_default=False)],
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Show what would run, and run nothing.")] = False,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="PATH=VALUE", help="Change a setting: steps.potential.training.max_epochs=2"),
    ] = None,
    runs: Annotated[Path, typer.Option(help="Folder of all results.")] = Path("runs"),
    machine: Annotated[Path | None, typer.Option(help="Machine profile (YAML): what runs the steps.")] = None,
    only: Annotated[str | None, typer.Option(metavar="STEP", help="Only this step and those that it needs.")] = None,
    force: Annotated[
        list[str] | None,
        typer.Option(metavar="STEP", help="Delete the results of this step and of those that read them; run again."),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Replaces the seed of the file.")] = None,
) -> None:
    """Run a workflow file; what is finished already is not run again.

    Results are in runs/NAME/STEP. After an interruption the same command continues. Without a machine profile the steps
    run one after the other in this process.
    """
    from simkit.progress import Terminal
    from simkit.workflow.machine import SerialProfile, read_machine
    from simkit.workflow.plan import make_plan
    from simkit.workflow.runner import run_plan
    from simkit.workflow.schema import read_workflow
    from simkit.workflow.store import discard

    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise SimkitError("simkit run starts its processes itself: use torchrun with 'simkit train', or run it alone")
    profile = read_machine(machine) if machine else SerialProfile()
    plan = make_plan(read_workflow(file, settings=settings or [], seed=seed), runs)
    forced = {step.name: step for name in force or [] for step in plan.following(name)}
    plan = plan.restricted(only) if only else plan
    if dry_run:
        _show_plan(plan, set(forced))
        return
    for step in forced.values():
        discard(step.folder)
    report = run_plan(plan, profile, Terminal())
    _show_results(plan, report)
    if not report.succeeded:
        raise typer.Exit(1)


def _show_plan(plan: Plan, forced: set[str]) -> None:
    from simkit.commands.tables import print_table

    rows = []
    fresh: set[str] = set()
    for name, step in plan.steps.items():
        if step.finished and name not in forced:
            state = "finished"
        else:
            fresh.add(name)
            state = "continues" if step.begun and name not in forced else "would run"
        rows.append((name, step.kind, state, "\n".join(step.inputs) or "-", step.folder.name))
    print_table(
        f"{plan.name}, seed {plan.seed}, results in {shown(plan.folder)}",
        ("step", "kind", "state", "inputs", "folder"),
        rows,
    )
    print(f"{len(fresh)} of {len(plan.steps)} steps would run; nothing was run")


def _show_results(plan: Plan, report: RunSummary) -> None:
    from simkit.commands.tables import print_table
    from simkit.progress import duration

    rows = []
    for name, step in plan.steps.items():
        if name in report.failed:
            state = "[red]failed[/red]"
        elif name in report.blocked:
            state = f"not run: needs {', '.join(report.blocked[name])}"
        else:
            state = f"finished in {duration(report.finished[name])}" if name in report.finished else "finished earlier"
        rows.append((name, step.kind, state, shown(plan.folder / name)))
    print_table("", ("step", "kind", "state", "results"), rows)
    for name, step in plan.steps.items():
        if name not in report.failed and name not in report.blocked:
            for page in (file for file in step.step.produces if file.endswith(".html")):
                print(f"report: {shown(plan.folder / name / page)}")
