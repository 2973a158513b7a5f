"""``simkit md``: molecular dynamics."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from simkit.commands.options import Device, Dtype, Head, Model, Structures, model_options, require_inputs
from simkit.errors import SimkitError
from simkit.tasks.settings import PRECISION, Dynamics, Ensemble


def md(
    model: Model,
    source: Structures,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder of the run; an existing run continues.")
    ] = Path("md"),
    ensemble: Annotated[
        Ensemble, typer.Option(help="nve: constant energy; langevin, bussi: constant temperature.")
    ] = Dynamics.ensemble,
    timestep: Annotated[float, typer.Option(help="In fs.")] = Dynamics.timestep,
    steps: Annotated[int, typer.Option(min=1, help="Number of steps, in all.")] = Dynamics.steps,
    temperature: Annotated[
        float, typer.Option(help="Of the initial velocities and the thermostat, in K.")
    ] = Dynamics.temperature,
    friction: Annotated[float, typer.Option(help="Of Langevin dynamics, in 1/fs.")] = Dynamics.friction,
    time_constant: Annotated[float, typer.Option(help="Of Bussi's thermostat, in fs.")] = Dynamics.time_constant,
    max_temperature: Annotated[
        float, typer.Option(help="A hotter system has exploded, and the run stops; in K.")
    ] = Dynamics.max_temperature,
    seed: Annotated[int, typer.Option(help="Of velocities and noise.")] = Dynamics.seed,
    save_every: Annotated[
        int, typer.Option(min=1, help="Steps between two frames of the trajectory.")
    ] = Dynamics.save_every,
    frame: Annotated[int, typer.Option(help="Frame of the file to start from, from 0; -1 is the last.")] = -1,
    dtype: Dtype = PRECISION,
    device: Device = "auto",
    head: Head = None,
) -> None:
    """Run molecular dynamics; the same command continues an interrupted run. Exit status 1 if it explodes."""
    from simkit.commands.facts import print_facts
    from simkit.progress import Terminal
    from simkit.tasks.dynamics import run_md

    require_inputs(model, source)
    summary = run_md(
        model,
        source,
        output,
        ensemble=ensemble,
        timestep=timestep,
        steps=steps,
        temperature=temperature,
        friction=friction,
        time_constant=time_constant,
        max_temperature=max_temperature,
        seed=seed,
        save_every=save_every,
        frame=frame,
        **model_options(device, dtype, head),
        progress=Terminal(),
    )
    print_facts("", {key: value for key, value in summary.items() if key != "remedy"})
    print(f"run: {output}")
    if summary["status"] != "finished":
        raise SimkitError(f"the dynamics stopped early. {summary['remedy']}")
