"""Make training data: sample frames by molecular dynamics with a reference method, or label frames that exist."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from simkit.errors import DataError
from simkit.files import atomic_path, file_hash, write_json
from simkit.growing import GrowingFile
from simkit.progress import Progress, Silent
from simkit.tasks.frames import count_frames, extxyz_text, frame_name, read_frames, write_frames
from simkit.tasks.labellers import Labeller, isolated_atoms, label_frame, make_labeller
from simkit.tasks.sampling import Trajectory, relaxed_start
from simkit.tasks.settings import LABELLER, Counts, Sampling

SECONDS_BETWEEN_CHECKPOINTS = 2.0


def label(
    folder: str | os.PathLike[str],
    *,
    molecule: str | None = None,
    structure: str | os.PathLike[str] | None = None,
    labeller: str = LABELLER,
    counts: Counts | None = None,
    sampling: Sampling | None = None,
    seed: int = 0,
    device: str = "cpu",
    dtype: str | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Sample labelled frames of one structure by Langevin dynamics with the reference method itself.

    The structure is relaxed first. Training and validation frames come from one trajectory at each temperature, test
    frames and calibration frames from others that start from other velocities; ``info["group"]`` names the trajectory.
    Writes ``train.xyz`` (with one isolated atom of each element, which sets the zero of energies), ``valid.xyz``,
    ``test.xyz``, ``calibration.xyz`` if there are such frames, ``isolated_atoms.xyz``, ``start.xyz`` (the relaxed
    structure) and ``label.json``, in eV, eV/Å and ASE's keys. Called again, it continues where it stopped.

    Args:
        folder: where files go.
        molecule: a name that :func:`ase.build.molecule` knows, such as ``CH3CH2OH``; or
        structure: a file with the structure (its last frame).
        labeller: see :func:`simkit.tasks.labellers.make_labeller`.
        counts: numbers of frames.
        sampling: how they are sampled.
        seed: of velocities, thermostat and the choice of validation frames.
        device: torch device of a model that labels.
        dtype: floating-point type of a model that labels.
        progress: where progress is shown.

    Returns:
        The content of ``label.json``.

    Raises:
        SimkitError: not exactly one of molecule and structure, or a sampling trajectory that exploded.
        DataError: an unknown molecule, or a frame on which the method failed.
    """
    begun = time.perf_counter()
    counts, sampling, progress = counts or Counts(), sampling or Sampling(), progress or Silent()
    method = make_labeller(labeller, device=device, dtype=dtype)
    folder = Path(folder)
    start = relaxed_start(folder / "start.xyz", molecule, structure, method, progress)
    totals = {"train": counts.train + counts.valid, "test": counts.test, "calibration": counts.calibration}
    pools: dict[str, list[Atoms]] = {purpose: [] for purpose in totals}
    for run, number, seed_of_run in _runs(folder, start, method, sampling, totals, seed):
        pools[run.purpose] += run.frames(number, seed_of_run, progress)
    chosen = np.zeros(totals["train"], dtype=bool)
    chosen[np.random.default_rng(seed).permutation(len(chosen))[: counts.valid]] = True
    parts = {
        "train": [frame for frame, valid in zip(pools["train"], chosen, strict=True) if not valid],
        "valid": [frame for frame, valid in zip(pools["train"], chosen, strict=True) if valid],
        "test": pools["test"],
        "calibration": pools["calibration"],
    }
    facts = {"temperatures_k": list(sampling.temperatures), "spacing_fs": sampling.spacing * sampling.timestep}
    return _write(folder, parts, start, method, facts | {"seconds": time.perf_counter() - begun, "seed": seed})


