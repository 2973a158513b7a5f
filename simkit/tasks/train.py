"""Training of a potential on labelled structures."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ase.data import atomic_numbers

from simkit.datasets.base import Dataset, Frame
from simkit.datasets.combine import Concatenation
from simkit.datasets.extxyz import write_extxyz
from simkit.datasets.splits import hashes
from simkit.datasets.statistics import Statistics, compute_statistics
from simkit.errors import DataError
from simkit.files import file_hash, write_json
from simkit.potential import Potential, symbols
from simkit.potentials.model_file import save_model
from simkit.progress import Progress, Silent
from simkit.tasks.data import Parts, open_data, open_parts, without_other_labels
from simkit.training.architectures import Architecture, MaceArchitecture, Normalisation, Pretrained
from simkit.training.fine_tuning import pretrained_potential, with_replay
from simkit.training.inspection import require_labels, say_what_is_ignored, say_what_is_wrong
from simkit.training.outcome import TrainingOutcome
from simkit.training.preparation import new_potential
from simkit.training.settings import TrainingSettings
from simkit.training.sources import ReadingSettings, ReplaySettings, SplitSettings
from simkit.training.trainer import Trainer


def train_files(
    data: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    *,
    architecture: Architecture | None = None,
    training: TrainingSettings | None = None,
    validation: str | os.PathLike[str] | None = None,
    test: str | os.PathLike[str] | None = None,
    reading: ReadingSettings | None = None,
    split: SplitSettings | None = None,
    normalisation: Normalisation | None = None,
    reference_energies: Mapping[str, float] | None = None,
    replay: ReplaySettings | None = None,
    seed: int = 0,
    device: str = "cpu",
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Train a potential; the folder receives ``model.simkit``, ``log.csv``, ``split.json``, the
    ``validation.xyz`` and, if there are test frames, ``test.xyz``, and the trainer's checkpoints.

    The same call continues an interrupted training. Reference energies are those given, else those of isolated atoms
    in the data, else the least-squares fit to the compositions.

    Args:
        data: labelled frames, in any format of :func:`simkit.datasets.files.open_dataset`.
        folder: for results and checkpoints.
        architecture: what to train; MACE by default.
        training: loss, optimiser, schedules, budgets.
        validation: frames that choose the best epoch; if absent, they are split from the data.
        test: frames that only the final errors are computed on; if absent, ``split.test`` of the data.
        reading: keys, units and signs of these three files.
        split: how frames are split from the data.
        normalisation: scale and shift of a new potential.
        reference_energies: energy of isolated atoms in eV, by chemical symbol.
        replay: other frames to be mixed with the training frames.
        seed: of the split, the initial weights and the order of the frames.
        device: ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
        progress: where progress is shown.

    Returns:
        Errors such as ``validation_forces_mae_mev_per_ang``, and how the training ended.

    Raises:
        DataError: the data cannot be read, split or used.
        SimkitError: settings that do not fit, or a loss that became NaN.
        Interrupted: Ctrl-C, after saving.
    """
    folder, progress = Path(folder), progress or Silent()
    architecture, training = architecture or MaceArchitecture(), training or TrainingSettings()
    normalisation, split, reading = (
        normalisation or Normalisation(),
        split or SplitSettings(),
        reading or ReadingSettings(),
    )
    _require_sense(architecture, normalisation, reference_energies, replay)
    parts = open_parts(data, validation, test, split, seed, reading)
    given = {_number(symbol): energy for symbol, energy in (reference_energies or {}).items()}
    facts = _statistics(parts, architecture, given, progress)
    if int(os.environ.get("RANK", "0")) == 0:
        say_what_is_wrong(parts.training, {"validation": parts.validation, "test": parts.test}, progress)
    potential = _potential(architecture, facts, normalisation, parts, seed, device, progress)
    if int(os.environ.get("RANK", "0")) == 0:
        say_what_is_ignored(potential, parts.training, progress)
    frames = parts.training
    origin = _origin(parts, architecture, normalisation, given) | {
        "split": split.model_dump(mode="json"),
        "reading": reading.model_dump(mode="json"),
        "validation": {} if validation is None else hashes(parts.validation),
    }
    if replay is not None:
        replayed = open_data(replay.data, replay.reading)
        frames = with_replay(frames, replayed, replay.head, replay.weight, potential)
        origin["replay"] = replay.model_dump(mode="json") | {"data": hashes(replayed)}
    trainer = Trainer(
        potential, frames, parts.validation, training, folder, seed=seed, origin=origin, device=device,
        progress=progress,
    )  # fmt: skip
    outcome = trainer.fit()
    errors = {f"validation_{name}": value for name, value in trainer.assess(parts.validation).items()}
    if parts.test is not None:
        errors |= {f"test_{name}": value for name, value in trainer.assess(parts.test).items()}
    summary = _summary(outcome, potential, facts, parts, errors)
    if int(os.environ.get("RANK", "0")) == 0:
        settings = {"architecture": architecture.model_dump(mode="json"), "training": training.model_dump(mode="json")}
        settings["reading"] = reading.model_dump(mode="json", exclude_defaults=True)
        facts_of_run = {**settings, "seed": seed, "statistics": facts.to_dict(), "training_data_sha256": origin["data"]}
        _write(folder, potential, parts, summary, facts_of_run)
    return summary | {"citations": list(potential.capabilities.citations)}


