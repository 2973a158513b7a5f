import json

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT
from ase.calculators.harmonic import SpringCalculator
from ase.constraints import FixAtoms
from ase.io import read

from simkit.csv_tables import read_table
from simkit.errors import SimkitError
from simkit.progress import Progress, Silent
from simkit.tasks.md_log import linear_drift
from simkit.tasks.propagation import degrees_of_freedom, draw_velocities, make_integrator, propagate, temperature
from simkit.tasks.settings import Dynamics


class Interrupted(Exception):
    pass


class StopAfter(Progress):
    """Progress that ends the work after some parts, as a kill would."""

    def __init__(self, parts):
        self.left = parts

    def task(self, title, total, done=0):
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def advance(self, parts=1, note=""):
        self.left -= parts
        if self.left == 0:
            raise Interrupted

    def say(self, text):
        pass


def copper():
    atoms = bulk("Cu", cubic=True).repeat((2, 1, 1))
    atoms.calc = EMT()
    return atoms


def oscillators():
    """Atoms whose forces depend on nothing but the positions, to the last bit."""
    atoms = bulk("Ar", cubic=True)
    atoms.pbc = False
    atoms.calc = SpringCalculator(atoms.positions.copy(), k=1.0)
    return atoms


def run(folder, atoms=None, progress=None, **settings):
    return propagate(
        atoms or copper(), folder, Dynamics(**settings), identity={"test": 1}, progress=progress or Silent()
    )


def test_verlet_conserves_energy_and_its_error_falls_with_the_square_of_the_time_step(tmp_path):
    fluctuations = []
    for timestep, steps in ((4.0, 100), (2.0, 200)):
        folder = tmp_path / str(timestep)
        summary = run(folder, ensemble="nve", timestep=timestep, steps=steps, temperature=600.0)
        table = read_table(folder / "log.csv")
        np.testing.assert_allclose(table["total_ev"], table["potential_ev"] + table["kinetic_ev"], atol=1e-12)
        assert summary["time_fs"] == 400.0
        fluctuations.append(summary["energy_fluctuation_mev_per_atom"])
    assert 3.0 < fluctuations[0] / fluctuations[1] < 5.0


@pytest.mark.parametrize("ensemble", ["langevin", "bussi"])
def test_thermostats_sample_the_temperature_of_independent_oscillators(tmp_path, ensemble):
    atoms = bulk("Ar", cubic=True).repeat((3, 3, 3))
    atoms.pbc = False
    atoms.calc = SpringCalculator(atoms.positions.copy(), k=1.0)
    summary = run(
        tmp_path, atoms, ensemble=ensemble, timestep=10.0, steps=600, temperature=300.0, friction=0.01, save_every=600
    )
    # 324 oscillators: the standard error of the mean over about ten independent times is below 3 %
    assert summary["mean_temperature_k"] == pytest.approx(300, rel=0.1)


def test_conserved_momenta_do_not_count_in_the_temperature(tmp_path):
    water = molecule("H2O")
    gas = Atoms("Ar8", np.eye(8, 3) * 50, cell=[99] * 3, pbc=True)
    assert [degrees_of_freedom(water, name) for name in ("nve", "bussi", "langevin")] == [3, 3, 9]
    assert [degrees_of_freedom(gas, name) for name in ("nve", "bussi", "langevin")] == [21, 21, 24]
    water.set_constraint(FixAtoms([0]))
    assert degrees_of_freedom(water, "nve") == 6
    free = molecule("CH3CH2OH")
    draws = []
    for seed in range(200):
        draw_velocities(free, 300.0, np.random.default_rng(seed))
        draws.append(temperature(free, "nve"))
    # the mean of 200 draws with 21 degrees of freedom each has a relative standard error of 2.2 %
    assert np.mean(draws) == pytest.approx(300, rel=0.07)


def test_friction_is_a_rate_in_inverse_femtoseconds(tmp_path):
    """Without noise and forces velocities fall as exp(-friction * time)."""
    atoms = Atoms("Ar2", [[0, 0, 0], [0, 0, 20]])
    atoms.calc = SpringCalculator(atoms.positions.copy(), k=0.0)
    atoms.set_momenta([[1.0, -2.0, 3.0], [0.5, 0.0, -1.0]])
    start = atoms.get_momenta()
    settings = Dynamics(ensemble="langevin", timestep=2.0, temperature=0.0, friction=0.005)
    dynamics = make_integrator(atoms, settings, np.random.default_rng(0))
    for _ in range(50):
        dynamics.step()
    np.testing.assert_allclose(atoms.get_momenta(), start * np.exp(-0.005 * 100), rtol=1e-4)


