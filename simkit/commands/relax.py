"""``simkit relax``: minima of the potential energy."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from simkit.commands.options import Device, Dtype, Head, Model, Output, Structures, model_options, require_inputs
from simkit.errors import SimkitError
from simkit.tasks.settings import PRECISION, OptimiserName, Relaxation


def relax(
    model: Model,
    source: Structures,
    output: Output,
    fmax: Annotated[float, typer.Option(help="Largest force left, in eV/Å.")] = Relaxation.fmax,
    max_steps: Annotated[int, typer.Option(min=1, help="Steps of the optimiser, at most.")] = Relaxation.max_steps,
    optimiser: Annotated[OptimiserName, typer.Option(case_sensitive=False, help="Of ASE.")] = Relaxation.optimiser,
    relax_cell: Annotated[
        bool, typer.Option("--relax-cell", "--cell", help="Relax the cell too (periodic systems).")
    ] = Relaxation.relax_cell,
    frame: Annotated[int | None, typer.Option(help="Only this frame of the file, from 0; -1 is the last.")] = None,
    dtype: Dtype = PRECISION,
    device: Device = "auto",
    head: Head = None,
) -> None:
    """Relax structures to a minimum of the potential energy; exit status 1 if one does not get there."""
    from simkit.progress import Terminal
    from simkit.tasks.relax import relax_file

    require_inputs(model, source)
    if fmax <= 0:
        raise SimkitError(f"expected --fmax greater than 0 eV/Å, found {fmax}")
    summary = relax_file(
        model,
        source,
        output,
        fmax=fmax,
        max_steps=max_steps,
        optimiser=optimiser,
        relax_cell=relax_cell,
        frame=frame,
        **model_options(device, dtype, head),
        progress=Terminal(),
    )
    _print_results(summary["results"])
    print(f"relaxed: {output}")
    if summary["converged"] < summary["frames"]:
        missing = summary["frames"] - summary["converged"]
        remedy = next(result["remedy"] for result in summary["results"] if "remedy" in result)
        raise SimkitError(f"{missing} of {summary['frames']} structures did not converge: {remedy}")


def _print_results(results: list[dict[str, Any]]) -> None:
    from simkit.commands.tables import print_table

    columns = ("", "status", "steps", "largest force (eV/Å)", "energy (eV)", "gained (eV)")
    rows = [
        (
            result["frame"].replace("[", r"\["),
            result["status"],
            str(result["steps"]),
            f"{result['fmax_ev_per_ang']:.2g}",
            f"{result['energy_ev']:.4f}",
            f"{result['energy_before_ev'] - result['energy_ev']:.4f}",
        )
        for result in results
    ]
    print_table("", columns, rows, numbers=columns[2:])
