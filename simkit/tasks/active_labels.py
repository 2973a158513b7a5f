"""Labels of chosen frames, one after another, kept at once; what the method fails on is left out."""

from __future__ import annotations

from pathlib import Path

from ase import Atoms
from ase.calculators.calculator import Calculator

from simkit.errors import DataError
from simkit.files import atomic_path, write_text
from simkit.progress import Progress
from simkit.tasks.frames import read_frame, read_frames, write_frames
from simkit.tasks.labellers import Labeller, label_frame


def label_kept(folder: Path, name: str, labeller: Labeller, progress: Progress, title: str) -> int:
    """Label ``<name>_bare.xyz`` into ``<name>.xyz``; called again after an interruption, it continues.

    Returns:
        The number of frames that have labels.
    """
    target, bare = folder / f"{name}.xyz", folder / f"{name}_bare.xyz"
    if not target.exists():
        frames = list(read_frames(bare)) if bare.stat().st_size else []
        calculator = labeller.make_calculator()
        labelled: list[Atoms] = []
        with progress.task(title, len(frames)) as task:
            for index, atoms in enumerate(frames):
                path = folder / "labels" / f"{name}-{index:04d}"
                labelled += _labelled(atoms, calculator, labeller, path, progress)
                task.advance()
        with atomic_path(target) as temporary:
            write_frames(temporary, labelled)
    return sum(1 for _ in read_frames(target)) if target.stat().st_size else 0


def _labelled(atoms: Atoms, calculator: Calculator, labeller: Labeller, path: Path, progress: Progress) -> list[Atoms]:
    done, failed = path.with_suffix(".xyz"), path.with_suffix(".failed")
    if not done.exists() and not failed.exists():
        try:
            found = label_frame(atoms, calculator, labeller, path.name)
        except DataError as error:
            write_text(failed, f"{error}\n")
            progress.say(f"left out: {error}")
        else:
            with atomic_path(done) as temporary:
                write_frames(temporary, [found])
    return [read_frame(done)] if done.exists() else []