class Cohesion(Calculator):
    """Springs between each atom and its place beside the common centre: no net force on a translated system."""

    implemented_properties = ("energy", "forces")

    def __init__(self, places):
        super().__init__()
        self.places = places - places.mean(0)

    def calculate(self, atoms=None, properties=(), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        stretch = self.atoms.positions - self.atoms.positions.mean(0) - self.places
        self.results = {"energy": 1.5 * np.square(stretch).sum(), "forces": -3.0 * stretch}


def test_velocity_rescaling_does_not_feed_translation(tmp_path):
    """Without correction the momentum of this run grows exponentially from rounding errors."""
    atoms = Atoms("Cu3", np.eye(3) * 2, cell=[9] * 3, pbc=True)
    atoms.calc = Cohesion(atoms.positions.copy())
    run(tmp_path, atoms, ensemble="bussi", timestep=2.0, steps=400, temperature=500.0, time_constant=3.0, log_every=400)
    assert np.abs(atoms.get_momenta().sum(0)).max() < 1e-12


@pytest.mark.parametrize("ensemble", ["nve", "langevin", "bussi"])
def test_an_interrupted_run_continues_with_the_same_bits(tmp_path, ensemble):
    settings = {"ensemble": ensemble, "timestep": 5.0, "steps": 30, "save_every": 5, "checkpoint_every": 10}
    run(tmp_path / "whole", oscillators(), **settings)
    for parts in (3, 14, 9):
        with pytest.raises(Interrupted):
            run(tmp_path / "parts", oscillators(), progress=StopAfter(parts), **settings)
    run(tmp_path / "parts", oscillators(), **settings)
    for name in ("log.csv", "trajectory.xyz", "final.xyz"):
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_more_steps_extend_a_finished_run(tmp_path):
    run(tmp_path / "whole", oscillators(), timestep=5.0, steps=20)
    run(tmp_path / "parts", oscillators(), timestep=5.0, steps=10)
    run(tmp_path / "parts", oscillators(), timestep=5.0, steps=20)
    assert (tmp_path / "parts" / "log.csv").read_bytes() == (tmp_path / "whole" / "log.csv").read_bytes()


def test_other_settings_do_not_continue_a_run(tmp_path):
    run(tmp_path, timestep=5.0, steps=2)
    with pytest.raises(SimkitError, match=r"timestep: 5\.0 there, 4\.0 now"):
        run(tmp_path, timestep=4.0, steps=2)


def test_the_trajectory_holds_energies_forces_and_momenta(tmp_path):
    run(tmp_path, timestep=5.0, steps=10, save_every=5)
    frames = read(tmp_path / "trajectory.xyz", ":")
    assert [frame.info["step"] for frame in frames] == [0, 5, 10]
    again = frames[-1].copy()
    again.calc = EMT()
    assert again.get_potential_energy() == pytest.approx(frames[-1].get_potential_energy(), abs=1e-6)
    np.testing.assert_allclose(again.get_forces(), frames[-1].get_forces(), atol=1e-6)
    table = read_table(tmp_path / "log.csv")
    assert frames[1].get_kinetic_energy() == pytest.approx(table["kinetic_ev"][5], abs=1e-6)


class BreaksAt(Calculator):
    implemented_properties = ("energy", "forces")

    def __init__(self, call):
        super().__init__()
        self.left = call

    def calculate(self, atoms=None, properties=None, system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        self.left -= 1
        forces = np.zeros((len(atoms), 3))
        self.results = {"energy": 0.0, "forces": forces if self.left > 0 else forces * np.nan}


def test_a_force_that_is_not_finite_stops_the_run_and_keeps_the_last_good_frame(tmp_path):
    atoms = molecule("H2O")
    atoms.calc = BreaksAt(6)
    summary = run(tmp_path, atoms, ensemble="nve", timestep=1.0, steps=20, save_every=1)
    assert summary["status"] == "exploded"
    assert "step 5" in summary["remedy"]
    final = read(tmp_path / "final.xyz")
    np.testing.assert_allclose(final.positions, read(tmp_path / "trajectory.xyz", -1).positions)
    assert np.isfinite(final.get_forces()).all()
    assert json.loads((tmp_path / "md.json").read_text()) == summary


def test_a_temperature_beyond_the_limit_stops_the_run(tmp_path):
    atoms = copper()
    atoms.rattle(0.3, rng=np.random.default_rng(0))
    summary = run(tmp_path, atoms, ensemble="nve", timestep=0.5, steps=50, temperature=10.0, max_temperature=300.0)
    assert summary["status"] == "exploded"
    assert 0 < summary["steps"] < 50
    assert "max_temperature is 300 K" in summary["remedy"]
    assert temperature(read(tmp_path / "final.xyz"), "nve") < 300


def test_a_start_beyond_the_limits_is_refused(tmp_path):
    with pytest.raises(SimkitError, match="expected a temperature below max_temperature, 100 K"):
        run(tmp_path, temperature=600.0, max_temperature=100.0)
    with pytest.raises(SimkitError, match=r"the first frame has a temperature of \d+ K"):
        run(tmp_path, temperature=99.0, max_temperature=99.5, seed=3)
    atoms = molecule("H2O")
    atoms.calc = BreaksAt(0)
    with pytest.raises(SimkitError, match="of the first frame is not a finite number"):
        run(tmp_path, atoms)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"timestep": -1.0}, "positive timestep, found -1"),
        ({"timestep": float("nan")}, "positive timestep, found nan"),
        ({"timestep": 100.0}, "time step of at most 20 fs, found 100 fs"),
        ({"temperature": float("nan")}, "positive temperature in K, found nan"),
        ({"friction": float("inf")}, "positive friction, found inf"),
    ],
)
def test_settings_without_sense_are_refused(tmp_path, settings, message):
    with pytest.raises(SimkitError, match=message):
        run(tmp_path, **settings)


def test_drift_of_a_line_with_noise_of_known_size():
    time = np.linspace(0, 10, 1001)
    slope, fluctuation = linear_drift(time, 3.0 + 0.25 * time + np.sqrt(2) * 0.1 * np.sin(40 * np.pi * time))
    assert slope == pytest.approx(0.25, abs=2e-3)
    assert fluctuation == pytest.approx(0.1, rel=1e-2)
