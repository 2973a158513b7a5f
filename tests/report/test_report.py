import csv
import re

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.io import read, write

import simkit
from simkit.errors import WorkflowError
from simkit.files import write_json
from simkit.potentials.lennard_jones import LennardJones
from simkit.progress import Silent
from simkit.report import page
from simkit.report.build import build_report
from simkit.report.molecule import draw_atoms, find_bonds
from simkit.workflow.step import Context
from simkit.workflow.steps.evaluate import Evaluate
from simkit.workflow.steps.label import Label
from simkit.workflow.steps.md import MolecularDynamics
from simkit.workflow.steps.relax import Relax


def finished(step, kind, folder, settings=None, summary=None, **inputs):
    """A step's folder as the workflow engine leaves it."""
    folder.mkdir()
    if summary is None:
        summary = step.run(Context(folder, inputs, seed=3, device="cpu", progress=Silent()))
    record = {
        "format": 1, "step": f"my <{kind}>", "kind": kind, "address": "0123456789abcdef", "seed": 3,
        "settings": settings or {}, "summary": summary, "citations": list(step.citations()) if step else [],
        "timings": {"started": "2026-01-01T00:00:00+00:00", "seconds": 12.5, "continued": False},
        "versions": {"simkit": "0"}, "machine": {"host": "h", "platform": "p", "device": "cpu"},
    }  # fmt: skip
    write_json(folder / "result.json", record)
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("results")
    model, start = root / "argon.simkit", root / "start.xyz"
    simkit.save_model(model, LennardJones(epsilon=0.0104, sigma=3.4, cutoff=7.0, elements=(18,)))
    crystal = bulk("Ar", "fcc", a=5.3, cubic=True)
    crystal.rattle(0.05, rng=np.random.RandomState(1))
    write(start, crystal)
    label = Label(structure="s", labeller_model="m", train=3, valid=1, test=3, timestep=5, spacing=20, equilibration=0)
    first = finished(label, "label", root / "label", s=start, m=model)
    table = [{"epoch": e, "stage": 1 + (e > 2), "train_loss": 1 / e, "validation_loss": 2 / e} for e in range(1, 5)]
    summary = {
        "best_epoch": 4, "epochs": 4, "parameters": 10, "elements": "Ar", "training_frames": 3, "validation_frames": 1
    }  # fmt: skip
    train = finished(None, "train", root / "train", {"architecture": {"kind": "mace"}}, summary)
    with (train / "log.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, table[0])
        writer.writeheader()
        writer.writerows(table)
    errors = finished(Evaluate(model="m", data="d"), "evaluate", root / "errors", m=model, d=first / "test.xyz")
    relaxed = finished(Relax(model="m", structures="s"), "relax", root / "relax", m=model, s=first / "test.xyz")
    md = MolecularDynamics(model="m", structure="s", ensemble="nve", timestep=5, steps=20, save_every=5, temperature=30)
    return [first, train, errors, relaxed, finished(md, "md", root / "md", m=model, s=start)]


@pytest.fixture(scope="module")
def html(folders, tmp_path_factory):
    target = tmp_path_factory.mktemp("report") / "report.html"
    summary = build_report(folders, target, title="Argon & friends <1>")
    assert summary == {"steps": 5, "bytes": target.stat().st_size}
    return target.read_text(encoding="utf-8")


def test_the_page_is_whole_and_needs_nothing_else(html):
    assert "<h1>Argon &amp; friends &lt;1&gt;</h1>" in html
    assert "<script" not in html
    assert "@import" not in html
    sources = re.findall(r'src="([^"]{0,30})', html)
    assert all(source.startswith("data:image/") for source in sources)
    # 1 header, 1 learning curve, 3 errors, 3 relaxation, 3 dynamics
    assert len(sources) == 11
    for name in ("label", "train", "evaluate", "relax", "md"):
        assert f"my &lt;{name}&gt;" in html


def test_figures_show_the_first_structure_that_was_not_refused(folders, tmp_path):
    frames = read(folders[0] / "test.xyz", ":")
    frames[0].positions[1] = np.nan
    write(tmp_path / "in.xyz", frames)
    step, model = Relax(model="m", structures="s"), folders[0].parent / "argon.simkit"
    relaxed = finished(step, "relax", tmp_path / "relax", m=model, s=tmp_path / "in.xyz")
    build_report([relaxed], tmp_path / "report.html", title="one refused")
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "The figures show in.xyz, frame 1 (Ar4)." in html
    assert html.count("<img ") == 4


def test_every_picture_is_described(html):
    descriptions = re.findall(r'<img [^>]*alt="([^"]*)"', html)
    assert len(descriptions) == html.count("<img ")
    assert all(len(text) > 20 for text in descriptions)


def test_references_are_listed_once_with_links(html):
    assert html.count('href="https://doi.org/10.1098/rspa.1924.0082"') == 1
    assert html.count('href="https://doi.org/10.1063/1.442716"') == 1


def test_a_folder_without_a_result_is_named(tmp_path):
    with pytest.raises(WorkflowError, match="expected the folder of a finished step"):
        build_report([tmp_path], tmp_path / "report.html")


def test_bonds_of_ethanol_and_of_a_noble_gas():
    ethanol = molecule("CH3CH2OH")
    pairs = {"".join(sorted(ethanol.symbols[list(pair)])) for pair in find_bonds(ethanol)}
    assert len(find_bonds(ethanol)) == 8
    assert pairs == {"CC", "CO", "CH", "HO"}
    assert find_bonds(Atoms("Ar2", [[0, 0, 0], [0, 0, 3.8]])) == []


def test_pictures_do_not_depend_on_where_a_molecule_is():
    ethanol = molecule("CH3CH2OH")
    moved = ethanol.copy()
    moved.translate((3.0, -2.0, 7.0))
    assert draw_atoms(ethanol).description == draw_atoms(moved).description
    assert draw_atoms(Atoms("H")).content.startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (None, "–"), (float("nan"), "–"), (12.345, "12.3"), (0.00123456, "0.00123"), (1234.5, "1234"),
     (-2.5e-7, "−2.50·10⁻⁷"), (17736, "17\u202f736"), ("text", "text")],
)  # fmt: skip
def test_numbers_have_three_digits(value, text):
    assert page.digits(value) == text
