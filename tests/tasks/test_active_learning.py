"""Active learning at small size: copper clusters labelled by EMT."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator

import simkit
from simkit.csv_tables import read_table
from simkit.errors import DataError, SimkitError
from simkit.progress import Progress, Silent
from simkit.tasks.active_choice import evenly, is_possible
from simkit.tasks.active_learning import learn_actively
from simkit.tasks.active_settings import Learning
from simkit.tasks.frames import read_frames, write_frames
from simkit.tasks.labellers import make_labeller
from simkit.training.architectures import PainnArchitecture
from simkit.training.settings import Constant, OptimiserSettings, TrainingSettings
from simkit.uncertainty.calibrated import Calibrated

SMALL: dict[str, Any] = {
    "labeller": "emt",
    "architecture": PainnArchitecture(cutoff=3.5, channels=4, layers=1, n_radial=4),
    "training": TrainingSettings(
        max_epochs=8,
        batch_size=4,
        dtype="float64",
        schedule=Constant(),
        optimiser=OptimiserSettings(learning_rate=5e-3),
    ),
}
SHORT = SMALL | {"training": SMALL["training"].model_copy(update={"max_epochs": 1})}
LEARNING = Learning(
    members=2, rounds=1, batch=3, fresh=4, walkers=4, steps=20, timestep=2.0, temperatures=(300.0, 600.0), save_every=4
)


class Quiet(Progress):
    """Keeps what is said; may end the work at a given report."""

    def __init__(self, left: int = -1) -> None:
        self.left, self.said = left, list[str]()

    def task(self, title: str, total: int, done: int = 0) -> Any:
        return self

    def __enter__(self) -> Quiet:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def advance(self, parts: int = 1, note: str = "") -> None:
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt

    def say(self, text: str) -> None:
        self.said.append(text)


def cluster(random: np.random.Generator) -> Atoms:
    atoms = Atoms("Cu4", [[0, 0, 0], [2.4, 0, 0], [1.2, 2.1, 0], [1.2, 0.7, 2.0]])
    atoms.positions += 0.08 * random.normal(size=(4, 3))
    atoms.calc = EMT()
    labels = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces()}
    atoms.calc = SinglePointCalculator(atoms, **labels)
    return atoms


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "first.xyz"
    random = np.random.default_rng(0)
    write_frames(path, [cluster(random) for _ in range(10)])
    return path


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, data: Path) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("learned")
    return folder, learn_actively(data, folder, learning=LEARNING, test=data, progress=Quiet(), **SMALL)


def test_rounds_add_what_was_labelled(finished: tuple[Path, dict[str, Any]], data: Path) -> None:
    folder, summary = finished
    rows = summary["rounds"]
    assert [row["round"] for row in rows] == [0, 1]
    assert rows[0]["training_frames"] + rows[0]["validation_frames"] == 10
    assert all(row["fresh_frames"] == 4 and row["chosen_frames"] <= 3 for row in rows)
    known = [row["training_frames"] + row["validation_frames"] for row in rows]
    assert known[1] == known[0] + rows[0]["fresh_frames"] + rows[0]["chosen_frames"]
    labelled = list(read_frames(folder / "labelled.xyz"))
    assert len(labelled) == known[1] + rows[1]["fresh_frames"] == summary["labels"]
    assert not (folder / "round1" / "chosen.xyz").exists()
    places = {one.positions.tobytes() for one in labelled}
    assert len(places) == len(labelled)
    for one in list(read_frames(folder / "round0" / "fresh.xyz")):
        again = one.copy()
        again.calc = EMT()
        np.testing.assert_allclose(one.get_forces(), again.get_forces(), atol=1e-6)
        assert one.info["group"].startswith("round 0, walker ")
    assert summary["status"] == "rounds done"
    table = read_table(folder / "rounds.csv")
    assert table["fresh_forces_rmse_mev_per_ang"][1] == rows[1]["fresh_forces_rmse_mev_per_ang"]
    assert all(np.isfinite(row["test_forces_rmse_mev_per_ang"]) for row in rows)
    model = simkit.load_model(folder / "model.simkit")
    assert isinstance(model, Calibrated)


def test_members_go_on_from_the_round_before(finished: tuple[Path, dict[str, Any]]) -> None:
    """Eight more epochs of few frames change weights a little, new ones would be elsewhere."""
    folder, _ = finished
    models = [[simkit.load_model(folder / f"round{r}" / f"member{m}" / "model.simkit") for m in (0, 1)] for r in (0, 1)]

    def distance(one: Any, two: Any) -> float:
        pairs = zip(one.parameters(), two.parameters(), strict=True)
        return float(sum((a - b).detach().square().sum() for a, b in pairs)) ** 0.5

    assert 0 < distance(models[0][0], models[1][0]) < 0.5 * distance(models[1][0], models[1][1])


def test_done_rounds_are_not_done_again_and_more_may_follow(
    finished: tuple[Path, dict[str, Any]], data: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "again"
    shutil.copytree(finished[0], folder)
    before = {path: path.stat().st_mtime_ns for path in folder.glob("round*/**/*") if path.is_file()}
    again = learn_actively(data, folder, learning=LEARNING, test=data, progress=Quiet(), **SMALL)
    assert again == finished[1]
    assert {path: path.stat().st_mtime_ns for path in before} == before
    with pytest.raises(SimkitError, match=r"other settings \(learning.batch: 3 there, 5 now\)"):
        learn_actively(data, folder, learning=replace(LEARNING, batch=5), progress=Silent(), **SMALL)


@pytest.mark.parametrize("reports", [6, 30])
def test_a_killed_run_continues_to_the_same_result(
    finished: tuple[Path, dict[str, Any]], data: Path, tmp_path: Path, reports: int
) -> None:
    """Wherever it was interrupted: in a training, in an exploration, between labels."""
    learning = replace(LEARNING, rounds=1)
    with pytest.raises(BaseException, match=r"|interrupt"):
        learn_actively(data, tmp_path, learning=learning, test=data, progress=Quiet(reports), **SMALL)
    summary = learn_actively(data, tmp_path, learning=learning, test=data, progress=Quiet(), **SMALL)
    for name in ("fresh_forces_rmse_mev_per_ang", "test_forces_rmse_mev_per_ang"):
        found, expected = ([row[name] for row in one["rounds"]] for one in (summary, finished[1]))
        assert found == pytest.approx(expected, rel=1e-6)


def test_it_ends_when_the_target_is_reached(data: Path, tmp_path: Path) -> None:
    easy = replace(LEARNING, target=100.0, rounds=3)
    summary = learn_actively(data, tmp_path, learning=easy, progress=Quiet(), **SHORT)
    assert summary["status"] == "target reached"
    assert len(summary["rounds"]) == 1


def test_frames_that_the_method_fails_on_are_left_out(data: Path, tmp_path: Path) -> None:
    class Moody(EMT):
        calls = 0

        def calculate(self, *arguments: Any, **keywords: Any) -> None:
            Moody.calls += 1
            if Moody.calls == 2:
                raise RuntimeError("no convergence")
            super().calculate(*arguments, **keywords)

    method = replace(make_labeller("emt"), make_calculator=Moody)
    progress = Quiet()
    settings = SHORT | {"labeller": method}
    summary = learn_actively(data, tmp_path, learning=replace(LEARNING, target=100.0), progress=progress, **settings)
    assert summary["rounds"][0]["fresh_frames"] == 3
    assert any("no convergence" in text for text in progress.said)


def test_choices() -> None:
    walkers = [0] * 10 + [1] * 3 + [2] * 2
    chosen = evenly(walkers, 6, np.random.default_rng(0))
    assert sorted(walkers[index] for index in chosen) == [0, 0, 1, 1, 2, 2]
    assert len(set(chosen)) == 6
    pair = Atoms("Cu2", [[0, 0, 0], [0, 0, 1.0]])
    assert not is_possible(pair, 0.5)  # 2.64 Å is the sum of the radii
    assert is_possible(pair, 0.3)
    crystal = Atoms("Cu", cell=[1.0, 5, 5], pbc=True)
    assert is_possible(crystal, 0.5)


def test_bad_settings(data: Path, tmp_path: Path) -> None:
    with pytest.raises(SimkitError, match="expected members of at least 2, found 1"):
        learn_actively(data, tmp_path, learning=replace(LEARNING, members=1), **SMALL)
    with pytest.raises(SimkitError, match="absurd above 1"):
        learn_actively(data, tmp_path, learning=replace(LEARNING, absurd=0.5), **SMALL)
    write_frames(tmp_path / "few.xyz", list(read_frames(data))[:3])
    with pytest.raises(DataError, match="at least 5 labelled frames to begin with, found 3"):
        learn_actively(tmp_path / "few.xyz", tmp_path / "x", learning=LEARNING, **SMALL)
