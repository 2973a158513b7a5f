"""The Python of the page on analysis runs, block after block."""

import re
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from ase.io import write

import simkit
from simkit.csv_tables import write_table
from simkit.potentials.stillinger_weber import StillingerWeber

PAGE = Path(__file__).parents[2] / "docs" / "analysis.md"


def test_blocks(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    frames = []
    for index in range(8):
        atoms = bulk("Si", cubic=True).repeat(2)
        atoms.rattle(0.02, rng=rng)
        atoms.info["time_fs"] = 10.0 * index
        frames.append(atoms)
    write("trajectory.xyz", frames)
    write_table("log.csv", {"step": np.arange(64), "pressure_gpa": rng.normal(1.0, 0.1, size=64)})
    simkit.save_model("model.simkit", StillingerWeber.silicon())
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), names)
    assert len(blocks) == 2
    assert names["pressure"].mean == pytest.approx(1, abs=0.06)
    assert names["found"].matrix[3, 3] == pytest.approx(56.4, abs=0.1)
