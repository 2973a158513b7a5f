"""Arguments and options that the commands which use a model file share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from simkit.commands.failures import require_file
from simkit.tasks.settings import Precision

Model = Annotated[Path, typer.Argument(help="Model file: of simkit, or .model of mace-torch.", show_default=False)]
Structures = Annotated[Path, typer.Argument(help="Structures, in any format that ASE reads.", show_default=False)]
Output = Annotated[Path, typer.Option("--output", "-o", help="Extended XYZ file to write.", show_default=False)]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps; auto: a CUDA device if there is one, else the CPU.")]
Dtype = Annotated[Precision, typer.Option(help="Type to compute in.")]
OwnDtype = Annotated[Precision | None, typer.Option(help="Type to compute in; by default the model's own.")]
Head = Annotated[str | None, typer.Option(help="Level of theory, of models trained on several.")]
BatchAtoms = Annotated[int | None, typer.Option(min=1, help="Atoms computed at once, at most.")]


def model_options(
    device: str, dtype: Precision | None, head: str | None, batch_atoms: int | None = None
) -> dict[str, Any]:
    """Options as the tasks take them, with the device that is meant."""
    from simkit.devices import resolve_device

    options: dict[str, Any] = {"device": resolve_device(device), "dtype": dtype, "head": head}
    return options | ({} if batch_atoms is None else {"batch_atoms": batch_atoms})


def require_inputs(model: Path, structures: Path) -> None:
    """Check that the files are there.

    Raises:
        SimkitError: one is not.
    """
    require_file(model, "model")
    require_file(structures, "structures")