def _require_sense(
    architecture: Architecture,
    normalisation: Normalisation,
    reference_energies: Mapping[str, float] | None,
    replay: ReplaySettings | None,
) -> None:
    if isinstance(architecture, Pretrained) and architecture.head and replay is not None and replay.head is not None:
        raise DataError(
            "architecture.head fixes every frame to one level of theory, so replay.head has no effect: remove one "
            "(without architecture.head the data train the model's default head)"
        )
    if isinstance(architecture, Pretrained) and (reference_energies or normalisation != Normalisation()):
        raise DataError(
            "reference_energies and normalisation belong to new potentials, a pretrained one has its own: remove them "
            "(architecture.reference_energies: refit adapts it to another level of theory)"
        )


def _origin(
    parts: Parts, architecture: Architecture, normalisation: Normalisation, reference_energies: dict[int, float]
) -> dict[str, Any]:
    """What the training starts from, which must be the same when it continues; files by their content."""
    described = architecture.model_dump(mode="json")
    if isinstance(architecture, Pretrained):
        described["model"] = file_hash(architecture.model)
    return {
        "data": hashes(parts.training),
        "architecture": described,
        "normalisation": normalisation.model_dump(mode="json"),
        "reference_energies": {str(number): energy for number, energy in reference_energies.items()},
    }


def _number(symbol: str) -> int:
    if symbol not in atomic_numbers or symbol == "X":
        raise DataError(f"reference_energies: expected chemical symbols such as H, found '{symbol}'")
    return atomic_numbers[symbol]


def _statistics(parts: Parts, architecture: Architecture, given: dict[int, float], progress: Progress) -> Statistics:
    cutoff = None if isinstance(architecture, Pretrained) else architecture.cutoff
    frames = Concatenation([parts.training, parts.isolated])
    facts = compute_statistics(frames, cutoff, reference_energies=given, progress=progress)
    require_labels(facts, cutoff)
    if facts.undetermined and not isinstance(architecture, Pretrained):
        progress.say(
            f"note: the compositions do not determine the E0 of {symbols(facts.undetermined)}. Energies "
            "of other compositions will mean little: add frames of isolated atoms, or give reference_energies"
        )
    return facts


def _potential(
    architecture: Architecture,
    facts: Statistics,
    normalisation: Normalisation,
    parts: Parts,
    seed: int,
    device: str,
    progress: Progress,
) -> Potential:
    if not isinstance(architecture, Pretrained):
        return new_potential(architecture, facts, normalisation, seed)
    elements = [number for number in facts.elements if facts.element_counts[number]]
    path = Path(architecture.model)
    return pretrained_potential(
        architecture, path, elements, parts.training, seed=seed, device=device, progress=progress
    )


def _summary(
    outcome: TrainingOutcome, potential: Potential, facts: Statistics, parts: Parts, errors: dict[str, float]
) -> dict[str, Any]:
    return {
        "ended_by": outcome.reason,
        "epochs": outcome.epochs,
        "best_epoch": outcome.best_epoch,
        "hours": round(outcome.hours, 4),
        "training_frames": len(parts.training),
        "validation_frames": len(parts.validation),
        "test_frames": 0 if parts.test is None else len(parts.test),
        "elements": symbols(potential.capabilities.elements),
        "parameters": sum(parameter.numel() for parameter in potential.parameters()),
        "reference_source": facts.to_dict()["reference_source"],
        **errors,
    }


def _write(folder: Path, potential: Potential, parts: Parts, summary: dict[str, Any], settings: dict[str, Any]) -> None:
    write_json(folder / "split.json", parts.record)
    write_extxyz(folder / "validation.xyz", _frames(parts.validation))
    if parts.test is not None:
        write_extxyz(folder / "test.xyz", _frames(parts.test))
    versions = {name: version(name) for name in ("torch", "lightning-fabric", "e3nn", "numpy")}
    metadata = {
        "metrics": {name: value for name, value in summary.items() if "_mev_" in name},
        **settings,
        "training_summary": summary,
        "versions": {"python": platform.python_version(), **versions},
    }
    save_model(folder / "model.simkit", potential, metadata=metadata)


def _frames(dataset: Dataset) -> Iterator[Frame]:
    return (without_other_labels(dataset[index]) for index in range(len(dataset)))
