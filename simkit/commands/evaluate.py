"""``simkit evaluate``: errors of a model on labelled frames."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from simkit.commands.options import (
    BatchAtoms,
    Device,
    Head,
    Model,
    OwnDtype,
    Reading,
    model_options,
    reading_settings,
    require_inputs,
)
from simkit.tasks.settings import BATCH_ATOMS


def evaluate(
    model: Model,
    data: Annotated[Path, typer.Argument(help="Labelled frames.", show_default=False)],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="JSON file to write too.")] = None,
    reading: Reading = None,
    dtype: OwnDtype = None,
    device: Device = "auto",
    head: Head = None,
    batch_atoms: BatchAtoms = BATCH_ATOMS,
) -> None:
    """Print a model's errors on labelled frames: MAE and RMSE of energy, forces and stress."""
    from simkit.commands.facts import print_errors
    from simkit.progress import Terminal
    from simkit.tasks.assess import assess_file

    require_inputs(model, data)
    errors = assess_file(
        model,
        data,
        target=output,
        reading=reading_settings(reading),
        batch_atoms=batch_atoms,
        **model_options(device, dtype, head),
        progress=Terminal(),
    )
    print_errors(errors, f"{errors['frames']} frames, {errors['atoms']} atoms")
    if output:
        print(f"errors: {output}")
