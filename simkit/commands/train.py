"""``simkit train``: one training, alone or under torchrun."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from simkit.commands.failures import require_file
from simkit.commands.one_step import planned, run_alone
from simkit.commands.options import Reading, with_reading
from simkit.errors import SimkitError

if TYPE_CHECKING:
    from simkit.workflow.document import Document
    from simkit.workflow.plan import PlannedStep


def train(
    file: Annotated[Path | None, typer.Argument(help="Settings (YAML): what a train step has.")] = None,
    data: Annotated[Path | None, typer.Option(help="Labelled frames, instead of the key data.")] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the model, checkpoints and log.")] = Path(
        "training"
    ),
    reading: Reading = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="Change a setting: training.max_epochs=100")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the initial weights and the order of the frames.")] = 0,
    device: Annotated[str, typer.Option(help="cpu, cuda, mps; auto: a CUDA device if there is one.")] = "auto",
) -> None:
    """Train a potential on labelled frames; the same command continues an interrupted training.

    On several GPUs or nodes: torchrun --nproc-per-node 4 -m simkit train settings.yaml
    """
    step = planned(_document(file, data, reading, settings or []), "train", seed, output)
    if int(os.environ.get("RANK", "0")) > 0:
        _follow(step, seed, device)
        return
    from simkit.commands.describe import print_result

    run_alone(step, seed, device, output)
    print_result(step.folder)
    for name in step.step.produces:
        print(output / name)


def _document(file: Path | None, data: Path | None, reading: list[str] | None, settings: list[str]) -> Document:
    from simkit.workflow.document import Document, read_document, with_setting

    if file is None and data is None and not settings:
        raise SimkitError("expected a file of settings, or --data FRAMES.xyz; see simkit train --help")
    if file is not None and file.suffix not in (".yaml", ".yml") and require_file(file, "settings"):
        raise SimkitError(f"expected settings in a .yaml file, found {file}; give labelled frames as --data {file}")
    document = Document(Path("command line"), {}, {}) if file is None else read_document(file)
    if "steps" in document.data:
        raise SimkitError(f"{file} is a whole workflow: use simkit run {file}")
    document = with_reading(document, reading)
    for setting in settings:
        document = with_setting(document, setting)
    if data is not None:
        path = str(require_file(data, "data").absolute())
        document = replace(
            document, data={**document.data, "data": path}, places={**document.places, ("data",): "--data"}
        )
    return document


def _follow(step: PlannedStep, seed: int, device: str) -> None:
    """What the processes other than the first do: the same work, without lock, log and results."""
    from simkit.devices import resolve_device
    from simkit.progress import Silent
    from simkit.workflow.step import Context

    if step.finished:
        return
    step.folder.mkdir(parents=True, exist_ok=True)
    step.step.run(Context(step.folder, step.inputs, seed, resolve_device(device), Silent()))
