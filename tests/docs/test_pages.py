"""The Python of the README and the guides runs, block after block, as a reader would paste it."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import ase.io
import numpy as np
import pytest
import torch
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from typer.testing import CliRunner

from simkit.calculator import Calculator
from simkit.cli import app
from simkit.potentials.lennard_jones import LennardJones
from simkit.potentials.mace import MACE
from simkit.potentials.model_file import read_header, save_model
from simkit.potentials.stillinger_weber import StillingerWeber
from simkit.progress import Silent
from simkit.system import System
from simkit.tasks.dynamics import run_md
from simkit.workflow.machine import SerialProfile
from simkit.workflow.plan import make_plan
from simkit.workflow.runner import run_plan
from simkit.workflow.schema import read_workflow

ROOT = Path(__file__).parents[2]


def run_page(
    page: str, count: int, replacements: dict[str, str] | None = None, names: dict[str, object] | None = None
) -> dict[str, object]:
    """Run the page's ``python`` blocks in one namespace of ``names``; ``replacements`` make them short."""
    text = (ROOT / page).read_text(encoding="utf-8")
    for long, short in (replacements or {}).items():
        assert long in text
        text = text.replace(long, short)
    blocks = re.findall(r"^```python\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    assert len(blocks) == count
    names = dict(names or {})
    for block in blocks:
        exec(compile(block, page, "exec"), names)
    return names


@pytest.fixture
def small_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A float32 MACE, as training leaves it, in ``model.simkit``."""
    monkeypatch.chdir(tmp_path)
    model = MACE(elements=[1, 6, 8], cutoff=3.0, hidden_irreps="2x0e", max_ell=1, correlation=1, radial_mlp=[4])
    save_model("model.simkit", model.to(torch.float32))


@pytest.mark.usefixtures("small_model")
def test_readme() -> None:
    ase.io.write("start.xyz", molecule("CH3CH2OH"))
    names = run_page("README.md", 3, {"run(10_000)": "run(2)"})
    prediction = names["prediction"]
    assert prediction.energy.shape == (2,)  # type: ignore[attr-defined]
    assert prediction.forces.shape == (15, 3)  # type: ignore[attr-defined]


@pytest.fixture
def water(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Labelled frames of vibrating water in ``frames.xyz``."""
    monkeypatch.chdir(tmp_path)
    generator, frames = np.random.default_rng(0), []
    for _ in range(15):
        atoms = molecule("H2O")
        atoms.rattle(0.05, rng=generator)
        atoms.calc = EMT()
        labels = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces()}
        atoms.calc = SinglePointCalculator(atoms, **labels)
        frames.append(atoms)
    ase.io.write("frames.xyz", frames)


@pytest.mark.usefixtures("water")
def test_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = 'hidden_irreps="2x0e", max_ell=1, correlation=1, radial_mlp=(4,)'
    shorter = {"max_epochs=200": "max_epochs=2", 'hidden_irreps="64x0e + 64x1o"': small}
    names = run_page("docs/training.md", 3, shorter)
    assert names["summary"]["epochs"] == 2  # type: ignore[index]
    model, again = names["model"], names["again"]
    assert type(again) is type(model) is names["PairNetwork"]
    assert all(torch.equal(value, again.state_dict()[key]) for key, value in model.state_dict().items())  # type: ignore[attr-defined]
    atoms = molecule("H2O")
    atoms.calc = names["calculator"]
    assert np.abs(atoms.get_forces()).max() > 0

    install(tmp_path, block("docs/training.md", "python", "# pairs.py"), block("docs/training.md", "toml", "[project]"))
    monkeypatch.syspath_prepend(str(tmp_path))
    settings = block("docs/training.md", "yaml", "# pairs.yaml")
    Path("pairs.yaml").write_text(settings.replace("max_epochs: 200", "max_epochs: 2"))
    commands = ("train pairs.yaml -o out", "evaluate out/model.simkit frames.xyz -o errors.json",
                "predict pairs.simkit frames.xyz -o predicted.xyz", "info out/model.simkit")  # fmt: skip
    for command in commands:
        result = CliRunner().invoke(app, command.split())
        assert result.exit_code == 0, result.output
    header = read_header("out/model.simkit")
    assert header["potential"]["kind"] == "pair-network"
    assert header["potential"]["config"]["width"] == 16
    assert header["potential"]["config"]["scale"] != 1.0
    trained = header["metrics"]["validation_forces_mae_mev_per_ang"]
    assert 0 < json.loads(Path("errors.json").read_text())["forces_mae_mev_per_ang"] < 10 * trained


