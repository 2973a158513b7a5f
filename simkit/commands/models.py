"""``simkit predict``, ``evaluate``, ``relax``, ``md``: what a model file can be used for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from simkit.commands.failures import require_file
from simkit.errors import SimkitError

Model = Annotated[Path, typer.Argument(help="Model file: of simkit, or .model of mace-torch.", show_default=False)]
Structures = Annotated[Path, typer.Argument(help="Structures, in any format that ASE reads.", show_default=False)]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps; auto: a CUDA device if there is one, else the CPU.")]
Dtype = Literal["float32", "float64"]
Type = Annotated[Dtype | None, typer.Option(help="Type to compute in; by default the model's own.")]
Head = Annotated[str | None, typer.Option(help="Level of theory, of models trained on several.")]
BatchAtoms = Annotated[int | None, typer.Option(min=1, help="Atoms computed at once, at most.")]


def predict(
    model: Model,
    source: Structures,
    output: Annotated[Path, typer.Option("--output", "-o", help="Extended XYZ file to write.", show_default=False)],
    dtype: Type = None,
    device: Device = "auto",
    head: Head = None,
    batch_atoms: BatchAtoms = None,
) -> None:
    """Write the energies, forces and (periodic systems) stress of structures to an extended XYZ file."""
    from simkit.progress import Terminal
    from simkit.tasks.predict import predict_file

    _require(model, source)
    options = _options(device, dtype, batch_atoms) | {"head": head}
    predict_file(model, source, output, **options, progress=Terminal())
    print(f"predictions: {output}")


def evaluate(
    model: Model,
    data: Annotated[Path, typer.Argument(help="Labelled frames.", show_default=False)],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="JSON file to write too.")] = None,
    dtype: Type = None,
    device: Device = "auto",
    head: Head = None,
    batch_atoms: BatchAtoms = None,
) -> None:
    """Print a model's errors on labelled frames: MAE and RMSE of energy, forces and stress."""
    from simkit.commands.facts import print_errors
    from simkit.progress import Terminal
    from simkit.tasks.assess import assess_file

    _require(model, data)
    options = _options(device, dtype, batch_atoms) | {"head": head}
    print_errors(assess_file(model, data, target=output, **options, progress=Terminal()))
    if output:
        print(f"errors: {output}")


def relax(
    model: Model,
    source: Structures,
    output: Annotated[Path, typer.Option("--output", "-o", help="Extended XYZ file to write.", show_default=False)],
    fmax: Annotated[float, typer.Option(help="Largest force left, in eV/Å.")] = 0.01,
    max_steps: Annotated[int, typer.Option(min=1, help="Steps of the optimiser, at most.")] = 500,
    optimiser: Annotated[Literal["BFGS", "LBFGS", "FIRE"], typer.Option(case_sensitive=False, help="Of ASE.")] = "BFGS",
    cell: Annotated[bool, typer.Option("--cell", help="Relax the cell too (periodic systems).")] = False,
    dtype: Type = None,
    device: Device = "auto",
) -> None:
    """Relax structures to a minimum of the potential energy."""
    from simkit.progress import Terminal
    from simkit.tasks.relax import relax_file

    _require(model, source)
    if fmax <= 0:
        raise SimkitError(f"expected --fmax greater than 0 eV/Å, found {fmax}")
    summary = relax_file(
        model,
        source,
        output,
        fmax=fmax,
        max_steps=max_steps,
        optimiser=optimiser,
        relax_cell=cell,
        **_options(device, dtype),
        progress=Terminal(),
    )
    _print_summary(summary)
    print(f"relaxed: {output}")


def md(
    model: Model,
    source: Structures,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder of the run; an existing run continues.")
    ] = Path("md"),
    ensemble: Annotated[
        Literal["nve", "langevin", "bussi"], typer.Option(help="Constant energy, or a thermostat.")
    ] = "langevin",
    timestep: Annotated[float, typer.Option(help="In fs.")] = 0.5,
    steps: Annotated[int, typer.Option(min=1, help="Number of steps, in all.")] = 1000,
    temperature: Annotated[float, typer.Option(help="In K.")] = 300.0,
    friction: Annotated[float, typer.Option(help="Of the Langevin thermostat, in 1/fs.")] = 0.01,
    seed: Annotated[int, typer.Option(help="Of velocities and noise.")] = 0,
    save_every: Annotated[int, typer.Option(min=1, help="Steps between two frames of the trajectory.")] = 10,
    dtype: Type = None,
    device: Device = "auto",
) -> None:
    """Run molecular dynamics; the same command continues an interrupted run."""
    from simkit.progress import Terminal
    from simkit.tasks.dynamics import run_md

    _require(model, source)
    summary = run_md(
        model,
        source,
        output,
        ensemble=ensemble,
        timestep=timestep,
        steps=steps,
        temperature=temperature,
        friction=friction,
        seed=seed,
        save_every=save_every,
        **_options(device, dtype),
        progress=Terminal(),
    )
    _print_summary(summary)
    print(f"run: {output}")


def _require(model: Path, data: Path) -> None:
    require_file(model, "model")
    require_file(data, "structures")


def _options(device: str, dtype: Dtype | None, batch_atoms: int | None = None) -> dict[str, Any]:
    from simkit.workflow.worker import resolve_device

    options: dict[str, Any] = {"device": resolve_device(device), "dtype": dtype}
    return options | ({} if batch_atoms is None else {"batch_atoms": batch_atoms})


def _print_summary(summary: dict[str, Any]) -> None:
    from simkit.commands.facts import print_facts

    print_facts("", {key: value for key, value in summary.items() if not isinstance(value, dict | list)})
