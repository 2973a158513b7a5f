"""The Python of the README and the guides runs, block after block, as a reader would paste it."""

from __future__ import annotations

import re
from pathlib import Path

import ase.io
import numpy as np
import pytest
import torch
from ase.build import molecule

from simkit.potentials.mace import MACE
from simkit.potentials.model_file import save_model
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
