"""``simkit info``, ``simkit schema``, ``simkit version``: what files hold, what files may hold."""

from __future__ import annotations

import json
import platform
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Annotated, Literal

import typer

import simkit
from simkit.commands.options import Reading, reading_settings


def info(
    file: Annotated[Path, typer.Argument(help="Model file, data file, or folder of results.", show_default=False)],
    as_json: Annotated[bool, typer.Option("--json", help="Print everything, as JSON.")] = False,
    cutoff: Annotated[float | None, typer.Option(help="For data: count neighbours within this distance (Å).")] = None,
    reading: Reading = None,
) -> None:
    """Say what a file holds: a model, data (with an audit of its quality), or the results of a step."""
    from simkit.commands.describe import describe

    describe(file, as_json, cutoff, reading_settings(reading))


def schema(
    what: Annotated[Literal["workflow", "machine"], typer.Argument(help="Of which files.")] = "workflow",
) -> None:
    """Print the JSON schema of workflow files or machine profiles, for editors and checkers."""
    from simkit.workflow.machine import machine_schema
    from simkit.workflow.schema import workflow_schema

    content = machine_schema() if what == "machine" else workflow_schema()
    print(json.dumps(content, indent=2, ensure_ascii=False))


def version() -> None:
    """Print the versions of simkit and of what it computes with."""
    print(f"simkit {simkit.__version__}, python {platform.python_version()}")
    for name in ("torch", "numpy", "ase", "e3nn", "vesin", "lightning-fabric", "tblite"):
        try:
            print(f"  {name} {version_of(name)}")
        except PackageNotFoundError:
            print(f"  {name}: not installed")
