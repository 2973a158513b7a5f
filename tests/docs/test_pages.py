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
from ase.build import molecule
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from typer.testing import CliRunner

from simkit.cli import app
from simkit.potentials.mace import MACE
from simkit.potentials.model_file import read_header, save_model
from simkit.potentials.stillinger_weber import StillingerWeber

ROOT = Path(__file__).parents[2]


def run_page(page: str, count: int, replacements: dict[str, str] | None = None) -> dict[str, object]:
    """Run the page's ``python`` blocks in one namespace; ``replacements`` make them short."""
    text = (ROOT / page).read_text(encoding="utf-8")
    for long, short in (replacements or {}).items():
        assert long in text
        text = text.replace(long, short)
    blocks = re.findall(r"^```python\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    assert len(blocks) == count
    names: dict[str, object] = {}
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
    names = run_page("README.md", 2, {"run(10_000)": "run(2)"})
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
    names = run_page("docs/potentials.md", 1, {own.group(): ""})
    assert names["prediction"].energy.shape == (2,)  # type: ignore[attr-defined]


def test_ase(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("phonopy")
    pytest.importorskip("tad_dftd3")
    monkeypatch.chdir(tmp_path)
    save_model("model.simkit", StillingerWeber.silicon())
    names = run_page("docs/ase.md", 7)
    assert len(ase.io.read("md.traj", ":")) == 5
    frequencies = names["phonon"].run_qpoints([[0, 0, 0]]).frequencies[0]  # type: ignore[attr-defined]
    assert frequencies[-1] == pytest.approx(17.83, abs=0.01)
    assert np.isfinite(names["atoms"].get_potential_energy())  # type: ignore[attr-defined]
