"""Trajectory files, opened for analysis."""

from __future__ import annotations

import os
from collections.abc import Sequence

from simkit.analysis.trajectory import Trajectory, from_dynamics, from_frames
from simkit.datasets.files import open_dataset
from simkit.datasets.trajectory import TrajectoryDataset
from simkit.errors import DataError

Sources = Sequence[str | os.PathLike[str]]


def read_trajectories(
    sources: Sources, *, system: int | None = None, skip: int = 0, every: int = 1, spacing: float | None = None
) -> list[Trajectory]:
    """Trajectories from files of any format that :func:`simkit.datasets.files.open_dataset` opens.

    Args:
        sources: one file for each run; a file of dynamics of several systems is as many runs.
        system: only this one of such a file.
        skip: frames left out at the start of each run, where it is not yet in equilibrium.
        every: take each of so many frames.
        spacing: time between the frames of the file in fs; None to take it from the times that they carry.

    Raises:
        DataError: no files, no such system, no frames left, or frames that are no trajectory.
    """
    if not sources:
        raise DataError("expected at least one trajectory file, found none")
    between = None if spacing is None else spacing * every
    found = []
    for source in sources:
        dataset = open_dataset(source)
        if isinstance(dataset, TrajectoryDataset):
            for index in _chosen(dataset, system):
                found.append(from_dynamics(dataset, index, skip=skip, every=every, spacing=between))
            continue
        if system is not None:
            raise DataError(f"{source}: it holds frames of one system only; leave out system")
        frames = [dataset[index] for index in range(skip, len(dataset), every)]
        if not frames:
            raise DataError(f"{source}: expected more than {skip} frames, found {len(dataset)}: skip fewer")
        found.append(from_frames(frames, spacing=between, source=str(source)))
    return found


def _chosen(dataset: TrajectoryDataset, system: int | None) -> range:
    if system is None:
        return range(dataset.n_systems)
    if not 0 <= system < dataset.n_systems:
        raise DataError(f"{dataset.path}: expected a system from 0 to {dataset.n_systems - 1}, found {system}")
    return range(system, system + 1)
