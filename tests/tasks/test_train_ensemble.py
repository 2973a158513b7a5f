"""From a data file to an ensemble, a shallow ensemble, a variance head."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from ase.io import read

from simkit.datasets.extxyz import write_extxyz
from simkit.datasets.files import open_dataset
from simkit.errors import DataError, Interrupted, SimkitError
from simkit.potentials.model_file import load_model, read_header
from simkit.potentials.painn import PaiNN
from simkit.progress import Silent
from simkit.system import System
from simkit.tasks.train import train_files
from simkit.tasks.train_ensemble import member_seed, train_ensemble
from simkit.training.architectures import PainnArchitecture, Pretrained
from simkit.training.log import read_log
from simkit.training.settings import StageTwo, TrainingSettings
from simkit.training.sources import SplitSettings
from simkit.training.uncertainty import EnsembleTraining, MeanVarianceTraining, ShallowEnsembleTraining
from simkit.uncertainty.ensemble import Ensemble
from simkit.uncertainty.mean_variance import MeanVariance
from simkit.uncertainty.shallow_ensemble import ShallowEnsemble
from tests.training.examples import clusters

TINY = PainnArchitecture(channels=4, layers=1, n_radial=4, cutoff=4.0)
SHORT = TrainingSettings(max_epochs=2, dtype="float64")
GIVEN = {"architecture": TINY, "training": SHORT, "split": SplitSettings(validation=3, test=2)}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write_extxyz(tmp_path / "frames.xyz", clusters(11).frames)
    return tmp_path / "frames.xyz"


class Stops(Silent):
    """Interrupts before a member."""

    def __init__(self, member: int) -> None:
        self.member = member

    def say(self, text: str) -> None:
        if text.startswith(f"member {self.member} "):
            raise Interrupted("stopped")


def weights(path: Path) -> dict[str, torch.Tensor]:
    return load_model(path).state_dict()


def test_members_differ_in_weights_and_order_and_share_the_rest(data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    summary = train_ensemble(data, folder, ensemble=EnsembleTraining(members=2), **GIVEN)
    ensemble = load_model(folder / "model.simkit")
    assert isinstance(ensemble, Ensemble)
    first, second = ensemble.potentials
    assert isinstance(first, PaiNN)
    assert not torch.equal(first.embedding.weight, second.embedding.weight)
    assert torch.equal(first.scale_shift.scale, second.scale_shift.scale)
    assert torch.equal(first.reference.values, second.reference.values)
    splits = [json.loads((folder / f"member-{k}" / "split.json").read_text()) for k in range(2)]
    assert splits[0] == splits[1] == json.loads((folder / "split.json").read_text())
    assert [one["training_frames"] for one in summary["members"]] == [6, 6]
    errors, sigmas = [], []
    for frame in read(folder / "test.xyz", index=":"):
        found = ensemble.predict(System.from_ase(frame))
        assert found.forces is not None
        assert found.force_sigma is not None
        errors.append(found.forces.numpy() - frame.get_forces())
        sigmas.append(found.force_sigma)
    squared = torch.cat([torch.as_tensor(error).square().flatten() for error in errors]).mean()
    assert summary["test_forces_rmse_mev_per_ang"] == pytest.approx(1e3 * float(squared.sqrt()), rel=1e-6)
    predicted = torch.cat(sigmas).square().mean().sqrt()
    assert summary["test_forces_sigma_mev_per_ang"] == pytest.approx(1e3 * float(predicted), rel=1e-6)
    header = read_header(folder / "model.simkit")
    assert header["provenance"]["ensemble"]["members"] == 2
    assert header["metrics"]["test_forces_rmse_mev_per_ang"] == summary["test_forces_rmse_mev_per_ang"]


def test_a_member_is_a_training_of_its_own_and_an_interrupted_run_goes_on(data: Path, tmp_path: Path) -> None:
    settings = EnsembleTraining(members=2)
    with pytest.raises(Interrupted):
        train_ensemble(data, tmp_path / "run", ensemble=settings, progress=Stops(2), **GIVEN)
    assert not (tmp_path / "run" / "model.simkit").exists()
    before = (tmp_path / "run" / "member-0" / "best.ckpt").read_bytes()
    train_ensemble(data, tmp_path / "run", ensemble=settings, **GIVEN)
    assert (tmp_path / "run" / "member-0" / "best.ckpt").read_bytes() == before
    parts = json.loads((tmp_path / "run" / "split.json").read_text())
    frames = open_dataset(data)
    for name in ("train", "validation"):
        write_extxyz(tmp_path / f"{name}.xyz", [frames[index] for index in parts[name]])
    train_files(
        tmp_path / "train.xyz", tmp_path / "alone", architecture=TINY, training=SHORT, seed=member_seed(0, 1),
        validation=tmp_path / "validation.xyz",
    )  # fmt: skip
    alone = weights(tmp_path / "alone" / "model.simkit")
    for name, value in weights(tmp_path / "run" / "member-1" / "model.simkit").items():
        torch.testing.assert_close(value, alone[name], rtol=1e-6, atol=1e-9)


def test_members_that_see_other_frames(data: Path, tmp_path: Path) -> None:
    short = TrainingSettings(max_epochs=1, dtype="float64")
    given = {"architecture": TINY, "training": short, "split": SplitSettings(validation=2)}
    for vary in ("folds", "bootstrap"):
        folder = tmp_path / vary
        train_ensemble(data, folder, ensemble=EnsembleTraining(members=3, vary=vary), **given)
        every = json.loads((folder / "split.json").read_text())["train"]
        own = [json.loads((folder / f"member-{k}" / "split.json").read_text())["train"] for k in range(3)]
        if vary == "folds":
            left_out = [set(every) - set(one) for one in own]
            assert set.union(*left_out) == set(every)
            assert sum(map(len, left_out)) == len(every)
        else:
            assert [len(one) for one in own] == [len(every)] * 3
            assert all(set(one) < set(every) for one in own)
            assert own[0] != own[1]
    with pytest.raises(DataError, match="at least 20 groups"):
        train_ensemble(data, tmp_path / "many", ensemble=EnsembleTraining(members=20, vary="folds"), **given)


def test_together(data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    summary = train_ensemble(data, folder, ensemble=EnsembleTraining(members=3, together=True), **GIVEN)
    ensemble = load_model(folder / "model.simkit")
    assert isinstance(ensemble, Ensemble)
    assert ensemble.n_members == 3
    assert len(read_log(folder / "together" / "log.csv")) == 2
    assert summary["members"][0]["test_forces_rmse_mev_per_ang"] == pytest.approx(
        summary["test_forces_rmse_mev_per_ang"], rel=1e-6
    )


def test_settings_that_do_not_go_together(data: Path, tmp_path: Path) -> None:
    with pytest.raises(SimkitError, match="together: false"):
        train_ensemble(data, tmp_path, ensemble=EnsembleTraining(vary="folds", together=True), **GIVEN)
    both = {"ensemble": EnsembleTraining(together=True), "uncertainty": MeanVarianceTraining()}
    with pytest.raises(SimkitError, match="trained apart"):
        train_ensemble(data, tmp_path, **both, **GIVEN)
    second = TrainingSettings(max_epochs=3, stage_two=StageTwo(start_epoch=1))
    with pytest.raises(SimkitError, match="remove stage_two"):
        ShallowEnsembleTraining().training(second)
    with pytest.raises(SimkitError, match="leaves none"):
        ShallowEnsembleTraining(warm_up=0.9).training(SHORT)


def test_a_shallow_ensemble_from_scratch_and_fine_tuned(data: Path, tmp_path: Path) -> None:
    heads = ShallowEnsembleTraining(heads=3, warm_up=0.5)
    summary = train_files(data, tmp_path / "new", uncertainty=heads, **GIVEN)
    assert summary["epochs"] == 2
    assert [row["stage"] for row in read_log(tmp_path / "new" / "log.csv")] == [1, 2]
    found = load_model(tmp_path / "new" / "model.simkit")
    assert isinstance(found, ShallowEnsemble)
    assert found.n_members == 3
    train_files(data, tmp_path / "plain", **GIVEN)
    for name, kind in (("plain", PaiNN), ("new", PaiNN)):
        given = GIVEN | {"architecture": Pretrained(model=str(tmp_path / name / "model.simkit"))}
        tuned = ShallowEnsembleTraining(heads=4, warm_up=0)
        train_files(data, tmp_path / f"{name}-tuned", uncertainty=tuned, **given)
        again = load_model(tmp_path / f"{name}-tuned" / "model.simkit")
        assert isinstance(again, ShallowEnsemble)
        assert isinstance(again.potential, kind)
        assert again.n_members == (4 if name == "plain" else 3)
        assert [row["stage"] for row in read_log(tmp_path / f"{name}-tuned" / "log.csv")] == [1, 1]


def test_an_ensemble_with_variance_heads(data: Path, tmp_path: Path) -> None:
    uncertainty = MeanVarianceTraining(warm_up=0.5)
    train_ensemble(data, tmp_path / "run", ensemble=EnsembleTraining(members=2), uncertainty=uncertainty, **GIVEN)
    found = load_model(tmp_path / "run" / "model.simkit")
    assert isinstance(found, Ensemble)
    assert all(isinstance(member, MeanVariance) for member in found.potentials)
