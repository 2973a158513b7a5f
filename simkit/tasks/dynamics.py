"""Molecular dynamics of one system or many with a model file, continued exactly after an interruption."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal

from simkit.dynamics import ForceField
from simkit.errors import SimkitError
from simkit.files import file_hash
from simkit.potential import IgnoredConditions
from simkit.progress import Progress, Silent
from simkit.tasks.frames import frame_name, naming, read_frame, read_frames
from simkit.tasks.models import open_model, require_usable
from simkit.tasks.propagation import propagate
from simkit.tasks.settings import PRECISION, Dynamics
from simkit.tasks.watching import watching
from simkit.uncertainty.base import UncertainPotential
from simkit.uncertainty.monitor import UncertaintyMonitor


def run_md(
    model: str | os.PathLike[str],
    source: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    *,
    frame: int | Literal["all"] = -1,
    device: str = "cpu",
    dtype: str | None = PRECISION,
    head: str | None = None,
    progress: Progress | None = None,
    **settings: Any,
) -> dict[str, Any]:
    """Run molecular dynamics with a model file from one frame of a structure file, or all of them in one batch.

    Writes ``trajectory.h5`` (positions, momenta, forces, energies, cells; read it with
    ``simkit.datasets.open_dataset``), ``log.csv`` (units in the names of its columns), ``final.xyz``, ``md.json`` and
    ``checkpoint.safetensors`` into ``folder``. Called again with the same settings, or more steps, it continues from
    the checkpoint with the same numbers as an uninterrupted run.

    With a potential that tells its uncertainty, the log has it too. ``uncertainty`` in the settings stops systems where
    it is large, and keeps frames to be labelled in ``candidates.xyz``.

    Args:
        model: own model file or one of mace-torch.
        source: structure file, with fixed atoms and masses if ASE reads them.
        folder: where results go.
        frame: of the file, the last by default; ``all`` runs all frames side by side. One frame and a setting with
            several numbers, such as temperatures, give as many copies.
        device: torch device.
        dtype: ``float64`` or ``float32``, of the potential; None for the model's own. The state is in float64.
        head: level of theory, for models trained on several.
        progress: where progress is shown.
        settings: of :class:`~simkit.tasks.settings.Dynamics`, by name.

    Returns:
        The content of ``md.json``; its ``status`` is ``finished``, or says why the run stopped, with a ``remedy``. With
        several systems, ``systems`` has these for each, and one that stops does not disturb the others. The files of a
        system that has stopped end with its last good frame.

    Raises:
        SimkitError: the folder holds a run with other settings, a file cannot be used, or the start is out of bounds.
    """
    chosen = _settings(settings)
    frames = list(read_frames(source)) if frame == "all" else [read_frame(source, frame)]
    if len(frames) == 1:
        frames = frames * chosen.copies
    potential = open_model(model, device=device, dtype=dtype, head=head)
    progress = progress or Silent()
    ignored = IgnoredConditions(potential, progress)
    for index, atoms in enumerate(frames):
        name = frame_name(source, index if frame == "all" else frame, atoms)
        require_usable(potential, atoms, name, ignored)
    conservative = potential.capabilities.conservative
    forces = ForceField(potential, virial=conservative and any(atoms.pbc.all() for atoms in frames))
    identity: dict[str, Any] = {"model_sha256": file_hash(model), "source_sha256": file_hash(source), "frame": frame}
    identity |= {"dtype": dtype, "head": head}
    monitor = UncertaintyMonitor(potential) if isinstance(potential, UncertainPotential) else None
    with naming(Path(source).name):
        return propagate(
            frames, forces, Path(folder), chosen, identity=identity, progress=progress, device=device, monitor=monitor
        )


def _settings(settings: dict[str, Any]) -> Dynamics:
    """Settings by name; lists become tuples, and mappings the settings that they are.

    Raises:
        SimkitError: an unknown name.
    """
    known = {field.name for field in fields(Dynamics)}
    unknown = sorted(settings.keys() - known)
    if unknown:
        raise SimkitError(f"expected settings among {', '.join(sorted(known))}; found {', '.join(unknown)}")
    given: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in settings.items()}
    if isinstance(given.get("uncertainty"), Mapping):
        given["uncertainty"] = watching(given["uncertainty"])
    return Dynamics(**given)
