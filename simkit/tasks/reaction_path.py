"""Reaction paths between two structures with a model file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ase import Atoms

from simkit.analysis.elastic_band import (
    BatchedNEB,
    Interpolation,
    ReactionPath,
    interpolated,
    reaction_path,
)
from simkit.analysis.minimum import minima
from simkit.csv_tables import write_table
from simkit.files import atomic_path, file_hash, write_json
from simkit.potential import IgnoredConditions, Potential
from simkit.progress import Progress, Silent
from simkit.system import System
from simkit.tasks.frames import attach, read_frame, read_frames, write_frames
from simkit.tasks.models import open_model, require_usable
from simkit.tasks.settings import PRECISION

SAVE_EVERY = 20
"""Steps between copies of the unfinished band on disk."""


def neb(
    model: str | os.PathLike[str],
    initial: str | os.PathLike[str],
    final: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    *,
    images: int = 7,
    interpolation: Interpolation = "idpp",
    spring: float = 0.1,
    climb: bool = True,
    fmax: float = 0.05,
    max_steps: int = 500,
    relax_ends: bool = True,
    device: str = "cpu",
    dtype: str | None = PRECISION,
    head: str | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Find the path of least energy between two structures; see :mod:`simkit.analysis.elastic_band`.

    Writes ``path.xyz`` (all images with energies and forces), ``path.csv`` (length in Å, energy in eV relative to the
    first image, slope in eV/Å) and ``neb.json``. Called again after an interruption with the same settings, it goes on
    from the last saved band.

    Args:
        model: model file.
        initial, final: files with the two ends (the last frame of each), of the same atoms in the same order and cell.
        folder: where results go.
        images: between the ends.
        interpolation: of the first band: ``idpp`` or ``linear``.
        spring: in eV/Å².
        climb: let the highest image climb to the saddle point.
        fmax: largest force on the band at the end, and on the relaxed ends a fifth of it, in eV/Å.
        max_steps: of the band.
        relax_ends: move the ends to their minima first, in their cell.
        device: torch device.
        dtype: ``float64`` or ``float32``; None for the model's own.
        head: level of theory, for models trained on several.
        progress: where progress is shown.

    Returns:
        Barriers and reaction energy in eV; ``status`` is ``converged``, or ``not converged`` with a ``remedy``.

    Raises:
        InvalidSystemError: ends that do not match.
        SimkitError: an end that did not reach its minimum.
    """
    target = Path(folder)
    potential = open_model(model, device=device, dtype=dtype, head=head)
    progress = progress or Silent()
    ignored = IgnoredConditions(potential, progress)
    ends = [_bare(read_frame(path)) for path in (initial, final)]
    for path, atoms in zip((initial, final), ends, strict=True):
        require_usable(potential, atoms, Path(path).name, ignored)
    unfinished = target / ".band-unfinished.xyz"
    identity = f"{file_hash(model)} {file_hash(initial)} {file_hash(final)} {images} {interpolation} {relax_ends}"
    band, done = _saved(unfinished, identity)
    if not band:
        ends = _relaxed(potential, ends, fmax / 5) if relax_ends else ends
        band = interpolated(ends[0], ends[1], images, interpolation)
    with progress.task("nudged elastic band", max_steps, done) as task:
        last = 0

        def observe(running: BatchedNEB, step: int) -> None:
            nonlocal last
            barrier = running.emax - running.images[0].get_potential_energy()
            task.advance(step - last, f"barrier {barrier:.4f} eV")
            last = step
            if step % SAVE_EVERY == 0:
                _save(unfinished, running.images, identity, done + step)

        found = reaction_path(
            potential, band, spring=spring, climb=climb, fmax=fmax, max_steps=max_steps - done, observe=observe
        )
    summary = _summary(found, potential, done)
    _write(target, found, summary)
    unfinished.unlink(missing_ok=True)
    return summary


def _write(folder: Path, found: ReactionPath, summary: dict[str, Any]) -> None:
    with atomic_path(folder / "path.xyz") as temporary:
        write_frames(temporary, found.images)
    columns = {"distance_ang": found.distance, "energy_ev": found.energy, "slope_ev_per_ang": found.slope}
    write_table(folder / "path.csv", columns)
    write_json(folder / "neb.json", summary)


def _bare(atoms: Atoms) -> Atoms:
    copy = atoms.copy()
    copy.info = {key: atoms.info[key] for key in ("charge", "spin") if key in atoms.info}
    return copy


def _relaxed(potential: Potential, ends: list[Atoms], fmax: float) -> list[Atoms]:
    found = minima(potential, [System.from_ase(atoms) for atoms in ends], fmax=fmax)
    for atoms, system in zip(ends, found, strict=True):
        atoms.positions[:] = system.positions.double().cpu().numpy()
    return ends


def _save(path: Path, images: list[Atoms], identity: str, step: int) -> None:
    copies = []
    for image in images:
        copy = image.copy()
        copy.info |= {"identity": identity, "step": step}
        copies.append(attach(copy))
    with atomic_path(path) as temporary:
        write_frames(temporary, copies)


def _saved(path: Path, identity: str) -> tuple[list[Atoms], int]:
    """The band of an interrupted call with the same settings, and its step; an empty one otherwise."""
    if not path.exists():
        return [], 0
    images = list(read_frames(path))
    if images[0].info["identity"] != identity:
        return [], 0
    return [_bare(image) for image in images], int(images[0].info["step"])


def _summary(found: ReactionPath, potential: Potential, done: int) -> dict[str, Any]:
    summary: dict[str, Any] = {
        "formula": found.images[0].get_chemical_formula(),
        "atoms": len(found.images[0]),
        "images": len(found.images) - 2,
        "status": "converged" if found.converged else "not converged",
        "barrier_ev": found.barrier,
        "reverse_barrier_ev": found.reverse_barrier,
        "reaction_energy_ev": float(found.energy[-1]),
        "path_length_ang": float(found.distance[-1]),
        "fmax_ev_per_ang": found.fmax,
        "steps": done + found.steps,
        "evaluations": found.evaluations,
        "citations": list(potential.capabilities.citations),
    }
    if not found.converged:
        summary["remedy"] = (
            "raise max_steps; or look at path.xyz: a second minimum between the ends wants two paths, and atoms that "
            "are numbered differently at the ends pass through one another"
        )
    return summary
