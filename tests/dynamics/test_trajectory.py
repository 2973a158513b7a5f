"""Trajectory files: what is written is read, after kills too."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.build import bulk
from ase.constraints import FixAtoms

from simkit.datasets.files import open_dataset
from simkit.datasets.trajectory import TrajectoryDataset
from simkit.dynamics.force_field import ForceField
from simkit.dynamics.log import LogFile
from simkit.dynamics.state import MDState, start
from simkit.dynamics.trajectory import TrajectoryFile
from simkit.dynamics.verlet import velocity_verlet
from simkit.errors import DataError, SimkitError
from simkit.evaluation import evaluate
from simkit.flows import Checkpoint, Every, Observer, integrate
from simkit.potentials.lennard_jones import LennardJones
from simkit.system import System

ARGON = LennardJones(epsilon=0.0104, sigma=3.4, cutoff=6.0)


def two_systems() -> MDState:
    """A crystal with a fixed atom and isotopes, and a dimer without a cell."""
    crystal = bulk("Ar", "fcc", a=5.3, cubic=True)
    crystal.set_constraint(FixAtoms([1]))
    crystal.info["charge"] = 1.0
    dimer = Atoms("Ar2", [[0, 0, 0], [0, 0, 3.9]])
    system = System.from_ase([crystal, dimer])
    masses = torch.tensor([36.0, 38.0, 39.962, 39.962, 39.948, 39.948], dtype=torch.float64)
    state = start(system, [20.0, 10.0], generator=torch.Generator().manual_seed(1), masses=masses)
    return ForceField(ARGON, virial=True)(state)


def run(path: Path, steps: int = 23, **options: object) -> list[MDState]:
    seen: list[MDState] = []
    integrate(
        velocity_verlet(ForceField(ARGON, virial=True)),
        two_systems(),
        torch.tensor([2.0, 4.0]),
        steps,
        observers=[TrajectoryFile(path, 2, **options), Every(2, lambda _, state: seen.append(state))],  # type: ignore[arg-type]
    )
    return seen


def test_frames_come_back_system_by_system(tmp_path: Path) -> None:
    states = run(tmp_path / "a.h5", precision="float64", frames_per_chunk=5)
    frames = open_dataset(tmp_path / "a.h5")
    assert isinstance(frames, TrajectoryDataset)
    assert (len(frames), frames.n_systems) == (24, 2)
    assert frames.atom_counts().tolist() == [4] * 12 + [2] * 12
    for system in (0, 1):
        for state, index in zip(states, frames.frames_of(system), strict=True):
            frame, one = frames[index], state.system.split()[system]
            torch.testing.assert_close(frame.system.positions, one.positions, rtol=0, atol=0)
            assert frame.system.pbc.tolist() == one.pbc.tolist()
            assert frame.system.fixed is not None
            assert frame.system.fixed.tolist() == [False, system == 0] + [False] * (one.n_atoms - 2)
            prediction = evaluate(ARGON, frame.system, outputs=("energy", "forces", "stress"))
            assert frame.labels.energy is not None
            torch.testing.assert_close(frame.labels.energy, prediction.energy, rtol=0, atol=1e-12)
            torch.testing.assert_close(frame.labels.forces, prediction.forces, rtol=0, atol=1e-12)
            assert (frame.labels.stress is None) == (system == 1)
            if frame.labels.stress is not None:
                torch.testing.assert_close(frame.labels.stress, prediction.stress, rtol=0, atol=1e-12)
            assert frame.info["time_fs"] == float(state.time[system])
            assert frame.info["system"] == system
            assert frame.group == f"system {system}"


def test_ase_gets_momenta_masses_and_results(tmp_path: Path) -> None:
    states = run(tmp_path / "a.h5", precision="float64")
    frames = TrajectoryDataset(tmp_path / "a.h5")
    atoms = list(frames.atoms())
    last = states[-1]
    assert atoms[11].get_kinetic_energy() == pytest.approx(float(last.kinetic_energy()[0]), rel=1e-7)
    assert atoms[11].get_masses()[:2].tolist() == pytest.approx([36, 38])
    assert "masses" not in atoms[-1].arrays
    assert atoms[11].constraints[0].index.tolist() == [1]
    assert atoms[11].info["charge"] == 1.0
    velocities = frames.array("momenta", 1) / 39.948
    np.testing.assert_allclose(velocities[-1] / units.fs, atoms[-1].get_velocities(), rtol=1e-4)
    np.testing.assert_allclose(frames.array("time", 1), 8.0 * np.arange(12))
    np.testing.assert_array_equal(frames.array("positions", 1)[3], atoms[15].positions)
    with pytest.raises(DataError, match=r"expected one of time, energy, .* found 'heat'"):
        frames.array("heat")
    for system in (-1, 2):
        with pytest.raises(DataError, match=f"expected a system from 0 to 1, found {system}"):
            frames.array("positions", system)
        with pytest.raises(DataError, match=f"expected a system from 0 to 1, found {system}"):
            frames.frames_of(system)


def test_float32_and_left_out_arrays(tmp_path: Path) -> None:
    states = run(tmp_path / "a.h5", momenta=False, forces=False)
    frame = TrajectoryDataset(tmp_path / "a.h5")[11]
    np.testing.assert_allclose(frame.system.positions, states[-1].system.positions[:4], atol=1e-6)
    assert "momenta" not in frame.arrays
    assert frame.labels.forces is None
    with h5py.File(tmp_path / "a.h5") as file:
        assert (file["positions"].dtype, file["positions"].attrs["unit"]) == (np.dtype("f4"), "Å")


def test_systems_that_have_stopped_have_no_more_frames(tmp_path: Path) -> None:
    state = two_systems()
    observer = TrajectoryFile(tmp_path / "a.h5", 1)
    observer.begin(state, None)
    for step in range(4):
        observer.observe(step, state, [step < 2, True])
    observer.close()
    frames = TrajectoryDataset(tmp_path / "a.h5")
    assert [len(frames.frames_of(system)) for system in (0, 1)] == [2, 4]
    assert [frame.info["step"] for frame in frames] == [0, 1, 0, 1, 2, 3]


def test_a_growing_file_can_be_read(tmp_path: Path) -> None:
    observer = TrajectoryFile(tmp_path / "a.h5", 1, frames_per_chunk=3)
    observer.begin(two_systems(), None)
    for step in range(7):
        observer.observe(step, two_systems(), [True, True])
    code = f"from simkit.datasets.files import open_dataset; print(len(open_dataset({str(tmp_path / 'a.h5')!r})))"
    seen = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    observer.close()
    assert int(seen.stdout) == 12
    assert len(TrajectoryDataset(tmp_path / "a.h5")) == 14


def test_files_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    run(tmp_path / "a.h5", steps=4)
    with pytest.raises(SimkitError, match="expected at least 9 frames, as at the last checkpoint, found 3"):
        TrajectoryFile(tmp_path / "a.h5", 2).begin(two_systems(), 9)
    (tmp_path / "b.h5").write_bytes((tmp_path / "a.h5").read_bytes()[:3000])
    with pytest.raises(SimkitError, match="found a file that cannot be read"):
        TrajectoryFile(tmp_path / "b.h5", 2).begin(two_systems(), 1)
    with pytest.raises(DataError, match="damaged or truncated"):
        open_dataset(tmp_path / "b.h5")


CHILD = """
import sys
from pathlib import Path
from tests.dynamics.test_trajectory import restartable
restartable(Path(sys.argv[1]))
"""


def restartable(folder: Path, *extra: Observer) -> MDState:
    """Langevin dynamics of two systems with all that a run writes; what it ends with."""
    from simkit.dynamics.langevin import langevin

    generator = torch.Generator().manual_seed(5)
    forces = ForceField(ARGON, virial=True, skin=0.3)
    result = integrate(
        langevin(forces, 60.0, 0.02, generator),
        two_systems(),
        torch.tensor([4.0, 2.0]),
        160,
        observers=[LogFile(folder / "log.csv", 3), TrajectoryFile(folder / "a.h5", 2), *extra],
        checkpoint=Checkpoint(folder / "checkpoint", every=20),
        generators=[generator],
    )
    return result.state


def test_a_killed_run_continues_to_the_last_bit(tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    (tmp_path / "killed").mkdir()
    whole = restartable(tmp_path / "whole")
    checkpoint, first_written = tmp_path / "killed" / "checkpoint", 0
    child = subprocess.Popen(
        [sys.executable, "-P", "-c", CHILD, str(tmp_path / "killed")],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    begun = time.monotonic()
    while not checkpoint.exists() or checkpoint.stat().st_mtime_ns == first_written:
        if checkpoint.exists() and not first_written:
            first_written = checkpoint.stat().st_mtime_ns
        assert child.poll() is None
        assert time.monotonic() - begun < 120
        time.sleep(0.001)
    time.sleep(0.02)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    steps: list[int] = []
    killed = restartable(tmp_path / "killed", Every(1, lambda step, _: steps.append(step)))
    assert 0 < steps[0] < 160
    for name in ("momenta", "time", "heat", "energy", "forces", "virial"):
        torch.testing.assert_close(getattr(killed, name), getattr(whole, name), rtol=0, atol=0)
    torch.testing.assert_close(killed.system.positions, whole.system.positions, rtol=0, atol=0)
    logs = [(tmp_path / name / "log.csv").read_bytes() for name in ("whole", "killed")]
    assert logs[0] == logs[1]
    with h5py.File(tmp_path / "whole" / "a.h5") as one, h5py.File(tmp_path / "killed" / "a.h5") as two:
        assert list(one) == list(two)
        for name in one:
            np.testing.assert_array_equal(one[name], two[name])
