"""Trajectory files, opened for analysis."""

from __future__ import annotations

import os
from collections.abc import Sequence

from simkit.analysis.trajectory import Trajectory, from_frames
from simkit.datasets.files import open_dataset
from simkit.errors import DataError

Sources = Sequence[str | os.PathLike[str]]


def read_trajectories(
    sources: Sources, *, skip: int = 0, every: int = 1, spacing: float | None = None
) -> list[Trajectory]:
    """Trajectories from files of any format that :func:`simkit.datasets.files.open_dataset` opens, one from each.

    Args:
        sources: one file for each run.
        skip: frames left out at the start of each run, where it is not yet in equilibrium.
        every: take each of so many frames.
        spacing: time between the frames of the file in fs; None to take it from the times that they carry.

    Raises:
        DataError: no files, no frames left, or frames that are no trajectory.
    """
    if not sources:
        raise DataError("expected at least one trajectory file, found none")
    found = []
    for source in sources:
        dataset = open_dataset(source)
        frames = [dataset[index] for index in range(skip, len(dataset), every)]
        if not frames:
            raise DataError(f"{source}: expected more than {skip} frames, found {len(dataset)}: skip fewer")
        between = None if spacing is None else spacing * every
        found.append(from_frames(frames, spacing=between, source=str(source)))
    return found
