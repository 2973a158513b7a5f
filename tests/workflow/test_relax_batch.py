"""The workflow of batched relaxation, whole, with a few crystals of argon."""

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.io import read, write

import simkit
from simkit.potentials.lennard_jones import LennardJones
from simkit.progress import Silent
from simkit.workflow.machine import SerialProfile
from simkit.workflow.plan import make_plan
from simkit.workflow.runner import run_plan
from simkit.workflow.schema import read_workflow
from simkit.workflow.store import read_result

FILE = Path(__file__).parents[2] / "workflows" / "relax_batch.yaml"
SPACING = 5.2638
"""Edge in Å of the cubic cell of argon with Lennard-Jones up to 8.5 Å, as ASE's BFGS finds it."""


def test_from_perturbed_crystals_to_one_minimum(tmp_path):
    model, structures = tmp_path / "model.simkit", tmp_path / "structures.xyz"
    simkit.save_model(model, LennardJones(epsilon=0.0104, sigma=3.4, cutoff=8.5, elements=(18,)))
    frames = []
    for seed in range(3):
        atoms = bulk("Ar", "fcc", a=5.1 + 0.1 * seed, cubic=True)
        atoms.rattle(0.05, rng=np.random.RandomState(seed))
        frames.append(atoms)
    write(structures, [*frames, Atoms("Fe", cell=[9, 9, 9], pbc=True)])
    settings = [
        f"steps.atoms.model={model}",
        f"steps.minima.model={model}",
        f"steps.atoms.structures={structures}",
        "steps.minima.fmax=1e-3",
        "steps.minima.max_atoms=8",
    ]
    plan = make_plan(read_workflow(FILE, settings=settings), tmp_path / "runs")
    report = run_plan(plan, SerialProfile(device="cpu"), Silent())
    assert report.failed == {}
    assert report.succeeded
    summary = read_result(plan.steps["minima"].folder)["summary"]
    assert summary["statuses"] == {"converged": 3, "refused": 1}
    assert "Fe" in summary["results"][3]["remedy"]
    minima = read(plan.steps["minima"].folder / "relaxed.xyz", ":")
    assert [len(atoms) for atoms in minima] == [4, 4, 4, 1]
    for atoms in minima[:3]:
        assert atoms.cell.volume ** (1 / 3) == pytest.approx(SPACING, abs=2e-3)
        np.testing.assert_allclose(atoms.get_stress(), 0, atol=1e-4)
    html = (plan.steps["report"].folder / "report.html").read_text(encoding="utf-8")
    assert "3 of 4 structures converged with LBFGS" in html
