"""Sections of a report about analyses: their numbers, and pictures that are drawn from their tables."""

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.io import write

import simkit
from simkit.potentials.lennard_jones import LennardJones
from simkit.progress import Silent
from simkit.report.analysis_section import ANALYSES, analysis_section
from simkit.report.results import Result
from simkit.workflow.kinds import KINDS, load_class
from simkit.workflow.step import Context


@pytest.fixture
def folder(tmp_path):
    """A trajectory, a log, a model, a crystal and the ends of a path."""
    rng = np.random.default_rng(0)
    frames = []
    for index in range(40):
        atoms = Atoms("Ar4", rng.random((4, 3)) * 8, cell=[8] * 3, pbc=True)
        atoms.positions = np.array([[1, 1, 1], [5, 1, 1], [1, 5, 1], [5, 5, 5]]) + rng.normal(scale=0.1, size=(4, 3))
        atoms.set_velocities(rng.normal(size=(4, 3)))
        atoms.info["time_fs"] = 10.0 * index
        frames.append(atoms)
    write(tmp_path / "run.xyz", frames)
    rows = "".join(f"{index},{value!r},3.0\n" for index, value in enumerate(rng.normal(size=64).tolist()))
    (tmp_path / "log.csv").write_text("step,energy_ev,volume_ang3\n" + rows)
    simkit.save_model(tmp_path / "model.simkit", LennardJones(0.0104, 3.4, 6.0))
    crystal = bulk("Ar", "fcc", a=5.25)
    write(tmp_path / "crystal.xyz", crystal)
    for name, x in (("first", 1.0), ("last", 5.0)):
        write(tmp_path / f"{name}.xyz", Atoms("Ar3", [[0, 0, 0], [6, 0, 0], [x, 4, 0]], cell=[12] * 3, pbc=True))
    return tmp_path


SETTINGS = {
    "rdf": {"trajectories": ["run.xyz"], "bins": 10},
    "diffusion": {"trajectories": ["run.xyz"]},
    "spectrum": {"trajectories": ["run.xyz"], "resolution": 8.0, "blocks": 2},
    "averages": {"log": "log.csv"},
    "equation_of_state": {"model": "model.simkit", "structure": "crystal.xyz", "points": 5, "volume_range": 0.03},
    "elastic": {"model": "model.simkit", "structure": "crystal.xyz", "relax": False, "relax_atoms": False},
    "phonons": {"model": "model.simkit", "structure": "crystal.xyz", "size": 6, "path_points": 20, "mesh_spacing": 0.1},
    "neb": {"model": "model.simkit", "initial": "first.xyz", "final": "last.xyz", "images": 1, "max_steps": 1},
}
WORDS = {
    "rdf": "highest peak of Ar-Ar",
    "diffusion": "diffusion coefficient of Ar, without meaning",
    "spectrum": "1/cm",
    "averages": "energy_ev",
    "equation_of_state": "bulk modulus",
    "elastic": "C44",
    "phonons": "zero-point energy",
    "neb": "barrier of the way back",
}


@pytest.mark.parametrize("kind", ANALYSES)
def test_every_analysis_has_a_section(folder, kind):
    if kind == "phonons":
        pytest.importorskip("phonopy")
    step = load_class(KINDS[kind])(**SETTINGS[kind])
    out = folder / "out"
    out.mkdir()
    summary = step.run(Context(out, _Files(folder), seed=0, device="cpu", progress=Silent()))
    assert all((out / name).stat().st_size for name in step.produces)
    record = {"step": "mine", "kind": kind, "summary": summary}
    html = analysis_section(Result(out, record))
    assert f"{ANALYSES[kind][0]}: mine" in html
    assert WORDS[kind] in html
    assert html.count("<img ") == sum(name.endswith(".svg") for name in step.produces)


class _Files(dict[str, Path]):
    """Absolute paths of files in a folder."""

    def __init__(self, folder):
        super().__init__()
        self.folder = folder

    def __missing__(self, name):
        return self.folder / name
