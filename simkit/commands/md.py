"""``simkit md``: molecular dynamics."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from simkit.commands.options import Device, Dtype, Head, Model, Structures, model_options, require_inputs
from simkit.errors import SimkitError
from simkit.tasks.settings import PRECISION, Collecting, Dynamics, Ensemble, Precision, Velocities, Watching

SEVERAL = "Several systems: numbers with commas."


def md(
    model: Model,
    source: Structures,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder of the run; an existing run continues.")
    ] = Path("md"),
    ensemble: Annotated[
        Ensemble,
        typer.Option(help="nve: constant energy; langevin, bussi, nose_hoover: temperature; npt, mtk: and pressure."),
    ] = Dynamics.ensemble,
    timestep: Annotated[str, typer.Option(help=f"In fs. {SEVERAL}")] = str(Dynamics.timestep),
    steps: Annotated[int, typer.Option(min=1, help="Number of steps, in all.")] = Dynamics.steps,
    temperature: Annotated[
        str, typer.Option(help=f"Of the initial velocities and the thermostat, in K. {SEVERAL}")
    ] = str(Dynamics.temperature),
    velocities: Annotated[
        Velocities, typer.Option(help="At the start: draw them, or keep those of the file.")
    ] = Dynamics.velocities,
    friction: Annotated[str, typer.Option(help="Of Langevin dynamics, in 1/fs.")] = str(Dynamics.friction),
    time_constant: Annotated[str, typer.Option(help="Of the other thermostats, in fs.")] = str(Dynamics.time_constant),
    pressure: Annotated[str, typer.Option(help=f"At constant pressure, in GPa. {SEVERAL}")] = str(Dynamics.pressure),
    pressure_time_constant: Annotated[str, typer.Option(help="Of the cell, in fs.")] = str(
        Dynamics.pressure_time_constant
    ),
    compressibility: Annotated[str, typer.Option(help="Estimate for npt, in 1/GPa: one over the bulk modulus.")] = str(
        Dynamics.compressibility
    ),
    max_temperature: Annotated[
        float, typer.Option(help="A hotter system has exploded, and stops; in K.")
    ] = Dynamics.max_temperature,
    seed: Annotated[int, typer.Option(help="Of velocities and noise.")] = Dynamics.seed,
    save_every: Annotated[
        int, typer.Option(min=1, help="Steps between two frames of the trajectory.")
    ] = Dynamics.save_every,
    log_every: Annotated[int, typer.Option(min=1, help="Steps between two lines of the log.")] = Dynamics.log_every,
    precision: Annotated[Precision, typer.Option(help="Of the trajectory.")] = Dynamics.precision,
    stop_above: Annotated[
        float | None,
        typer.Option(help="Stop where the calibrated uncertainty of the force on an atom is above this, in eV/Å."),
    ] = None,
    checks: Annotated[
        str, typer.Option(help="K/N: in K of the last N checks; a check every --log-every steps.")
    ] = f"{Watching.checks}/{Watching.of}",
    collect: Annotated[
        str | None,
        typer.Option(help="LOW,HIGH: keep frames with uncertainties between, in eV/Å, to be labelled."),
    ] = None,
    frame: Annotated[
        str, typer.Option(help="Frame of the file to start from, from 0; -1 is the last; all: side by side.")
    ] = "-1",
    dtype: Dtype = PRECISION,
    device: Device = "auto",
    head: Head = None,
) -> None:
    """Run molecular dynamics of one system or many; the same command continues an interrupted run.

    Exit status 1 if a system explodes.
    """
    from simkit.commands.facts import print_facts
    from simkit.progress import Terminal
    from simkit.tasks.dynamics import run_md
    from simkit.tasks.propagation import stopped_problems

    require_inputs(model, source)
    summary = run_md(
        model,
        source,
        output,
        ensemble=ensemble,
        timestep=_numbers("timestep", timestep),
        steps=steps,
        temperature=_numbers("temperature", temperature),
        velocities=velocities,
        friction=_numbers("friction", friction),
        time_constant=_numbers("time-constant", time_constant),
        pressure=_numbers("pressure", pressure),
        pressure_time_constant=_numbers("pressure-time-constant", pressure_time_constant),
        compressibility=_numbers("compressibility", compressibility),
        max_temperature=max_temperature,
        seed=seed,
        save_every=save_every,
        log_every=log_every,
        precision=precision,
        uncertainty=_watching(stop_above, checks, collect, log_every),
        frame="all" if frame == "all" else _frame(frame),
        **model_options(device, dtype, head),
        progress=Terminal(),
    )
    print_facts("", {key: value for key, value in summary.items() if key not in ("remedy", "systems")})
    _print_systems(summary.get("systems", []))
    print(f"run: {output}")
    problems = stopped_problems(summary)
    if problems:
        more = (
            f" ({len(problems)} of {len(summary.get('systems', [0]))} systems stopped)" if "systems" in summary else ""
        )
        raise SimkitError(f"the dynamics stopped early. {problems[0]}{more}")


def _print_systems(systems: list[dict[str, Any]]) -> None:
    """A line for each of several systems."""
    from simkit.commands.tables import SHOWN, print_table

    headings = {
        "formula": "formula",
        "status": "status",
        "steps": "steps",
        "mean_temperature_k": "mean T (K)",
        "mean_pressure_gpa": "mean P (GPa)",
        "mean_volume_ang3": "mean V (Å³)",
        "energy_drift_mev_per_atom_per_ps": "drift (meV/atom/ps)",
    }
    shown = {key: heading for key, heading in headings.items() if any(key in one for one in systems)}
    rows = [(str(index), *(_cell(one.get(key, "")) for key in shown)) for index, one in enumerate(systems[:SHOWN])]
    if rows:
        print_table("", ("system", *shown.values()), rows, numbers=list(shown.values())[2:])
    if len(systems) > SHOWN:
        print(f"and {len(systems) - SHOWN} more systems in md.json")


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _watching(stop_above: float | None, checks: str, collect: str | None, every: int) -> Watching | None:
    if stop_above is None and collect is None:
        return None
    try:
        wanted, of = (int(word) for word in checks.split("/"))
        bounds = None if collect is None else [float(word) for word in collect.split(",")]
        kept = None if bounds is None else Collecting(bounds[0], bounds[1])
    except (ValueError, IndexError) as error:
        raise SimkitError(f"expected --checks K/N and --collect LOW,HIGH, found {checks!r} and {collect!r}") from error
    return Watching(stop_above, checks=wanted, of=of, every=every, collect=kept)


def _numbers(option: str, text: str) -> float | tuple[float, ...]:
    """One number, or several with commas."""
    try:
        values = tuple(float(word) for word in text.split(","))
    except ValueError as error:
        raise SimkitError(f"expected --{option} NUMBER or several with commas, found {text!r}") from error
    return values[0] if len(values) == 1 else values


def _frame(text: str) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise SimkitError(f"expected --frame to be a whole number or all, found {text!r}") from error
