import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.constraints import FixAtoms, FixBondLength
from ase.io import read, write

from simkit.errors import InvalidSystemError, SimkitError, SimkitWarning
from simkit.tasks.relax import relax_file
from simkit.units import GPA


def dimer(distance=4.1):
    return Atoms("Ar2", [[0, 0, 0], [0, 0, distance]])


@pytest.fixture
def crystals():
    """Five crystals of two sizes, each with its own cell and displacements."""
    frames = []
    for seed in range(5):
        atoms = bulk("Ar", "fcc", a=5.1 + 0.04 * seed, cubic=True) * ((1, 1, 1), (2, 1, 1))[seed % 2]
        atoms.rattle(0.15, rng=np.random.RandomState(seed))
        frames.append(atoms)
    return frames


@pytest.mark.parametrize("optimiser", ["LBFGS", "FIRE"])
def test_a_dimer_relaxes_to_the_minimum_of_lennard_jones(tmp_path, argon_model, optimiser):
    write(tmp_path / "in.xyz", Atoms("Ar2", [[0, 0, 0], [0, 0, 4.1]], info={"origin": "a guess"}))
    summary = relax_file(
        argon_model, tmp_path / "in.xyz", tmp_path / "out.xyz", fmax=1e-5, optimiser=optimiser, max_steps=2000
    )
    relaxed = read(tmp_path / "out.xyz")
    assert relaxed.get_distance(0, 1) == pytest.approx(2 ** (1 / 6) * 3.4, abs=1e-3)
    assert relaxed.get_potential_energy() == pytest.approx(-0.0104, abs=1e-6)
    assert relaxed.info["origin"] == "a guess"
    assert relaxed.info["relaxation"] == "converged"
    (result,) = summary["results"]
    assert result["status"] == "converged"
    assert result["fmax_ev_per_ang"] < 1e-5
    assert result["energy_before_ev"] > result["energy_ev"]
    assert summary["force_calls"] == summary["batches"] == result["steps"] + 1
    assert json.loads((tmp_path / "out.json").read_text()) == summary


def test_the_path_holds_every_step(tmp_path, argon_model, cluster):
    write(tmp_path / "in.xyz", [cluster, dimer()])
    summary = relax_file(argon_model, tmp_path / "in.xyz", tmp_path / "out.xyz")
    path = read(tmp_path / "out-path.xyz", ":")
    for index, result in enumerate(summary["results"]):
        steps = [frame for frame in path if frame.info["frame"] == index]
        assert [frame.info["step"] for frame in steps] == list(range(result["steps"] + 1))
        assert steps[0].get_potential_energy() == pytest.approx(result["energy_before_ev"])
        assert steps[-1].info["fmax"] == pytest.approx(result["fmax_ev_per_ang"])


def test_the_path_can_be_left_out(tmp_path, argon_model):
    write(tmp_path / "in.xyz", dimer())
    relax_file(argon_model, tmp_path / "in.xyz", tmp_path / "out.xyz", path=False)
    assert sorted(file.name for file in tmp_path.glob("out*")) == ["out.json", "out.xyz"]
    assert not list(tmp_path.glob(".*"))


def test_the_cell_relaxes_to_zero_stress(tmp_path, argon_model, crystal):
    write(tmp_path / "in.xyz", crystal)
    relax_file(argon_model, tmp_path / "in.xyz", tmp_path / "out.xyz", relax_cell=True, fmax=1e-4)
    relaxed = read(tmp_path / "out.xyz")
    np.testing.assert_allclose(relaxed.get_stress(), 0, atol=1e-5)
    assert relaxed.cell.lengths() == pytest.approx([relaxed.cell.lengths()[0]] * 3, rel=1e-3)
    assert abs(relaxed.cell.lengths()[0] - 5.3) > 0.01


def test_the_cell_relaxes_to_a_pressure(tmp_path, argon_model, crystal):
    write(tmp_path / "in.xyz", crystal)
    relax_file(argon_model, tmp_path / "in.xyz", tmp_path / "out.xyz", relax_cell=True, pressure=0.5, fmax=1e-5)
    stress = read(tmp_path / "out.xyz").get_stress()
    np.testing.assert_allclose(stress, [-0.5 * GPA] * 3 + [0] * 3, atol=1e-6)


def test_a_pressure_without_a_cell_to_relax_is_refused(tmp_path, argon_model, crystal):
    write(tmp_path / "in.xyz", crystal)
    with pytest.raises(SimkitError, match="needs a cell that may change"):
        relax_file(argon_model, tmp_path / "in.xyz", tmp_path / "out.xyz", pressure=0.5)


@pytest.mark.parametrize("wrong", [{"fmax": 0.0}, {"max_steps": 0}, {"relax_cell": True, "pressure": float("nan")}])
def test_nonsense_leaves_no_files(tmp_path, argon_model, wrong):
    write(tmp_path / "in.xyz", dimer())
    with pytest.raises(SimkitError, match="expected"):
        relax_file(argon_model, tmp_path / "in.xyz", tmp_path / "out.xyz", **wrong)
    assert not list(tmp_path.glob("*out*"))


