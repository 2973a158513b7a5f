"""The workflows of published benchmarks, whole, with a few made-up frames and tiny potentials."""

from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from ase.units import kcal, mol

from simkit.progress import Silent
from simkit.workflow.machine import SerialProfile
from simkit.workflow.plan import make_plan
from simkit.workflow.runner import run_plan
from simkit.workflow.schema import read_workflow
from simkit.workflow.store import read_result

FOLDER = Path(__file__).parents[2] / "workflows"
TINY = ("hidden_irreps=2x0e + 2x1o", "max_ell=1", "correlation=2", "radial_mlp=[4]", "readout_mlp=2x0e")


def tiny(step):
    """Settings of one train step that make it short."""
    return [*(f"steps.{step}.architecture.{setting}" for setting in TINY), f"steps.{step}.training.max_epochs=1"]


def run_small(name, settings, runs):
    plan = make_plan(read_workflow(FOLDER / name, settings=settings), runs)
    report = run_plan(plan, SerialProfile(device="cpu"), Silent())
    assert report.failed == {}
    assert report.succeeded
    return {name: read_result(step.folder)["summary"] for name, step in plan.steps.items()}


@pytest.fixture
def ethanol(tmp_path):
    """An archive as revised MD17 has them, in kcal/mol and Å, with forces of springs to the minimum."""
    atoms = molecule("CH3CH2OH")
    shifts = np.random.default_rng(0).normal(scale=0.05, size=(12, len(atoms), 3))
    spring = 20.0  # eV/Å²
    path = tmp_path / "ethanol.npz"
    np.savez(
        path,
        nuclear_charges=atoms.numbers,
        coords=atoms.positions + shifts,
        energies=(-4209.0 + spring / 2 * np.square(shifts).sum((1, 2))) / (kcal / mol),
        forces=-spring * shifts / (kcal / mol),
    )
    return path


@pytest.mark.parametrize("name", ["rmd17.yaml", "rmd17_paper.yaml"])
def test_revised_md17(tmp_path, ethanol, name):
    data = [f"steps.{step}.data={ethanol}" for step in ("potential", "errors")]
    summary = run_small(name, [*data, *tiny("potential"), "steps.potential.split.validation=4"], tmp_path / "runs")
    assert (summary["potential"]["training_frames"], summary["potential"]["validation_frames"]) == (8, 4)
    assert summary["errors"]["frames"] == 12
    # the forces are 1 eV/Å in root mean square: kcal/mol were converted, and the potential is no better than none
    assert summary["errors"]["forces_rmse_mev_per_ang"] == pytest.approx(1000, rel=0.3)
    assert summary["errors"]["dtype"] == "float64"


def test_mlearn(tmp_path):
    rng = np.random.default_rng(0)
    settings = []
    for step, symbol, structure in (("silicon", "Si", "diamond"), ("copper", "Cu", "fcc")):
        frames = []
        for _ in range(14):
            atoms = bulk(symbol, structure, cubic=True, a=4.5)
            atoms.rattle(0.1, rng=rng)
            labelled = atoms.copy()
            labelled.numbers[:] = 29
            labelled.calc = EMT()
            results = {name: getattr(labelled, f"get_{name}")() for name in ("forces", "stress")}
            atoms.calc = SinglePointCalculator(atoms, energy=labelled.get_potential_energy(), **results)
            frames.append(atoms)
        write(tmp_path / f"{symbol}.xyz", frames)
        settings += [f"steps.{name}.data={tmp_path / symbol}.xyz" for name in (step, f"{step}_errors")]
        stages = [f"steps.{step}.training.{name}" for name in ("max_epochs=2", "stage_two.start_epoch=1")]
        settings += [*tiny(step), *stages, f"steps.{step}.architecture.cutoff=3.5"]
    summary = run_small("mlearn.yaml", settings, tmp_path / "runs")
    for step in ("silicon", "copper"):
        assert (summary[step]["training_frames"], summary[step]["validation_frames"]) == (2, 12)
        assert summary[f"{step}_errors"]["frames"] == 14
        assert summary[f"{step}_errors"]["stress_mae_mev_per_ang3"] > 0
    assert [summary[step]["elements"] for step in ("silicon", "copper")] == ["Si", "Cu"]
