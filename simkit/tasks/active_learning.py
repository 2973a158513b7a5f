"""Active learning: a committee explores by molecular dynamics, and what it does not know is labelled and learned."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from simkit.continuation import require_same_run
from simkit.csv_tables import csv_row
from simkit.errors import DataError
from simkit.files import atomic_path, file_hash, write_json, write_text
from simkit.progress import Progress, Silent
from simkit.tasks.active_round import Round, derived_seed
from simkit.tasks.active_settings import Learning
from simkit.tasks.assess import assess_file
from simkit.tasks.frames import read_frames, write_frames
from simkit.tasks.labellers import Labeller, make_labeller
from simkit.tasks.settings import LABELLER
from simkit.training.architectures import Architecture, MaceArchitecture
from simkit.training.settings import TrainingSettings
from simkit.uncertainty.selection import CITATION

FEWEST = 5
"""Labelled frames to begin with."""


def learn_actively(
    data: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    *,
    learning: Learning | None = None,
    labeller: str | Labeller = LABELLER,
    architecture: Architecture | None = None,
    training: TrainingSettings | None = None,
    retraining: TrainingSettings | None = None,
    test: str | os.PathLike[str] | None = None,
    seed: int = 0,
    device: str = "cpu",
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Train a committee, let it explore, label what it does not know, train it further, until it errs little enough.

    Each round trains the members from those of the round before, scales their deviations on validation frames, and runs
    Langevin dynamics of many walkers, which stop where the committee is lost. Of their frames, some are labelled that
    were taken at random: the error on these *fresh* frames, which nobody chose and no member has seen, decides whether
    to end, and they calibrate the committee anew. Of the uncertain frames, those are labelled that differ most from one
    another and from the training frames. Both kinds are learned in the next round; in the last one, only fresh frames
    are labelled.

    The folder receives ``model.simkit``, the calibrated committee of the last round, ``rounds.csv``,
    ``active_learning.json``, all labelled frames as ``labelled.xyz``, and a folder for each round. Called again, it
    continues where it was interrupted, within a round too.

    Args:
        data: labelled frames to begin with, twenty for example; isolated atoms in it set the zero of energies.
        folder: for results.
        learning: numbers of frames, rounds and walkers; target.
        labeller: see :func:`simkit.tasks.labellers.make_labeller`, or one of your own.
        architecture: of the members; MACE by default.
        training: of the first round.
        retraining: of the later rounds; as the first by default.
        test: labelled frames that only judge the committee of each round.
        seed: of every random choice.
        device: torch device.
        progress: where progress is shown.

    Returns:
        The content of ``active_learning.json``: the rows of the rounds, and whether the target was reached.

    Raises:
        SimkitError: settings that make no sense, a folder of another run, or walkers that give no usable frames.
        DataError: too few frames.
    """
    learning, progress = learning or Learning(), progress or Silent()
    learning.require_sense()
    architecture, training = architecture or MaceArchitecture(), training or TrainingSettings()
    method = labeller if isinstance(labeller, Labeller) else make_labeller(labeller, device=device)
    folder = Path(folder)
    identity = {
        "data": file_hash(data),
        "learning": asdict(learning),
        "labeller": method.provenance,
        "architecture": architecture.model_dump(mode="json"),
        "training": training.model_dump(mode="json"),
        "retraining": None if retraining is None else retraining.model_dump(mode="json"),
        "seed": seed,
    }
    _require_same(folder, identity)
    rows: list[dict[str, Any]] = []
    earlier: Round | None = None
    for index in range(learning.rounds + 1):
        one = Round(
            folder / f"round{index}", index, learning, architecture, (index and retraining) or training, earlier,
            method, derived_seed(seed, index), device, progress,
        )  # fmt: skip
        _prepare(one, data, learning, derived_seed(seed, index, 9))
        row = one.run()
        if test is not None:
            row = row | _errors_on(test, one, device)
        rows.append(row)
        progress.say(_sentence(row))
        earlier = one
        if _reached(row, learning):
            break
    assert earlier is not None
    return _finish(folder, earlier.folder, rows, learning, method)