def test_the_input_is_not_overwritten(tmp_path, argon_model):
    write(tmp_path / "in.xyz", dimer())
    before = (tmp_path / "in.xyz").read_bytes()
    with pytest.raises(SimkitError, match="an output file other than the input"):
        relax_file(argon_model, tmp_path / "in.xyz", tmp_path / "." / "in.xyz")
    assert (tmp_path / "in.xyz").read_bytes() == before


def test_a_model_in_single_precision_is_stepped_in_double(tmp_path, argon_model):
    write(tmp_path / "in.xyz", dimer())
    relax_file(argon_model, tmp_path / "in.xyz", tmp_path / "out.xyz", dtype="float32", fmax=1e-4)
    assert read(tmp_path / "out.xyz").get_distance(0, 1) == pytest.approx(2 ** (1 / 6) * 3.4, abs=3e-3)


def test_constraints_hold(tmp_path, argon_model, cluster):
    cluster.set_constraint(FixAtoms([3]))
    write(tmp_path / "in.xyz", cluster)
    relax_file(argon_model, tmp_path / "in.xyz", tmp_path / "out.xyz", fmax=0.05)
    relaxed = read(tmp_path / "out.xyz")
    np.testing.assert_allclose(relaxed.positions[3], cluster.positions[3], atol=1e-7)
    assert np.linalg.norm(relaxed.positions - cluster.positions, axis=1).max() > 0.05


def test_too_few_steps_are_reported_with_a_remedy(tmp_path, argon_model, cluster):
    write(tmp_path / "in.xyz", cluster)
    summary = relax_file(argon_model, tmp_path / "in.xyz", tmp_path / "out.xyz", fmax=1e-6, max_steps=2)
    (result,) = summary["results"]
    assert summary["converged"] == 0
    assert (result["status"], result["steps"]) == ("not converged", 2)
    assert "max_steps" in result["remedy"]


def test_results_come_in_the_order_of_the_file_whatever_the_batches(tmp_path, argon_model, crystals):
    write(tmp_path / "in.xyz", crystals)
    settings = {"relax_cell": True, "fmax": 0.03}
    one = relax_file(argon_model, tmp_path / "in.xyz", tmp_path / "one.xyz", **settings, max_atoms=1)
    few = relax_file(argon_model, tmp_path / "in.xyz", tmp_path / "few.xyz", **settings, max_atoms=12)
    assert one["batches"] == one["force_calls"] == few["force_calls"] > 1.4 * few["batches"]
    frames = [read(tmp_path / name, ":") for name in ("one.xyz", "few.xyz")]
    for a, b, before in zip(*frames, crystals, strict=True):
        assert len(b) == len(before)
        np.testing.assert_allclose(b.positions, a.positions, atol=1e-7)  # the digits of the file
        np.testing.assert_allclose(b.cell.array, a.cell.array, atol=1e-7)
    energies = [[result["energy_ev"] for result in summary["results"]] for summary in (one, few)]
    np.testing.assert_allclose(*energies, atol=1e-10)


KILLED = """
import sys, time
from simkit.relaxation import InFlight
from simkit.tasks.relax import relax_file

advance = InFlight.advance
InFlight.advance = lambda self: (time.sleep(0.02), advance(self))[1]
relax_file(*sys.argv[1:4], relax_cell=True, fmax=0.02, max_atoms=12, optimiser=sys.argv[4], checkpoint_seconds=0.05)
"""


