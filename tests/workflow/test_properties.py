"""The workflows of crystal properties, whole, at small size, with Stillinger-Weber silicon."""

from pathlib import Path

import pytest
from ase.io import read

import simkit
from simkit.csv_tables import read_table
from simkit.errors import WorkflowError
from simkit.potentials.stillinger_weber import StillingerWeber
from simkit.progress import Silent
from simkit.workflow.machine import SerialProfile
from simkit.workflow.plan import make_plan
from simkit.workflow.runner import run_plan
from simkit.workflow.schema import read_workflow
from simkit.workflow.store import read_result

FOLDER = Path(__file__).parents[2] / "workflows"


@pytest.fixture
def model(tmp_path):
    simkit.save_model(tmp_path / "silicon.simkit", StillingerWeber.silicon())
    return tmp_path / "silicon.simkit"


def run_small(name, settings, runs):
    plan = make_plan(read_workflow(FOLDER / name, settings=settings), runs)
    report = run_plan(plan, SerialProfile(device="cpu"), Silent())
    assert report.failed == {}
    assert report.succeeded
    return plan, {name: read_result(step.folder)["summary"] for name, step in plan.steps.items()}


def test_elastic_eos(tmp_path, model):
    models = [f"steps.{step}.model={model}" for step in ("volumes", "constants", "clamped")]
    small = ["steps.volumes.points=7", "steps.volumes.crystal.a=5.5"]
    plan, summary = run_small("elastic_eos.yaml", [*models, *small], tmp_path / "runs")
    volumes, constants, clamped = (summary[name] for name in ("volumes", "constants", "clamped"))
    assert volumes["e0_ev_per_atom"] == pytest.approx(-4.3366, abs=1e-4)
    assert (8 * volumes["v0_ang3_per_atom"]) ** (1 / 3) == pytest.approx(5.431, abs=1e-3)
    assert volumes["bulk_modulus_gpa"] == pytest.approx(101.4, abs=0.5)
    assert constants["moduli"]["bulk_gpa"] == pytest.approx(101.4, abs=0.2)
    assert constants["elastic_constants_gpa"][3][3] == pytest.approx(56.4, abs=0.1)
    assert clamped["elastic_constants_gpa"][3][3] == pytest.approx(117.2 * 2.1683 / 2.315, abs=0.2)
    assert constants["stable"]
    assert max(map(abs, constants["stress_without_strain_gpa"])) < 1e-2
    folder = plan.steps["constants"].folder
    assert read_table(folder / "elastic.csv")["xx_gpa"][0] == pytest.approx(151.4, abs=0.1)
    assert len(read_table(plan.steps["volumes"].folder / "equation_of_state.csv")["volume_ang3_per_atom"]) == 7
    assert (folder / "elastic.svg").read_bytes().startswith(b"<?xml")
    html = (plan.steps["report"].folder / "report.html").read_text(encoding="utf-8")
    assert "Equation of state and elastic constants, with the numbers to judge them by." in html
    assert html.count("<img ") == 3


def test_phonons(tmp_path, model):
    pytest.importorskip("phonopy")
    small = ["steps.phonons.size=6", "steps.phonons.mesh_spacing=0.06", "steps.phonons.path_points=40"]
    plan, summary = run_small("phonons.yaml", [f"steps.phonons.model={model}", *small], tmp_path / "runs")
    found = summary["phonons"]
    assert (found["supercell"], found["displaced_supercells"], found["primitive_atoms"]) == ([2, 2, 2], 1, 2)
    assert found["highest_thz"] == pytest.approx(17.83, abs=0.01)
    assert found["highest_per_cm"] == pytest.approx(594.7, abs=0.5)
    assert found["stable"]
    assert found["path"][0] == ["Γ", 0.0]
    folder = plan.steps["phonons"].folder
    heat = read_table(folder / "thermal.csv")
    assert heat["heat_capacity_j_per_k_mol"][-1] == pytest.approx(6 * 8.314, rel=0.05)
    assert heat["temperature_k"][-1] == 1000
    (atoms,) = read(folder / "crystal.xyz", ":")
    assert atoms.cell.lengths()[0] * 2**0.5 == pytest.approx(5.431, abs=1e-3)
    import phonopy

    again = phonopy.load(folder / "phonopy_params.yaml", log_level=0)
    assert again.run_qpoints([[0, 0, 0]]).frequencies[0][-1] == pytest.approx(17.83, abs=0.01)


def test_one_crystal_is_asked_for(tmp_path, model):
    settings = [f"steps.phonons.model={model}", f"steps.phonons.structure={model}"]
    with pytest.raises(WorkflowError, match="exactly one of crystal and structure, found both"):
        read_workflow(FOLDER / "phonons.yaml", settings=settings)
