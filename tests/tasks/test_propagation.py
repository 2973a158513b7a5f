"""Dynamics into a folder: what is written, continuation, systems that stop, settings of batches."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.calculators.calculator import CalculationFailed, Calculator, all_changes
from ase.calculators.emt import EMT
from ase.calculators.harmonic import SpringCalculator
from ase.constraints import FixAtoms
from ase.io import read, write

from simkit.csv_tables import read_table
from simkit.dynamics import CalculatorForces
from simkit.errors import SimkitError
from simkit.progress import Silent
from simkit.tasks.dynamics import run_md
from simkit.tasks.frames import count_frames, read_frame, read_frames
from simkit.tasks.md_log import linear_drift, of_system
from simkit.tasks.propagation import propagate
from simkit.tasks.settings import Dynamics


def copper() -> Atoms:
    return bulk("Cu", cubic=True).repeat((2, 1, 1))


def run(folder: Path, atoms: Atoms | None = None, calculator: Any = None, progress: Any = None, **settings: Any) -> Any:
    atoms = atoms or copper()
    forces = CalculatorForces(calculator or EMT(), [atoms], virial=bool(atoms.pbc.all()))
    return propagate([atoms], forces, folder, Dynamics(**settings), identity={"test": 1}, progress=progress or Silent())


def assert_same(one: Path, two: Path) -> None:
    """The runs of two folders are equal to the last bit."""
    for name in ("log.csv", "final.xyz"):
        assert (one / name).read_bytes() == (two / name).read_bytes()
    with h5py.File(one / "trajectory.h5") as a, h5py.File(two / "trajectory.h5") as b:
        assert list(a) == list(b)
        for name in a:
            np.testing.assert_array_equal(a[name], b[name])


def test_verlet_conserves_energy_and_its_error_falls_with_the_square_of_the_time_step(tmp_path: Path) -> None:
    fluctuations = []
    for timestep, steps in ((4.0, 100), (2.0, 200)):
        folder = tmp_path / str(timestep)
        summary = run(folder, ensemble="nve", timestep=timestep, steps=steps, temperature=600.0, log_every=1)
        table = read_table(folder / "log.csv")
        np.testing.assert_allclose(table["total_ev"], table["potential_ev"] + table["kinetic_ev"], atol=1e-12)
        np.testing.assert_allclose(table["total_ev"], table["conserved_ev"], atol=1e-12)
        assert summary["time_fs"] == 400.0
        fluctuations.append(summary["energy_fluctuation_mev_per_atom"])
    assert 3.0 < fluctuations[0] / fluctuations[1] < 5.0


@pytest.mark.parametrize("ensemble", ["langevin", "bussi", "nose_hoover"])
def test_an_interrupted_run_continues_with_the_same_bits(
    tmp_path: Path, ensemble: str, stop_after: Any, interrupted: Any
) -> None:
    settings = {"ensemble": ensemble, "timestep": 5.0, "steps": 30, "save_every": 5, "checkpoint_every": 10}
    run(tmp_path / "whole", **settings, log_every=1)
    for parts in (3, 14, 9):
        with pytest.raises(interrupted):
            run(tmp_path / "parts", progress=stop_after(parts), **settings, log_every=1)
    run(tmp_path / "parts", **settings, log_every=1)
    assert_same(tmp_path / "whole", tmp_path / "parts")


def test_more_steps_extend_a_finished_run(tmp_path: Path) -> None:
    run(tmp_path / "whole", timestep=5.0, steps=20)
    run(tmp_path / "parts", timestep=5.0, steps=10)
    run(tmp_path / "parts", timestep=5.0, steps=20)
    assert_same(tmp_path / "whole", tmp_path / "parts")


def test_other_settings_do_not_continue_a_run(tmp_path: Path) -> None:
    run(tmp_path, timestep=5.0, steps=2)
    with pytest.raises(SimkitError, match=r"timestep: 5\.0 there, 4\.0 now"):
        run(tmp_path, timestep=4.0, steps=2)


def test_the_trajectory_holds_energies_forces_stress_and_momenta(tmp_path: Path) -> None:
    run(tmp_path, timestep=5.0, steps=10, save_every=5, log_every=1, precision="float64")
    frames = list(read_frames(tmp_path / "trajectory.h5"))
    assert [frame.info["step"] for frame in frames] == [0, 5, 10]
    again = frames[-1].copy()
    again.calc = EMT()
    assert again.get_potential_energy() == pytest.approx(frames[-1].get_potential_energy(), abs=1e-10)
    np.testing.assert_allclose(again.get_forces(), frames[-1].get_forces(), atol=1e-10)
    np.testing.assert_allclose(again.get_stress(), frames[-1].get_stress(), atol=1e-10)
    table = read_table(tmp_path / "log.csv")
    assert frames[1].get_kinetic_energy() == pytest.approx(table["kinetic_ev"][5], abs=1e-6)
    assert table["volume_ang3"][5] == pytest.approx(again.get_volume())
    kinetic = 2 * frames[1].get_kinetic_energy() / (3 * again.get_volume())
    pressure = (kinetic - frames[1].get_stress()[:3].mean()) / units.GPa
    assert table["pressure_gpa"][5] == pytest.approx(pressure, rel=1e-6)
    assert count_frames(tmp_path / "trajectory.h5") == 3
    assert read_frame(tmp_path / "trajectory.h5", 1).info["time_fs"] == 25.0
    final = read(tmp_path / "final.xyz")
    np.testing.assert_allclose(final.get_momenta(), frames[-1].get_momenta(), atol=1e-7)


class BreaksAt(Calculator):
    """No forces, and NaN from some call on."""

    implemented_properties = ("energy", "forces")

    def __init__(self, call: int) -> None:
        super().__init__()
        self.left = call

    def calculate(self, atoms: Any = None, properties: Any = None, system_changes: Any = all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        self.left -= 1
        forces = np.zeros((len(self.atoms), 3))
        self.results = {"energy": 0.0, "forces": forces if self.left > 0 else forces * np.nan}


class NeedsNearness(Calculator):
    """No forces, and no convergence where atoms are far from where they began."""

    implemented_properties = ("energy", "forces")

    def __init__(self, positions: np.ndarray) -> None:
        super().__init__()
        self.start = positions.copy()

    def calculate(self, atoms: Any = None, properties: Any = None, system_changes: Any = all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        if np.abs(self.atoms.positions - self.start).max() > 0.03:
            raise CalculationFailed("no convergence")
        self.results = {"energy": 0.0, "forces": np.zeros((len(self.atoms), 3))}


def test_a_force_that_is_not_finite_stops_the_run_and_keeps_the_last_good_frame(tmp_path: Path) -> None:
    water = molecule("H2O")
    settings = {"ensemble": "nve", "timestep": 1.0, "steps": 20, "save_every": 1, "log_every": 1}
    summary = run(tmp_path, water, BreaksAt(6), **settings)
    assert (summary["status"], summary["steps"]) == ("not finite", 4)
    assert "At step 5 some numbers are not finite" in summary["remedy"]
    final = read(tmp_path / "final.xyz")
    np.testing.assert_allclose(final.positions, read_frame(tmp_path / "trajectory.h5", -1).positions, atol=1e-6)
    assert np.isfinite(final.get_forces()).all()
    assert json.loads((tmp_path / "md.json").read_text()) == summary


def test_a_temperature_beyond_the_limit_stops_the_run(tmp_path: Path) -> None:
    atoms = copper()
    atoms.rattle(0.3, rng=np.random.default_rng(0))
    settings = {"timestep": 0.5, "steps": 50, "temperature": 10.0, "max_temperature": 300.0, "log_every": 1}
    summary = run(tmp_path, atoms, ensemble="nve", **settings)
    assert summary["status"] == "exploded"
    assert 0 < summary["steps"] < 50
    assert "the limit is 300 K" in summary["remedy"]
    assert read_table(tmp_path / "log.csv")["temperature_k"].max() < 300
    assert read(tmp_path / "final.xyz").get_kinetic_energy() * 2 / (3 * 7 * units.kB) < 300


def test_a_start_beyond_the_limits_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SimkitError, match="expected a temperature below max_temperature, 100 K"):
        run(tmp_path, temperature=600.0, max_temperature=100.0)
    with pytest.raises(SimkitError, match=r"the start cannot be used: the temperature reached \d+ K"):
        run(tmp_path, temperature=99.0, max_temperature=99.5, seed=4)
    with pytest.raises(SimkitError, match="the start cannot be used: some numbers are not finite"):
        run(tmp_path, molecule("H2O"), BreaksAt(0))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"timestep": -1.0}, "positive timestep, found -1"),
        ({"timestep": float("nan")}, "positive timestep, found nan"),
        ({"timestep": 100.0}, "time step of at most 20 fs, found 100 fs"),
        ({"temperature": float("nan")}, "positive temperature in K, found nan"),
        ({"temperature": 0.0, "ensemble": "bussi"}, r"positive temperature in K, found 0\.0"),
        ({"friction": float("inf")}, "positive friction, found inf"),
        ({"friction": (0.1, 0.2)}, "one number for all of the 1 systems"),
        ({"friction": (0.1, 0.2), "timestep": (1.0, 1.0, 2.0)}, "timestep: 3, friction: 2"),
        ({"ensemble": "npt", "pressure": float("nan")}, "finite pressure in GPa, found nan"),
        ({"ensemble": "bussi", "pressure": 2.0}, r"a pressure \(2 GPa\) needs a cell that may change"),
        ({"max_temperature": float("nan")}, "positive max_temperature in K, found nan"),
        ({"velocities": "keep"}, r"found none in frames \[0\]"),
    ],
)
def test_settings_without_sense_are_refused(tmp_path: Path, settings: Any, message: str) -> None:
    with pytest.raises(SimkitError, match=message):
        run(tmp_path, **settings)


def test_results_go_into_a_folder(tmp_path: Path) -> None:
    (tmp_path / "md").write_text("mine")
    with pytest.raises(SimkitError, match="expected a folder for the results, found the file"):
        run(tmp_path / "md")


def test_constant_pressure_of_a_molecule_leaves_no_files(tmp_path: Path) -> None:
    folder = tmp_path / "md"
    with pytest.raises(SimkitError, match="periodic along all three axes"):
        run(folder, molecule("H2O"), ensemble="npt")
    assert not folder.exists()


def test_many_systems_with_their_own_settings(
    tmp_path: Path, argon_model: Path, crystal: Atoms, cluster: Atoms
) -> None:
    """Each system of a batch does what it does alone; fixed atoms and momenta of the file are kept."""
    crystal.set_constraint(FixAtoms([2]))
    crystal.set_momenta(np.random.default_rng(0).normal(size=(4, 3)), apply_constraint=False)
    cluster.set_momenta(np.random.default_rng(1).normal(size=(len(cluster), 3)))
    settings = {"ensemble": "nve", "steps": 20, "velocities": "keep", "log_every": 5, "precision": "float64"}
    write(tmp_path / "both.xyz", [crystal, cluster])
    summary = run_md(
        argon_model, tmp_path / "both.xyz", tmp_path / "both", frame="all", timestep=[2.0, 5.0], **settings
    )
    assert [one["time_fs"] for one in summary["systems"]] == [40.0, 100.0]
    assert summary["status"] == "finished"
    log = read_table(tmp_path / "both" / "log.csv")
    for index, timestep in enumerate((2.0, 5.0)):
        folder = tmp_path / str(index)
        run_md(argon_model, tmp_path / "both.xyz", folder, frame=index, timestep=timestep, **settings)
        alone = read(folder / "final.xyz")
        together = read(tmp_path / "both" / "final.xyz", index)
        np.testing.assert_allclose(together.positions, alone.positions, atol=1e-7)
        energies = of_system(log, index)["total_ev"]
        np.testing.assert_allclose(energies, read_table(folder / "log.csv")["total_ev"], atol=1e-10)
    np.testing.assert_allclose(read(tmp_path / "both" / "final.xyz", 0).positions[2], crystal.positions[2], atol=1e-8)


def test_a_system_that_explodes_does_not_stop_the_others(tmp_path: Path, argon_model: Path, crystal: Atoms) -> None:
    squeezed = crystal.copy()
    squeezed.positions[0] = squeezed.positions[1] + 0.9
    write(tmp_path / "both.xyz", [crystal, squeezed, crystal])
    settings = {"ensemble": "langevin", "timestep": 5.0, "steps": 30, "temperature": 30.0, "frame": "all"}
    summary = run_md(argon_model, tmp_path / "both.xyz", tmp_path / "out", **settings, max_temperature=1e4)
    assert [one["status"] for one in summary["systems"]] == ["finished", "exploded", "finished"]
    assert summary["status"] == "2 of 3 finished"
    assert "At step 1" in summary["systems"][1]["remedy"]
    assert [one["steps"] for one in summary["systems"]] == [30, 0, 30]
    np.testing.assert_allclose(read(tmp_path / "out" / "final.xyz", 1).positions, squeezed.positions, atol=1e-7)


def test_several_temperatures_of_one_structure_give_copies(tmp_path: Path, argon_model: Path, crystal: Atoms) -> None:
    write(tmp_path / "one.xyz", crystal)
    summary = run_md(argon_model, tmp_path / "one.xyz", tmp_path / "out", temperature=[20.0, 40.0, 60.0], steps=5)
    assert [one["thermostat_temperature_k"] for one in summary["systems"]] == [20.0, 40.0, 60.0]
    with pytest.raises(SimkitError, match="found temperatur"):
        run_md(argon_model, tmp_path / "one.xyz", tmp_path / "other", temperatur=3.0)


@pytest.mark.parametrize("ensemble", ["npt", "npt_flexible", "mtk", "mtk_flexible"])
def test_constant_pressure(tmp_path: Path, argon_model: Path, crystal: Atoms, ensemble: str) -> None:
    """Under pressure in GPa the crystal shrinks, and what should be conserved is, also through an interruption."""
    write(tmp_path / "one.xyz", crystal)
    settings: dict[str, Any] = {"ensemble": ensemble, "temperature": 20.0, "pressure": [0.0, 0.5], "timestep": 5.0}
    settings |= {"pressure_time_constant": 300.0, "compressibility": 0.2, "log_every": 5, "checkpoint_every": 20}
    run_md(argon_model, tmp_path / "one.xyz", tmp_path / "parts", steps=30, **settings)
    run_md(argon_model, tmp_path / "one.xyz", tmp_path / "parts", steps=50, **settings)
    summary = run_md(argon_model, tmp_path / "one.xyz", tmp_path / "out", steps=50, **settings)
    free, pressed = summary["systems"]
    assert pressed["mean_volume_ang3"] < 0.98 * free["mean_volume_ang3"]
    assert free["energy_fluctuation_mev_per_atom"] < 1.0
    assert_same(tmp_path / "parts", tmp_path / "out")


def test_a_calculator_that_fails_stops_the_run(tmp_path: Path) -> None:
    water = molecule("H2O")
    summary = run(tmp_path, water, NeedsNearness(water.positions), ensemble="nve", timestep=0.5, steps=50)
    assert summary["status"] == "failed"
    assert "NeedsNearness failed: no convergence" in summary["remedy"]
    assert 0 < np.abs(read(tmp_path / "final.xyz").positions - water.positions).max() <= 0.03


def test_lost_atoms_stop_a_run(tmp_path: Path) -> None:
    pair = Atoms("Ar2", [[0, 0, 0], [0, 0, 5]])
    pair.set_momenta([[0, 0, -300.0], [0, 0, 300.0]])
    free = SpringCalculator(pair.positions.copy(), k=0.0)
    summary = run(
        tmp_path, pair, free, ensemble="nve", velocities="keep", timestep=10.0, steps=1000, max_temperature=1e9
    )
    assert summary["status"] == "lost atoms"
    assert "it has evaporated" in summary["remedy"]
    speed = 300.0 / 39.948 * units.fs
    assert summary["steps"] == int(100 / (10.0 * speed))


def test_drift_of_a_line_with_noise_of_known_size() -> None:
    time = np.linspace(0, 10, 1001)
    slope, fluctuation = linear_drift(time, 3.0 + 0.25 * time + np.sqrt(2) * 0.1 * np.sin(40 * np.pi * time))
    assert slope == pytest.approx(0.25, abs=2e-3)
    assert fluctuation == pytest.approx(0.1, rel=1e-2)
