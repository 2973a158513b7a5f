"""Which frames of an exploration are labelled: some at random, and uncertain ones that differ most."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from ase.geometry import get_distances

from simkit.errors import SimkitError
from simkit.files import atomic_path
from simkit.potential import Potential
from simkit.system import System
from simkit.tasks.active_settings import Learning
from simkit.tasks.frames import read_frames, write_frames
from simkit.tasks.settings import CANDIDATES
from simkit.uncertainty.selection import farthest_points, structure_descriptors


def choose(
    folder: Path, settings: Learning, features: Potential, random: np.random.Generator, name: str
) -> dict[str, int]:
    """Write ``fresh_bare.xyz``, at random from all walkers, and ``chosen_bare.xyz``, from the candidates.

    Args:
        folder: of a round, with the exploration and ``train.xyz``.
        settings: of the learning.
        features: tells structures apart.
        random: of the choice.
        name: of the round.

    Returns:
        Numbers of candidates, and of frames of each file.

    Raises:
        SimkitError: too few frames that a reference method can label.
    """
    explored = [one for one in read_frames(folder / "explore" / "trajectory.h5") if one.info["step"] > 0]
    usable = [one for one in explored if is_possible(one, settings.closest)]
    if len(usable) < settings.fresh:
        raise SimkitError(
            f"{name}: expected {settings.fresh} frames to judge the committee on, found {len(usable)} that a reference "
            "method can label: explore longer or at a lower temperature, or begin with more frames"
        )
    fresh = [usable[index] for index in evenly([_place(one)[0] for one in usable], settings.fresh, random)]
    path = folder / "explore" / CANDIDATES
    found = list(read_frames(path)) if path.stat().st_size else []
    taken = {_place(one) for one in fresh}
    candidates = [one for one in found if is_possible(one, settings.closest) and _place(one) not in taken]
    known = [one for one in read_frames(folder / "train.xyz") if len(one) > 1]
    chosen = [candidates[index] for index in _diverse(candidates, known, settings.batch, features)]
    for kind, frames in (("fresh", fresh), ("chosen", chosen)):
        with atomic_path(folder / f"{kind}_bare.xyz") as temporary:
            write_frames(temporary, [_bare(one, f"{name}, walker {_place(one)[0]}") for one in frames])
    return {"candidates": len(candidates), "fresh": len(fresh), "chosen": len(chosen)}


def is_possible(atoms: Atoms, closest: float) -> bool:
    """Whether no two atoms are closer than ``closest`` sums of covalent radii, where a reference method may fail."""
    _, lengths = get_distances(atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    radii = covalent_radii[atoms.numbers]
    np.fill_diagonal(lengths, np.inf)
    return bool((lengths > closest * (radii[:, None] + radii)).all())


def evenly(walkers: Sequence[int], count: int, random: np.random.Generator) -> list[int]:
    """Indices of frames at random, from all walkers as evenly as can be.

    Args:
        walkers: of each frame.
        count: of frames.
        random: of the choice.
    """
    turns: dict[int, int] = {}
    keys = []
    for index in random.permutation(len(walkers)).tolist():
        turns[walkers[index]] = turns.get(walkers[index], 0) + 1
        keys.append((turns[walkers[index]], index))
    return sorted(index for _, index in sorted(keys, key=lambda key: key[0])[:count])


def _diverse(candidates: Sequence[Atoms], known: Sequence[Atoms], count: int, features: Potential) -> list[int]:
    if not candidates:
        return []
    points = structure_descriptors(
        features, [System.from_ase(one, device=features.device) for one in [*known, *candidates]]
    )
    spread = points.std(0)
    points = points / np.where(spread > 1e-12 * spread.max(), spread, np.inf)
    return farthest_points(points[len(known) :], count, points[: len(known)])


def _place(atoms: Atoms) -> tuple[int, int]:
    return int(atoms.info.get("system", 0)), int(atoms.info["step"])


def _bare(atoms: Atoms, group: str) -> Atoms:
    frame = atoms.copy()
    frame.calc = None
    kept = {key: frame.info[key] for key in ("charge", "spin") if key in frame.info}
    frame.info = kept | {"group": group, "step": _place(atoms)[1]}
    frame.arrays = {key: value for key, value in frame.arrays.items() if key in ("numbers", "positions", "tags")}
    return frame
