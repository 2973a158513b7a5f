import json

import numpy as np
import pytest
from ase import Atoms
from ase.constraints import FixAtoms
from ase.io import read, write

from simkit.errors import SimkitError
from simkit.tasks.relax import relax_file


@pytest.mark.parametrize("optimiser", ["BFGS", "LBFGS", "FIRE"])
def test_a_dimer_relaxes_to_the_minimum_of_lennard_jones(tmp_path, argon_model, optimiser):
    write(tmp_path / "in.xyz", Atoms("Ar2", [[0, 0, 0], [0, 0, 4.1]], info={"origin": "a guess"}))
    summary = relax_file(
        argon_model, tmp_path / "in.xyz", tmp_path / "out.xyz", fmax=1e-5, optimiser=optimiser, max_steps=2000
    )
    relaxed = read(tmp_path / "out.xyz")
    assert relaxed.get_distance(0, 1) == pytest.approx(2 ** (1 / 6) * 3.4, abs=1e-3)
    assert relaxed.get_potential_energy() == pytest.approx(-0.0104, abs=1e-6)
    assert relaxed.info["origin"] == "a guess"
    (result,) = summary["results"]
    assert result["status"] == "converged"
    assert result["fmax_ev_per_ang"] < 1e-5
    assert result["energy_before_ev"] > result["energy_ev"]
    assert json.loads((tmp_path / "out.json").read_text()) == summary


def test_the_path_holds_every_step(tmp_path, argon_model, cluster):
    write(tmp_path / "in.xyz", [cluster, Atoms("Ar2", [[0, 0, 0], [0, 0, 4.1]])])
    summary = relax_file(argon_model, tmp_path / "in.xyz", tmp_path / "out.xyz")
    path = read(tmp_path / "out-path.xyz", ":")
    for index, result in enumerate(summary["results"]):
        steps = [frame for frame in path if frame.info["frame"] == index]
        assert [frame.info["step"] for frame in steps] == list(range(result["steps"] + 1))
        assert steps[0].get_potential_energy() == pytest.approx(result["energy_before_ev"])
        assert steps[-1].info["fmax"] == pytest.approx(result["fmax_ev_per_ang"])


def test_the_cell_relaxes_to_zero_stress(tmp_path, argon_model, crystal):
    write(tmp_path / "in.xyz", crystal)
    relax_file(argon_model, tmp_path / "in.xyz", tmp_path / "out.xyz", relax_cell=True, fmax=1e-4)
    relaxed = read(tmp_path / "out.xyz")
    np.testing.assert_allclose(relaxed.get_stress(), 0, atol=1e-5)
    assert relaxed.cell.lengths() == pytest.approx([relaxed.cell.lengths()[0]] * 3, rel=1e-3)
    assert abs(relaxed.cell.lengths()[0] - 5.3) > 0.01


def test_constraints_hold(tmp_path, argon_model, cluster):
    cluster.set_constraint(FixAtoms([3]))
    write(tmp_path / "in.xyz", cluster)
    relax_file(argon_model, tmp_path / "in.xyz", tmp_path / "out.xyz", fmax=0.05)
    np.testing.assert_allclose(read(tmp_path / "out.xyz").positions[3], cluster.positions[3], atol=1e-7)


def test_too_few_steps_are_reported_with_a_remedy(tmp_path, argon_model, cluster):
    write(tmp_path / "in.xyz", cluster)
    summary = relax_file(argon_model, tmp_path / "in.xyz", tmp_path / "out.xyz", fmax=1e-6, max_steps=2)
    (result,) = summary["results"]
    assert summary["converged"] == 0
    assert (result["status"], result["steps"]) == ("not converged", 2)
    assert "max_steps" in result["remedy"]


def test_an_interrupted_relaxation_continues(tmp_path, argon_model, cluster, stop_after, interrupted):
    other = cluster.copy()
    other.rattle(0.1, rng=np.random.RandomState(5))
    write(tmp_path / "in.xyz", [cluster, other])
    whole = relax_file(argon_model, tmp_path / "in.xyz", tmp_path / "whole.xyz", optimiser="FIRE", fmax=1e-3)
    first_steps = whole["results"][0]["steps"]
    for reports in (4, first_steps + 3):
        with pytest.raises(interrupted):
            relax_file(
                argon_model, tmp_path / "in.xyz", tmp_path / "parts.xyz", optimiser="FIRE", fmax=1e-3,
                progress=stop_after(reports),
            )  # fmt: skip
    assert not (tmp_path / "parts.xyz").exists()
    parts = relax_file(argon_model, tmp_path / "in.xyz", tmp_path / "parts.xyz", optimiser="FIRE", fmax=1e-3)
    assert parts["converged"] == 2
    for a, b in zip(whole["results"], parts["results"], strict=True):
        assert b["energy_ev"] == pytest.approx(a["energy_ev"], abs=1e-4)
        assert b["energy_before_ev"] == pytest.approx(a["energy_before_ev"])
    path = read(tmp_path / "parts-path.xyz", ":")
    for index in range(2):
        steps = [frame.info["step"] for frame in path if frame.info["frame"] == index]
        assert steps == list(range(parts["results"][index]["steps"] + 1))
    assert not list(tmp_path.glob(".parts*"))


def test_a_molecule_has_no_cell_to_relax(tmp_path, argon_model, cluster):
    write(tmp_path / "in.xyz", cluster)
    with pytest.raises(SimkitError, match=r"frame 0 \(Ar13\) is not periodic along all axes"):
        relax_file(argon_model, tmp_path / "in.xyz", tmp_path / "out.xyz", relax_cell=True)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (Atoms("Fe"), r"in.xyz, frame 1 \(Fe\): .* supports Ne Ar"),
        (Atoms("Ar2", [[0, 0, 0], [0, 0, np.nan]]), r"in.xyz, frame 1 \(Ar2\): expected finite positions"),
        (Atoms("Ar2", [[0, 0, 0], [0, 0, 0.01]]), r"in.xyz, frame 1 \(Ar2\): atoms 0 and 1 are 0.010"),
    ],
)
def test_a_structure_that_cannot_be_used_is_named(tmp_path, argon_model, broken, message):
    write(tmp_path / "in.xyz", [Atoms("Ar2", [[0, 0, 0], [0, 0, 4.1]]), broken])
    with pytest.raises(SimkitError, match=message):
        relax_file(argon_model, tmp_path / "in.xyz", tmp_path / "out.xyz")
    assert not (tmp_path / "out.xyz").exists()
