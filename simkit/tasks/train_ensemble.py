"""Training of several potentials on the same data, which together know where they may be wrong."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from simkit.datasets.base import Dataset
from simkit.datasets.combine import Subset
from simkit.datasets.statistics import Statistics
from simkit.errors import DataError
from simkit.potential import Potential
from simkit.progress import Progress, Silent
from simkit.tasks.assess import summarise
from simkit.tasks.data import Parts, open_parts
from simkit.tasks.parity import compare
from simkit.tasks.settings import BATCH_ATOMS
from simkit.tasks.training_run import (
    Plan,
    facts_of_run,
    initial_potential,
    inspect,
    origin_of,
    summary_of,
    train_parts,
    write_results,
)
from simkit.training.architectures import Architecture, MaceArchitecture, Normalisation
from simkit.training.committee_objective import CommitteeObjective, settings_of_members
from simkit.training.settings import TrainingSettings
from simkit.training.sources import ReadingSettings, SplitSettings
from simkit.training.trainer import Trainer
from simkit.training.uncertainty import EnsembleTraining, UncertaintyTraining
from simkit.uncertainty.ensemble import Ensemble
from simkit.uncertainty.stacked import StackedEnsemble


def train_ensemble(
    data: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    *,
    ensemble: EnsembleTraining | None = None,
    architecture: Architecture | None = None,
    training: TrainingSettings | None = None,
    validation: str | os.PathLike[str] | None = None,
    test: str | os.PathLike[str] | None = None,
    reading: ReadingSettings | None = None,
    split: SplitSettings | None = None,
    normalisation: Normalisation | None = None,
    reference_energies: Mapping[str, float] | None = None,
    uncertainty: UncertaintyTraining | None = None,
    seed: int = 0,
    device: str = "cpu",
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Train the members of an ensemble; the folder receives ``model.simkit``, ``split.json``, ``validation.xyz`` and,
    if there are test frames, ``test.xyz``, and for each member a folder ``member-0``, ``member-1``, ... as of
    :func:`simkit.tasks.train.train_files`; members that are trained together share the folder ``together``.

    The members share validation and test frames, reference energies, scale and shift. Each has initial weights and an
    order of the frames of its own. The same call continues an interrupted training.

    Args:
        data: labelled frames, in any format of :func:`simkit.datasets.files.open_dataset`.
        folder: for results and checkpoints.
        ensemble: number of members, and what differs between them.
        architecture: what to train; MACE by default.
        training: loss, optimiser, schedules, budgets of each member.
        validation: frames that choose the best epochs; if absent, they are split from the data.
        test: frames that only the final errors are computed on; if absent, ``split.test`` of the data.
        reading: keys, units and signs of these three files.
        split: how frames are split from the data.
        normalisation: scale and shift of new potentials.
        reference_energies: energy of isolated atoms in eV, by chemical symbol.
        uncertainty: make each member predict its own errors too.
        seed: of the split; the members' seeds are derived from it.
        device: ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
        progress: where progress is shown.

    Returns:
        Errors of the mean prediction such as ``validation_forces_mae_mev_per_ang``, the predicted deviations and
        ``validation_forces_z_rms`` (errors in units of them), and the summaries of the members' trainings.

    Raises:
        DataError: the data cannot be read, split or used.
        SimkitError: settings that do not fit, or a loss that became NaN.
        Interrupted: Ctrl-C, after saving.
    """
    folder, progress = Path(folder), progress or Silent()
    ensemble = ensemble or EnsembleTraining()
    ensemble.require_sense(uncertainty)
    plan = Plan(
        architecture=architecture or MaceArchitecture(),
        training=training or TrainingSettings(),
        reading=reading or ReadingSettings(),
        split=split or SplitSettings(),
        normalisation=normalisation or Normalisation(),
        reference_energies=reference_energies or {},
        uncertainty=uncertainty,
    )
    plan.require_sense()
    parts = open_parts(data, validation, test, plan.split, seed, plan.reading)
    facts = inspect(parts, plan, progress)
    train = _together if ensemble.together else _apart
    members, summaries = train(parts, folder, plan, ensemble, facts, seed, device, progress)
    committee = Ensemble(*members).eval()
    summary = _errors(committee, parts, progress) | {"members": summaries}
    if int(os.environ.get("RANK", "0")) == 0:
        run = facts_of_run(plan, facts, seed, origin_of(plan, parts))
        run["ensemble"] = ensemble.model_dump(mode="json")
        write_results(folder, committee, parts, summary, run)
    return summary | {"citations": list(committee.capabilities.citations)}


