"""Arguments and options that the commands which use a model file share."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from simkit.commands.failures import require_file
from simkit.errors import SimkitError
from simkit.tasks.settings import Precision

if TYPE_CHECKING:
    from simkit.training.sources import ReadingSettings
    from simkit.workflow.document import Document

Model = Annotated[Path, typer.Argument(help="Model file: of simkit, or .model of mace-torch.", show_default=False)]
Structures = Annotated[Path, typer.Argument(help="Structures, in any format that ASE reads.", show_default=False)]
Output = Annotated[Path, typer.Option("--output", "-o", help="Extended XYZ file to write.", show_default=False)]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps; auto: a CUDA device if there is one, else the CPU.")]
Dtype = Annotated[Precision, typer.Option(help="Type to compute in.")]
OwnDtype = Annotated[Precision | None, typer.Option(help="Type to compute in; by default the model's own.")]
Head = Annotated[str | None, typer.Option(help="Level of theory, of models trained on several.")]
BatchAtoms = Annotated[int, typer.Option(min=1, help="Atoms computed at once, at most.")]
Reading = Annotated[
    list[str] | None,
    typer.Option(
        "--reading",
        metavar="KEY=VALUE",
        help="How data are read: energy_key=E_dft, energy_unit=Hartree, forces_sign=-1",
    ),
]


def model_options(device: str, dtype: Precision | None, head: str | None) -> dict[str, Any]:
    """Options as the tasks take them, with the device that is meant."""
    from simkit.devices import resolve_device

    return {"device": resolve_device(device), "dtype": dtype, "head": head}


def reading_settings(words: list[str] | None) -> ReadingSettings:
    """The settings that ``--reading`` options give.

    Raises:
        WorkflowError: one of them has no ``=``, an unknown key or a wrong value.
    """
    from simkit.training.sources import ReadingSettings
    from simkit.workflow.document import Document
    from simkit.workflow.messages import validate

    document = with_reading(Document(Path("command line"), {}, {}), words)
    return validate(document, ReadingSettings, document.data.get("reading", {}), ("reading",))


def with_reading(document: Document, words: list[str] | None) -> Document:
    """Settings with those of ``--reading`` options added."""
    from simkit.workflow.document import with_setting

    for word in words or []:
        if "=" not in word:
            raise SimkitError(f"expected --reading KEY=VALUE, e.g. --reading energy_unit=Hartree, found {word!r}")
        document = with_setting(document, f"reading.{word}")
        key = word.partition("=")[0].strip()
        document = replace(document, places={**document.places, ("reading", key): f"--reading {key}"})
    return document


def require_inputs(model: Path, structures: Path) -> None:
    """Check that the files are there.

    Raises:
        SimkitError: one is not.
    """
    require_file(model, "model")
    require_file(structures, "structures")