def label_file(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    labeller: str = LABELLER,
    device: str = "cpu",
    dtype: str | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Label every frame of a file with a reference method; other results of the frames are replaced.

    The target appears when all frames are done. Called again after an interruption, it continues.

    Raises:
        DataError: the source cannot be read, or the method failed on a frame that is named.
    """
    method = make_labeller(labeller, device=device, dtype=dtype)
    calculator = method.make_calculator()
    target = Path(target)
    partial, state_path = (target.with_name(f".{target.name}.{suffix}") for suffix in ("partial", "state"))
    identity = {"source": file_hash(source), "method": method.provenance}
    state: dict[str, Any] = {"identity": identity, "done": 0, "length": 0}
    if state_path.exists():
        found = json.loads(state_path.read_text(encoding="utf-8"))
        state = found if found["identity"] == identity else state
    total, saved = count_frames(source), time.monotonic()
    title = f"label with {method.method}"
    with (progress or Silent()).task(title, total, state["done"]) as task, GrowingFile(partial, state["length"]) as out:
        for index, atoms in enumerate(read_frames(source)):
            if index < state["done"]:
                continue
            out.write(extxyz_text(label_frame(atoms, calculator, method, frame_name(source, index, atoms))))
            if time.monotonic() - saved > SECONDS_BETWEEN_CHECKPOINTS:
                write_json(state_path, state | {"done": index + 1, "length": out.sync()})
                saved = time.monotonic()
            task.advance()
        out.sync()
    partial.replace(target)
    state_path.unlink(missing_ok=True)
    return {"frames": total, "method": method.method, "program": method.program, "citations": list(method.citations)}


def split_labelled(
    source: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    *,
    counts: Counts,
    labeller: str = LABELLER,
    seed: int = 0,
    device: str = "cpu",
    dtype: str | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Label the frames of a file and share them out at random; files and summary as in :func:`label`.

    Raises:
        DataError: fewer frames than asked for.
    """
    begun = time.perf_counter()
    method = make_labeller(labeller, device=device, dtype=dtype)
    shares = {"train": counts.train, "valid": counts.valid, "test": counts.test, "calibration": counts.calibration}
    total, needed = count_frames(source), sum(shares.values())
    if total < needed:
        raise DataError(f"{source}: expected at least {needed} frames to share out, found {total}")
    labelled = Path(folder) / "labelled.xyz"
    label_file(source, labelled, labeller=labeller, device=device, dtype=dtype, progress=progress)
    frames = list(read_frames(labelled))
    order = np.random.default_rng(seed).permutation(total)
    chosen = np.split(order, np.cumsum([*shares.values()]))
    parts = {name: [frames[i] for i in sorted(part)] for name, part in zip(shares, chosen, strict=False)}
    with atomic_path(Path(folder) / "start.xyz") as temporary:
        write_frames(temporary, frames[:1])
    return _write(Path(folder), parts, frames[0], method, {"seconds": time.perf_counter() - begun, "seed": seed})


def _runs(
    folder: Path, start: Atoms, method: Labeller, sampling: Sampling, totals: dict[str, int], seed: int
) -> Iterator[tuple[Trajectory, int, int]]:
    """The trajectories to sample, with the number of frames and the seed of each; frames are shared out evenly."""
    for index, temperature in enumerate(sampling.temperatures):
        for purpose, name in enumerate(totals):
            several = 1 if name == "train" else sampling.trajectories
            for copy in range(several):
                number = _share(_share(totals[name], len(sampling.temperatures), index), several, copy)
                key = (index, purpose) if copy == 0 else (index, purpose, copy)
                if number:
                    place = 0 if several == 1 else copy + 1
                    yield (
                        Trajectory(folder, start, method, sampling, temperature, name, place),
                        number,
                        _derived_seed(seed, *key),
                    )


def _share(total: int, parts: int, index: int) -> int:
    return total // parts + (index < total % parts)


def _derived_seed(seed: int, *key: int) -> int:
    return int(np.random.SeedSequence([seed, *key]).generate_state(1)[0])


def _write(
    folder: Path, parts: dict[str, list[Atoms]], start: Atoms, method: Labeller, facts: dict[str, Any]
) -> dict[str, Any]:
    numbers = {number for frames in parts.values() for frame in frames for number in frame.numbers.tolist()}
    single = isolated_atoms(sorted(numbers), method)
    files: dict[str, Sequence[Atoms]] = {
        "isolated_atoms": single, "train": [*single, *parts["train"]], "valid": parts["valid"], "test": parts["test"]
    }  # fmt: skip
    if parts["calibration"]:
        files["calibration"] = parts["calibration"]
    for name, frames in files.items():
        with atomic_path(folder / f"{name}.xyz") as temporary:
            write_frames(temporary, frames)
    summary = {
        "formula": start.get_chemical_formula(),
        "atoms": len(start),
        "method": method.method,
        "program": method.program,
        "train_frames": len(parts["train"]),
        "valid_frames": len(parts["valid"]),
        "test_frames": len(parts["test"]),
        "calibration_frames": len(parts["calibration"]),
        "isolated_atom_energies_ev": {str(one.symbols): one.get_potential_energy() for one in single},
        **facts,
        "citations": list(method.citations),
    }
    write_json(folder / "label.json", summary)
    return summary
