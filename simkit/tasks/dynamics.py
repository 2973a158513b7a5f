"""Molecular dynamics of one system with a model file, continued exactly after an interruption."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from simkit.files import file_hash
from simkit.progress import Progress, Silent
from simkit.tasks.frames import naming, read_frame
from simkit.tasks.models import model_calculator, require_usable
from simkit.tasks.propagation import propagate
from simkit.tasks.settings import PRECISION, Dynamics, Ensemble


def run_md(
    model: str | os.PathLike[str],
    source: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    *,
    ensemble: Ensemble = Dynamics.ensemble,
    timestep: float = Dynamics.timestep,
    steps: int = Dynamics.steps,
    temperature: float = Dynamics.temperature,
    friction: float = Dynamics.friction,
    time_constant: float = Dynamics.time_constant,
    seed: int = Dynamics.seed,
    save_every: int = Dynamics.save_every,
    log_every: int = Dynamics.log_every,
    checkpoint_every: int = Dynamics.checkpoint_every,
    max_temperature: float = Dynamics.max_temperature,
    frame: int = -1,
    device: str = "cpu",
    dtype: str | None = PRECISION,
    head: str | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Run molecular dynamics with a model file from one frame of a structure file.

    Writes ``trajectory.xyz`` (energies, forces and momenta included), ``log.csv`` (time in fs, energies in eV,
    temperature in K), ``final.xyz``, ``md.json`` and ``checkpoint.npz`` into ``folder``. Called again with the same
    settings, or more steps, it continues from the checkpoint with the same numbers as an uninterrupted run.

    Args:
        model: own model file or one of mace-torch.
        source: structure file; ``frame`` chooses the frame, the last by default.
        folder: where results go.
        device: torch device.
        dtype: ``float64`` or ``float32``; None for the model's own.
        head: level of theory, for models trained on several.
        progress: where progress is shown.

    The other arguments are those of :class:`~simkit.tasks.settings.Dynamics`.

    Returns:
        The content of ``md.json``; its ``status`` is ``finished``, or ``exploded`` with a ``remedy``: then the
        files end with the last good frame.

    Raises:
        SimkitError: the folder holds a run with other settings, a file cannot be used, or the start is out of bounds.
    """
    settings = Dynamics(
        ensemble, timestep, steps, temperature, friction, time_constant,
        seed, save_every, log_every, checkpoint_every, max_temperature,
    )  # fmt: skip
    atoms = read_frame(source, frame)
    calculator = model_calculator(model, device=device, dtype=dtype, head=head)
    name = f"{Path(source).name} ({atoms.get_chemical_formula()})"
    require_usable(calculator.potential, atoms, name)
    atoms.calc = calculator
    identity = {"model_sha256": file_hash(model), "source_sha256": file_hash(source), "frame": frame}
    identity |= {"dtype": dtype, "head": head}
    with naming(name):
        return propagate(atoms, Path(folder), settings, identity=identity, progress=progress or Silent())
