"""Relax the structures of a file to the nearest minimum of a model's energy."""

from __future__ import annotations

import math
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from simkit.errors import SimkitError
from simkit.files import atomic_path, file_hash, write_json
from simkit.potential import IgnoredConditions
from simkit.progress import Progress, Silent, Task
from simkit.relaxation import Budget, CellFilter, Fire, InFlight, Lbfgs, Optimiser, Status
from simkit.relaxation.in_flight import require_sense
from simkit.relaxation.relax import note
from simkit.tasks.frames import require_extxyz, require_other_file, write_frames
from simkit.tasks.models import open_model
from simkit.tasks.relax_frames import Structures
from simkit.tasks.relax_journal import Journal
from simkit.tasks.settings import PRECISION, OptimiserName, Relaxation
from simkit.units import GPA

OPTIMISERS: dict[str, Optimiser[Any]] = {"LBFGS": Lbfgs(), "FIRE": Fire()}

CHECKPOINT_SECONDS = 10.0
"""Time between checkpoints."""


def relax_file(
    model: str | os.PathLike[str],
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    fmax: float = Relaxation.fmax,
    max_steps: int = Relaxation.max_steps,
    optimiser: OptimiserName = Relaxation.optimiser,
    relax_cell: bool = Relaxation.relax_cell,
    pressure: float = Relaxation.pressure,
    path: bool = Relaxation.path,
    max_atoms: int | None = None,
    frame: int | None = None,
    device: str = "cpu",
    dtype: str | None = PRECISION,
    head: str | None = None,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Relax the structures of a file with a model, many at once, and write them with energies, forces and stress.

    Structures that have converged leave the batch and waiting ones enter; no result depends on the others. The target
    has a frame for each one of the source, in that order, with its status as ``info["relaxation"]``. Beside it go
    ``<name>.json`` with the summary and ``<name>-path.xyz`` with the geometries of all steps. Called again after an
    interruption with the same settings, it continues from the last checkpoint to the same numbers.

    Args:
        model: own model file or one of mace-torch.
        source: structures in any format that ASE reads; atoms under FixAtoms stay where they are.
        target: file to write, ``.xyz`` or ``.extxyz``; it appears when all frames are done.
        fmax: largest force on any atom of a relaxed structure, in eV/Å.
        max_steps: of each structure.
        optimiser: LBFGS or FIRE.
        relax_cell: also relax the cell, to zero stress; for periodic structures.
        pressure: instead of zero stress, in GPa; with ``relax_cell``.
        path: write the geometries of all steps.
        max_atoms: in a batch; by default as many as half of the free memory allows, as measured.
        frame: relax only this one; all by default.
        device: torch device.
        dtype: ``float64`` or ``float32``; None for the model's own.
        head: level of theory, for models trained on several.
        checkpoint_seconds: time between checkpoints.
        progress: where progress is shown.

    Returns:
        For each frame its status (``converged``, ``not converged``, ``exploded`` or ``refused``, all but the first
        with a remedy), steps, largest force in eV/Å, energies in eV; and how often the model was called.

    Raises:
        DataError: the source cannot be read, or the target does not end in .xyz.
        InvalidSystemError: none of the structures can be relaxed.
        SimkitError: settings without sense, or a cell to relax with a model that has no stress.
    """
    _require_settings(optimiser, pressure, relax_cell)
    out = require_extxyz(target)
    require_other_file(source, out)
    identity = {
        "model": file_hash(model), "source": file_hash(source), "fmax": fmax, "max_steps": max_steps,
        "optimiser": optimiser, "relax_cell": relax_cell, "pressure": pressure, "path": path, "frame": frame,
        "dtype": dtype, "head": head,
    }  # fmt: skip
    structures = Structures(source, frame)
    potential = open_model(model, device=device, dtype=dtype, head=head)
    cell = CellFilter(pressure=pressure * GPA) if relax_cell else None
    require_sense(potential, fmax, max_steps, cell)
    progress = progress or Silent()
    structures.look_at(IgnoredConditions(potential, progress))
    with Journal(out, identity, path) as journal:
        limit = None if max_atoms is None else Budget(max_atoms=max_atoms)
        run = InFlight(
            potential,
            structures.systems,
            OPTIMISERS[optimiser],
            fmax=fmax,
            max_steps=max_steps,
            cell=cell,
            budget=journal.budget or limit,
        )
        with progress.task("relax", len(structures.frames), len(journal.finished())) as task:
            _run(run, structures, journal, task, checkpoint_seconds)
        summary = _summary(structures, _written(out, structures, journal), identity, run.evaluations)
        write_json(out.with_suffix(".json"), summary)
        journal.remove()
    return summary


def _require_settings(optimiser: str, pressure: float, relax_cell: bool) -> None:
    if optimiser not in OPTIMISERS:
        raise SimkitError(f"expected an optimiser among {', '.join(OPTIMISERS)}, found {optimiser}")
    if not math.isfinite(pressure):
        raise SimkitError(f"expected a finite pressure in GPa, found {pressure}")
    if pressure and not relax_cell:
        raise SimkitError(f"a pressure ({pressure:g} GPa) needs a cell that may change: relax it too, with relax_cell")


def _run(run: InFlight, structures: Structures, journal: Journal, task: Task, seconds: float) -> None:
    """Relax what is not relaxed yet, keeping the journal."""
    if journal.continued:
        run.restore(journal.tensors())
    else:
        for outcome in structures.refused:
            journal.finish(outcome)
        task.advance(len(structures.refused))
        journal.save(run.tensors(), run.budget)
    converged = sum(facts["status"] == Status.CONVERGED.label for facts in journal.finished().values())
    saved = time.monotonic()
    while run.working:
        found = run.advance()
        if journal.with_path:
            journal.write_path(structures.path_text(found))
        for outcome in found.outcomes:
            journal.finish(replace(outcome, index=structures.places[outcome.index]))
        converged += found.converged
        task.advance(len(found.outcomes), note(found, converged))
        if time.monotonic() - saved >= seconds:
            journal.save(run.tensors(), run.budget)
            saved = time.monotonic()


def _written(out: Path, structures: Structures, journal: Journal) -> dict[int, dict[str, Any]]:
    """Write what the journal holds; the facts of each structure by its place in the file."""
    finished = journal.finished()
    if all(facts["status"] == Status.REFUSED.label for facts in finished.values()):
        journal.discard()
        raise structures.none_usable(finished)
    with atomic_path(out) as temporary:
        write_frames(temporary, (structures.result(index, finished[index]) for index in sorted(finished)))
    return finished


def _summary(
    structures: Structures, finished: dict[int, dict[str, Any]], identity: dict[str, Any], evaluations: int
) -> dict[str, Any]:
    results = [_facts(structures.names[place], finished[place]) for place in sorted(finished)]
    counts = {status.label: sum(one["status"] == status.label for one in results) for status in Status if status}
    return {
        "frames": len(results),
        "converged": counts["converged"],
        "statuses": {label: count for label, count in counts.items() if count},
        "force_calls": sum(one["force_calls"] for one in results),
        "batches": evaluations,
        "fmax_ev_per_ang": identity["fmax"],
        "optimiser": identity["optimiser"],
        "relax_cell": identity["relax_cell"],
        "pressure_gpa": identity["pressure"],
        "model_sha256": identity["model"],
        "results": results,
    }


def _facts(name: str, facts: dict[str, Any]) -> dict[str, Any]:
    result = {
        "frame": name,
        "status": facts["status"],
        "steps": facts["steps"],
        "force_calls": facts["force_calls"],
        "fmax_ev_per_ang": facts["fmax"],
        "energy_before_ev": facts["first_energy"],
        "energy_ev": facts["energy"],
    }
    return result if facts["remedy"] is None else result | {"remedy": facts["remedy"]}
