"""The scripts in docs/ase.md run, one after another, as a reader would paste them."""

import re
from pathlib import Path

import ase.io
import numpy as np
import pytest

from simkit.potentials.model_file import save_model
from simkit.potentials.stillinger_weber import StillingerWeber

PAGE = Path(__file__).parents[2] / "docs" / "ase.md"


def test_scripts_of_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("phonopy")
    pytest.importorskip("tad_dftd3")
    monkeypatch.chdir(tmp_path)
    save_model("model.simkit", StillingerWeber.silicon())
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    assert len(blocks) == 7
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, PAGE.name, "exec"), names)
    assert len(ase.io.read("md.traj", ":")) == 5
    frequencies = names["phonon"].run_qpoints([[0, 0, 0]]).frequencies[0]
    assert frequencies[-1] == pytest.approx(17.83, abs=0.01)
    assert np.isfinite(names["atoms"].get_potential_energy())
