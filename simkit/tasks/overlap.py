"""Frames that two parts of data share, which makes errors and calibrations too good."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from simkit.datasets.audit.duplicates import CUTOFF, describe, find_duplicates
from simkit.datasets.base import Dataset
from simkit.datasets.combine import Concatenation, Subset
from simkit.graph import make_graph
from simkit.neighbours import build_neighbours

MOST_FRAMES = 2000
"""Frames of each part that are compared, evenly spaced."""


def shared_frames(parts: Mapping[str, Dataset], part: str) -> dict[str, int]:
    """How many frames of one part are structures of each of the others too; parts that share none are left out.

    Structures are compared by interatomic distances, so that position, orientation, order of atoms and the digits of a
    file do not matter.

    Args:
        parts: datasets by name.
        part: the one whose frames are counted.
    """
    thinned = {name: _thinned(dataset) for name, dataset in parts.items()}
    owners = np.repeat(np.array(list(thinned)), [len(dataset) for dataset in thinned.values()])
    frames = Concatenation(list(thinned.values()))
    compositions, descriptors = [], []
    for index in range(len(frames)):
        frame = frames[index]
        compositions.append(tuple(sorted(frame.system.numbers.tolist())))
        descriptors.append(describe(frame, make_graph(frame.system, build_neighbours(frame.system, CUTOFF))))
    classes = np.arange(len(owners))
    for pair in find_duplicates(frames, compositions, np.array(descriptors)):
        classes[classes == classes[pair.second]] = classes[pair.first]
    own = classes[owners == part]
    counts = {name: int(np.isin(own, classes[owners == name]).sum()) for name in parts if name != part}
    return {name: count for name, count in counts.items() if count}


def _thinned(dataset: Dataset) -> Dataset:
    if len(dataset) <= MOST_FRAMES:
        return dataset
    return Subset(dataset, np.linspace(0, len(dataset) - 1, MOST_FRAMES).round().astype(np.int64))