def block(page: str, language: str, start: str) -> str:
    """The block of a page that begins so."""
    text = (ROOT / page).read_text(encoding="utf-8")
    (found,) = re.findall(rf"^```{language}\n({re.escape(start)}.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    return found


def install(folder: Path, code: str, project: str) -> None:
    """What pip leaves of a package of one module."""
    facts = tomllib.loads(project)["project"]
    (folder / f"{facts['name']}.py").write_text(code)
    metadata = folder / f"{facts['name']}-{facts['version']}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {facts['name']}\nVersion: {facts['version']}\n")
    groups = [
        f"[{group}]\n" + "".join(f"{name} = {target}\n" for name, target in points.items())
        for group, points in facts["entry-points"].items()
    ]
    (metadata / "entry_points.txt").write_text("\n".join(groups))


@pytest.mark.usefixtures("small_model")
def test_potentials() -> None:
    pytest.importorskip("tad_dftd3")
    text = (ROOT / "docs" / "potentials.md").read_text(encoding="utf-8")
    own = re.search(r"^```python\nclass TestMyPotential.*?^```$", text, flags=re.MULTILINE | re.DOTALL)
    assert own is not None
    names = run_page("docs/potentials.md", 2, {own.group(): ""})
    assert names["prediction"].energy.shape == (2,)  # type: ignore[attr-defined]


def test_ase(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("phonopy")
    pytest.importorskip("tad_dftd3")
    monkeypatch.chdir(tmp_path)
    save_model("model.simkit", StillingerWeber.silicon())
    names = run_page("docs/ase.md", 8)
    assert len(ase.io.read("md.traj", ":")) == 5
    frequencies = names["phonon"].run_qpoints([[0, 0, 0]]).frequencies[0]  # type: ignore[attr-defined]
    assert frequencies[-1] == pytest.approx(17.83, abs=0.01)
    assert np.isfinite(names["atoms"].get_potential_energy())  # type: ignore[attr-defined]


def test_tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save_model("model.simkit", StillingerWeber.silicon())
    ase.io.write("start.xyz", bulk("Si", cubic=True))
    run_md("model.simkit", "start.xyz", "md", steps=20)
    potential, system = StillingerWeber.silicon(), System.from_ase([bulk("Si", a=5.5)])
    names = run_page("docs/tasks.md", 3, names={"potential": potential, "systems": [system]})
    assert names["positions"].shape == (3, 8, 3)  # type: ignore[attr-defined]
    assert names["result"].finished  # type: ignore[attr-defined]


def test_dynamics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The script, the loop and the workflow end with the same positions, to the digits of the structure file."""
    pytest.importorskip("h5py")
    monkeypatch.chdir(tmp_path)
    save_model("model.simkit", StillingerWeber.silicon())
    names = run_page("docs/dynamics.md", 8, {"result = integrate": "final = state\nresult = integrate"})
    script = names["atoms"].positions  # type: ignore[attr-defined]
    np.testing.assert_allclose(names["final"].system.positions, script, atol=1e-9)  # type: ignore[attr-defined]
    text = (ROOT / "docs" / "dynamics.md").read_text(encoding="utf-8")
    workflow = re.search(r"^```yaml\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    assert workflow is not None
    Path("silicon.yaml").write_text(workflow.group(1), encoding="utf-8")
    plan = make_plan(read_workflow(Path("silicon.yaml")), tmp_path / "runs")
    assert run_plan(plan, SerialProfile(device="cpu"), Silent()).succeeded
    last = ase.io.read(plan.steps["dynamics"].folder / "final.xyz")
    np.testing.assert_allclose(last.positions, script, atol=1e-7)
    assert names["series"].finished  # type: ignore[attr-defined]


def test_uncertainty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    members = {"one": 0.0100, "two": 0.0104, "three": 0.0110}
    for name, epsilon in members.items():
        save_model(f"{name}.simkit", LennardJones(epsilon, 3.4, 6.0))
    for seed, name in enumerate(("calibration", "test")):
        frames = []
        for index in range(12):
            atoms = bulk("Ar", "fcc", a=5.3, cubic=True)
            atoms.rattle(0.1, rng=np.random.default_rng([seed, index]))
            atoms.info["group"] = f"{name} {index}"
            calculator = Calculator(LennardJones(0.0105 + 0.0005 * (-1) ** index, 3.4, 6.0))
            labels = {"energy": calculator.get_potential_energy(atoms), "forces": calculator.get_forces(atoms)}
            atoms.calc = SinglePointCalculator(atoms, **labels)
            frames.append(atoms)
        ase.io.write(f"{name}.xyz", frames)
    names = run_page("docs/uncertainty.md", 2, {"ConformalSettings(),": "ConformalSettings(), repeats=2,"})
    prediction, summary = names["prediction"], names["summary"]
    assert prediction.samples.energy.shape == (3, 1)  # type: ignore[attr-defined]
    assert float(prediction.force_sigma.min()) > 0  # type: ignore[attr-defined]
    assert summary["calibration_groups"] == 12  # type: ignore[index]
    header = read_header("calibrated/model.simkit")
    assert header["potential"]["kind"] == "conformal"