def _prepare(one: Round, data: str | os.PathLike[str], learning: Learning, seed: int) -> None:
    """Training and validation frames of a round: all that are labelled."""
    if (one.folder / "valid.xyz").exists():
        return
    if one.earlier is None:
        training, validation, new = [], [], list(read_frames(data))
        alone = [atoms for atoms in new if len(atoms) == 1]
        new = [atoms for atoms in new if len(atoms) > 1]
        if len(new) < FEWEST:
            raise DataError(f"{data}: expected at least {FEWEST} labelled frames to begin with, found {len(new)}")
        training += alone
    else:
        one.earlier.label("chosen")
        before = one.earlier.folder
        training, validation = (list(read_frames(before / f"{name}.xyz")) for name in ("train", "valid"))
        files = [before / f"{name}.xyz" for name in ("fresh", "chosen")]
        new = [atoms for path in files if path.stat().st_size for atoms in read_frames(path)]
    order = np.random.default_rng(seed).permutation(len(new))
    least = 1 if validation else 2  # one frame alone cannot scale the committee
    kept = max(least, round(learning.validation * len(new))) if len(new) > least else 0
    for place, index in enumerate(order.tolist()):
        (validation if place < kept else training).append(_independent(new[index]) if place < kept else new[index])
    for name, frames in (("train", training), ("valid", validation)):
        with atomic_path(one.folder / f"{name}.xyz") as temporary:
            write_frames(temporary, frames)


def _independent(atoms: Atoms) -> Atoms:
    """Validation frames only scale the committee for its exploration: each counts by itself."""
    atoms.info.pop("group", None)
    atoms.info.pop("config_type", None)
    return atoms


def _errors_on(test: str | os.PathLike[str], one: Round, device: str) -> dict[str, Any]:
    path = one.folder / "test.json"
    if not path.exists():
        assess_file(one.folder / "judged" / "model.simkit", test, target=path, device=device)
    errors = json.loads(path.read_text(encoding="utf-8"))
    names = ("forces_rmse_mev_per_ang", "energy_rmse_mev_per_atom", "forces_z_rms")
    return {f"test_{name}": errors[name] for name in names if name in errors}


def _reached(row: dict[str, Any], learning: Learning) -> bool:
    return learning.target is not None and row["fresh_forces_rmse_mev_per_ang"] <= 1e3 * learning.target


def _sentence(row: dict[str, Any]) -> str:
    return (
        f"Round {row['round']}: trained on {row['training_frames']} frames; forces on fresh frames off by "
        f"{row['fresh_forces_rmse_mev_per_ang']:.1f} meV/Å (RMSE); {row['chosen_frames']} uncertain frames chosen"
    )


def _finish(
    folder: Path, last: Path, rows: Sequence[dict[str, Any]], learning: Learning, method: Labeller
) -> dict[str, Any]:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    lines = [",".join(columns) + "\n", *(csv_row([row.get(name, "") for name in columns]) for row in rows)]
    write_text(folder / "rounds.csv", "".join(lines))
    model = last / "judged" / "model.simkit"
    with atomic_path(folder / "model.simkit") as temporary:
        temporary.write_bytes(model.read_bytes())
    files = [last / f"{name}.xyz" for name in ("train", "valid", "fresh")]
    with atomic_path(folder / "labelled.xyz") as temporary:
        write_frames(temporary, [atoms for path in files for atoms in read_frames(path)])
    summary = {
        "status": "target reached" if _reached(rows[-1], learning) else "rounds done",
        "target_forces_rmse_mev_per_ang": None if learning.target is None else 1e3 * learning.target,
        "labels": sum(rows[-1][name] for name in ("training_frames", "validation_frames", "fresh_frames")),
        **{name: value for name, value in rows[-1].items() if name.startswith(("fresh_forces", "test_"))},
        "rounds": list(rows),
        "method": method.method,
        "program": method.program,
        "citations": [*method.citations, CITATION],
    }
    write_json(folder / "active_learning.json", summary)
    return summary


def _require_same(folder: Path, identity: dict[str, Any]) -> None:
    path = folder / "identity.json"
    present = json.loads(json.dumps(identity))
    if path.exists():
        require_same_run(folder, json.loads(path.read_text(encoding="utf-8")), present, changeable=("learning.rounds",))
    write_json(path, present)