def member_seed(seed: int, member: int) -> int:
    """The seed of a member; no two of ensembles with other seeds agree."""
    return int(np.random.SeedSequence([seed, member]).generate_state(1)[0])


def member_frames(parts: Parts, ensemble: EnsembleTraining, member: int, seed: int) -> Parts:
    """The frames that a member is trained on: all, all but one of as many folds as members, or a bootstrap sample.

    Frames of one group (a trajectory) are in one fold, and are drawn together.
    """
    if ensemble.vary == "weights":
        return parts
    groups = _groups(parts.training)
    names = sorted(groups)
    if len(names) < ensemble.members:
        raise DataError(
            f"expected training frames of at least {ensemble.members} groups for as many members, found "
            f"{len(names)}: lower members, or set ensemble.vary: weights"
        )
    if ensemble.vary == "folds":
        order = np.random.default_rng(seed).permutation(len(names))
        kept = np.delete(order, slice(member, None, ensemble.members))
    else:
        kept = np.random.default_rng([seed, member]).integers(len(names), size=len(names))
    indices = sorted(index for place in kept for index in groups[names[place]])
    chosen = [int(parts.record["train"][index]) for index in indices]
    return replace(parts, training=Subset(parts.training, indices), record=parts.record | {"train": chosen})


def _groups(frames: Dataset) -> dict[str, list[int]]:
    """Indices of the frames of each group; a frame without group is one of its own."""
    groups: dict[str, list[int]] = {}
    for index, frame in enumerate(frames):
        groups.setdefault(frame.group or f"frame {index:09}", []).append(index)
    return groups


def _apart(
    parts: Parts,
    folder: Path,
    plan: Plan,
    ensemble: EnsembleTraining,
    facts: Statistics,
    seed: int,
    device: str,
    progress: Progress,
) -> tuple[list[Potential], list[dict[str, Any]]]:
    """One training after the other, each in a folder of its own."""
    members, summaries = [], []
    for member in range(ensemble.members):
        own, place = member_frames(parts, ensemble, member, seed), folder / f"member-{member}"
        progress.say(f"member {member + 1} of {ensemble.members}")
        potential, summary = train_parts(
            own, place, plan, progress=progress, facts=facts, seed=member_seed(seed, member), device=device
        )
        del summary["citations"]
        members.append(potential)
        summaries.append(summary)
    return members, summaries


def _together(
    parts: Parts,
    folder: Path,
    plan: Plan,
    ensemble: EnsembleTraining,
    facts: Statistics,
    seed: int,
    device: str,
    progress: Progress,
) -> tuple[list[Potential], list[dict[str, Any]]]:
    """All members in one training."""
    seeds = [member_seed(seed, member) for member in range(ensemble.members)]
    stack = StackedEnsemble(*[initial_potential(plan, parts, facts, one, device, progress) for one in seeds])
    trainer = Trainer(
        stack, parts.training, parts.validation, settings_of_members(plan.training, stack), folder / "together",
        seed=seed, origin=origin_of(plan, parts) | {"ensemble": ensemble.model_dump(mode="json")}, device=device,
        progress=progress, objective=CommitteeObjective,
    )  # fmt: skip
    summary = summary_of(trainer.fit(), trainer, facts, parts)
    return list(stack.unstacked().potentials), [summary]


def _errors(committee: Ensemble, parts: Parts, progress: Progress) -> dict[str, Any]:
    """Errors of the mean prediction, and the predicted deviations."""
    found: dict[str, Any] = {}
    for name, frames in (("validation", parts.validation), ("test", parts.test)):
        if frames is None:
            continue
        errors = summarise(compare(committee, frames, BATCH_ATOMS, progress))
        found |= {f"{name}_{key}": value for key, value in errors.items() if isinstance(value, float)}
    return found
