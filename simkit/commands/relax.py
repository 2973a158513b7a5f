"""``simkit relax``: minima of the potential energy."""

from __future__ import annotations

from pathlib import Path
from statistics import median
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
    optimiser: Annotated[
        OptimiserName, typer.Option(case_sensitive=False, help="LBFGS is faster, FIRE safer far from a minimum.")
    ] = Relaxation.optimiser,
    relax_cell: Annotated[
        bool, typer.Option("--relax-cell", "--cell", help="Relax the cell too (periodic systems).")
    ] = Relaxation.relax_cell,
    pressure: Annotated[float, typer.Option(help="With --relax-cell, in GPa.")] = Relaxation.pressure,
    path: Annotated[bool, typer.Option(help="Write the geometries of all steps too.")] = Relaxation.path,
    max_atoms: Annotated[
        int | None, typer.Option(min=1, help="Atoms relaxed at once; by default what the free memory allows.")
    ] = None,
    frame: Annotated[int | None, typer.Option(help="Only this frame of the file, from 0; -1 is the last.")] = None,
    dtype: Dtype = PRECISION,
    device: Device = "auto",
    head: Head = None,
) -> None:
    """Relax structures to minima of the potential energy, many at once; exit status 1 if one does not get there."""
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
        pressure=pressure,
        path=path,
        max_atoms=max_atoms,
        frame=frame,
        **model_options(device, dtype, head),
        progress=Terminal(),
    )
    _print_results(summary["results"], output)
    _print_sums(summary)
    print(f"relaxed: {output}")
    if summary["converged"] < summary["frames"]:
        missing = summary["frames"] - summary["converged"]
        first = next(result for result in summary["results"] if "remedy" in result)
        raise SimkitError(
            f"{missing} of {summary['frames']} structures did not converge, "
            f"{'the first ' if missing > 1 else ''}{first['frame']}: {first['remedy']}"
        )


def _print_results(results: list[dict[str, Any]], output: Path) -> None:
    """A line for each structure; of many, for those that did not converge and the first of the others."""
    from simkit.commands.tables import SHOWN, print_table

    shown = results
    if len(results) > SHOWN:
        first = sorted(range(len(results)), key=lambda index: _converged(results[index]))[:SHOWN]
        shown = [results[index] for index in sorted(first)]
    columns = ("", "status", "steps", "largest force (eV/Å)", "energy (eV)", "gained (eV)")
    rows = [
        (
            result["frame"].replace("[", r"\["),
            result["status"],
            str(result["steps"]),
            *_numbers(result),
        )
        for result in shown
    ]
    print_table("", columns, rows, numbers=columns[2:])
    if len(shown) < len(results):
        print(f"and {len(results) - len(shown)} more structures in {output.with_suffix('.json')}")


def _print_sums(summary: dict[str, Any]) -> None:
    """What has become of many structures, in one line."""
    from simkit.commands.tables import SHOWN

    if summary["frames"] <= SHOWN:
        return
    counts = ", ".join(f"{count} {status}" for status, count in summary["statuses"].items())
    steps = [one["steps"] for one in summary["results"] if _converged(one)]
    most = f"; steps: median {median(steps):g}, most {max(steps)}" if steps else ""
    print(f"{summary['frames']} structures: {counts}{most}; {summary['force_calls']} force calls")


def _converged(result: dict[str, Any]) -> bool:
    return "remedy" not in result


def _numbers(result: dict[str, Any]) -> tuple[str, str, str]:
    """Largest force, energy and gain; empty for structures that the model never saw."""
    if result["energy_ev"] is None:
        return ("", "", "")
    gained = result["energy_before_ev"] - result["energy_ev"]
    return (f"{result['fmax_ev_per_ang']:.2g}", f"{result['energy_ev']:.4f}", f"{gained:.4f}")
