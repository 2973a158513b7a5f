"""Trajectories of molecular dynamics of several systems, as the runs write them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from ase import Atoms

from simkit.analysis.diffusion import diffusion
from simkit.analysis.trajectory import unwrapped
from simkit.dynamics import start
from simkit.dynamics.trajectory import TrajectoryFile
from simkit.errors import DataError
from simkit.system import System
from simkit.tasks.trajectories import read_trajectories
from simkit.units import DALTON

pytest.importorskip("h5py")


@pytest.fixture
def run(tmp_path):
    """Two systems that fly through their cells at constant momenta, a frame every 10 fs."""
    systems = System.from_ase(
        [
            Atoms("Ar2", [[0, 0, 0], [3, 3, 3]], cell=[6] * 3, pbc=True),
            Atoms("NeHe2", np.eye(3), cell=[5] * 3, pbc=True),
        ]
    )
    state = start(systems, 300.0, generator=torch.Generator().manual_seed(0))
    energy = torch.zeros(2)
    forces = torch.zeros_like(systems.positions)
    file = TrajectoryFile(tmp_path / "run.h5", 1, precision="float64")
    file.begin(replace(state, energy=energy, forces=forces), None)
    for index in range(12):
        moved = state.moved(systems.positions + 10.0 * index * 10 * state.momenta / state.masses[:, None])
        file.observe(index, replace(moved, energy=energy, forces=forces, time=state.time + 10.0 * index), [True, True])
    file.close()
    return tmp_path / "run.h5", state


def test_each_system_is_a_trajectory(run):
    path, state = run
    first, second = read_trajectories([path], skip=2, every=2)
    assert (first.n_frames, first.spacing, first.numbers.tolist()) == (5, 20.0, [18, 18])
    assert second.numbers.tolist() == [10, 2, 2]
    speeds = (state.momenta / state.masses[:, None]).numpy()
    np.testing.assert_allclose(second.velocities[3], speeds[2:], rtol=1e-9)
    np.testing.assert_allclose(second.masses * DALTON, state.masses[2:])
    # positions are taken as they follow the atoms, even if these cross more than half of the cell between frames
    np.testing.assert_allclose(np.diff(unwrapped(second), axis=0)[0], 200 * speeds[2:], rtol=1e-9)
    (only,) = read_trajectories([path], system=1)
    found = diffusion([only], blocks=2, remove_drift=False)
    assert found.exponent == pytest.approx(2, abs=1e-6)
    with pytest.raises(DataError, match="expected a system from 0 to 1, found 2"):
        read_trajectories([path], system=2)
    with pytest.raises(DataError, match="more than 12 frames, found 12: skip fewer"):
        read_trajectories([path], skip=12)