@pytest.mark.parametrize("optimiser", ["LBFGS", "FIRE"])
def test_a_killed_relaxation_continues_to_the_last_bit(tmp_path, argon_model, crystals, optimiser):
    write(tmp_path / "in.xyz", crystals)
    settings = {"relax_cell": True, "fmax": 0.02, "max_atoms": 12, "optimiser": optimiser}
    whole = relax_file(argon_model, tmp_path / "in.xyz", tmp_path / "whole.xyz", **settings)
    words = [argon_model, tmp_path / "in.xyz", tmp_path / "parts.xyz", optimiser]
    child = subprocess.Popen([sys.executable, "-P", "-c", KILLED, *map(str, words)])
    finished = tmp_path / ".parts-finished.jsonl"
    _wait_for(lambda: finished.exists() and finished.stat().st_size > 0, child)
    os.kill(child.pid, signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    assert (tmp_path / ".parts-unfinished.safetensors").exists()
    assert not (tmp_path / "parts.xyz").exists()
    parts = relax_file(argon_model, tmp_path / "in.xyz", tmp_path / "parts.xyz", **settings)
    assert parts == whole
    for name in (".xyz", "-path.xyz", ".json"):
        assert (tmp_path / f"parts{name}").read_bytes() == (tmp_path / f"whole{name}").read_bytes()
    assert not list(tmp_path.glob(".parts*"))


def _wait_for(condition, child):
    start = time.monotonic()
    while not condition():
        assert child.poll() is None, "the relaxation ended before it could be killed"
        assert time.monotonic() - start < 60
        time.sleep(0.01)


def test_an_interrupted_relaxation_makes_no_step_twice(tmp_path, argon_model, crystals, stop_after, interrupted):
    write(tmp_path / "in.xyz", crystals)
    settings = {"optimiser": "FIRE", "fmax": 0.03, "max_atoms": 12, "checkpoint_seconds": 0}
    whole = relax_file(argon_model, tmp_path / "in.xyz", tmp_path / "whole.xyz", **settings)
    for reports in (4, 12):
        with pytest.raises(interrupted):
            relax_file(
                argon_model, tmp_path / "in.xyz", tmp_path / "parts.xyz", **settings, progress=stop_after(reports)
            )
    parts = relax_file(argon_model, tmp_path / "in.xyz", tmp_path / "parts.xyz", **settings)
    assert parts == whole
    assert (tmp_path / "parts-path.xyz").read_bytes() == (tmp_path / "whole-path.xyz").read_bytes()


def test_other_settings_start_anew(tmp_path, argon_model, crystals, stop_after, interrupted):
    write(tmp_path / "in.xyz", crystals)
    words = (argon_model, tmp_path / "in.xyz", tmp_path / "out.xyz")
    with pytest.raises(interrupted):
        relax_file(*words, fmax=1e-3, checkpoint_seconds=0, progress=stop_after(9))
    loose = relax_file(*words, fmax=9.0)
    assert {result["steps"] for result in loose["results"]} == {0}


def test_a_molecule_has_no_cell_to_relax(tmp_path, argon_model, cluster):
    write(tmp_path / "in.xyz", cluster)
    with pytest.raises(InvalidSystemError, match=r"frame 0 \(Ar13\): it is not periodic along all axes"):
        relax_file(argon_model, tmp_path / "in.xyz", tmp_path / "out.xyz", relax_cell=True)
    assert not (tmp_path / "out.xyz").exists()


def test_a_charge_that_the_model_ignores_is_said_once(tmp_path, argon_model):
    frames = [dimer(), Atoms("Ar", [[0, 0, np.nan]]), dimer(), dimer()]
    for atoms in frames[1:]:
        atoms.info["charge"] = -1
    write(tmp_path / "in.traj", frames)
    with pytest.warns(SimkitWarning, match=r"in.traj, frame 2 \(Ar2\) has charge -1, which this lennard") as said:
        relax_file(argon_model, tmp_path / "in.traj", tmp_path / "out.xyz", path=False)
    assert len(said) == 1
    assert read(tmp_path / "out.xyz", 2).info["charge"] == -1


def constrained():
    atoms = dimer()
    atoms.set_constraint(FixBondLength(0, 1))
    return atoms


BROKEN = {
    "supports Ne Ar": Atoms("Fe"),
    "finite positions": Atoms("Ar2", [[0, 0, 0], [0, 0, np.nan]]),
    "two atoms are 0.010 Å apart": Atoms("Ar2", [[0, 0, 0], [0, 0, 0.01]]),
    "two atoms are 0.000 Å apart": Atoms("Ar2", [[0, 0, 0], [0, 0, 0]]),
    "at least 0.5 Å³ per atom": Atoms("Ar", cell=[0.1, 0.1, 0.1], pbc=True),
    "no constraints but FixAtoms, found FixBondLength": constrained(),
}


def test_structures_that_cannot_be_used_do_not_stop_the_others(tmp_path, argon_model):
    frames = [dimer(), *BROKEN.values(), dimer(3.6)]
    write(tmp_path / "in.traj", frames)
    summary = relax_file(argon_model, tmp_path / "in.traj", tmp_path / "out.xyz")
    assert summary["statuses"] == {"converged": 2, "refused": len(BROKEN)}
    assert [result["status"] for result in summary["results"]] == ["converged", *["refused"] * len(BROKEN), "converged"]
    for message, result in zip(BROKEN, summary["results"][1:-1], strict=True):
        assert message in result["remedy"]
        assert (result["steps"], result["energy_ev"]) == (0, None)
    written = read(tmp_path / "out.xyz", ":")
    assert [len(atoms) for atoms in written] == [len(atoms) for atoms in frames]
    assert written[1].calc is None
    np.testing.assert_array_equal(written[2].positions, frames[2].positions)
    assert written[-1].get_potential_energy() == pytest.approx(-0.0104, rel=0.03)


def test_a_file_without_any_usable_structure_is_an_error(tmp_path, argon_model):
    write(tmp_path / "in.xyz", [Atoms("Fe"), Atoms("Co")])
    with pytest.raises(InvalidSystemError, match=r"frame 0 \(Fe\): .* none of the other 1 can be relaxed either"):
        relax_file(argon_model, tmp_path / "in.xyz", tmp_path / "out.xyz")
    assert not list(tmp_path.glob("*out*"))
