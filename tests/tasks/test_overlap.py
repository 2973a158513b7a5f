"""Frames that parts of data share."""

import numpy as np
from ase.build import molecule

from simkit.datasets.base import Frame, Labels
from simkit.datasets.combine import MemoryDataset
from simkit.system import System
from simkit.tasks.overlap import shared_frames


def test_frames_of_two_parts_are_found_whatever_their_position_and_digits():
    random = np.random.default_rng(1)

    def rattled(seed):
        atoms = molecule("CH3CH2OH")
        atoms.rattle(0.05, seed=seed)
        return atoms

    def dataset(*frames):
        return MemoryDataset(Frame(System.from_ase(atoms), Labels()) for atoms in frames)

    turned = rattled(3)
    turned.rotate(40, (1, 2, 3))
    turned.positions += random.normal(size=3)
    turned.positions[:] = turned.positions.round(6)
    turned = turned[random.permutation(len(turned))]
    training, test = dataset(*map(rattled, range(6))), dataset(rattled(20))
    held_out = dataset(rattled(10), turned, turned, rattled(0), rattled(11))
    parts = {"training": training, "test": test, "calibration": held_out}
    assert shared_frames(parts, "calibration") == {"training": 3}
    assert shared_frames(parts, "test") == {}
