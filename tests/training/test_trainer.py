"""The training loop: what it learns, how it ends and what it refuses."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from simkit.datasets.base import Labels
from simkit.datasets.combine import MemoryDataset
from simkit.errors import DataError, SimkitError
from simkit.evaluation import evaluate
from simkit.potentials.lennard_jones import LennardJones
from simkit.potentials.painn import PaiNN
from simkit.training.checkpoint import load_checkpoint
from simkit.training.log import read_log
from simkit.training.settings import (
    Constant,
    Cosine,
    LossSettings,
    OptimiserSettings,
    Plateau,
    StageTwo,
    TrainingSettings,
)
from simkit.training.trainer import Trainer
from tests.training.examples import EPSILON, SIGMA, clusters, crystals, guess, triangles, without
from tests.training.running import small_painn


def settings(**changes) -> TrainingSettings:
    values = {
        "max_epochs": 3,
        "dtype": "float64",
        "optimiser": OptimiserSettings(learning_rate=0.01, weight_decay=0),
        "schedule": Constant(),
    }
    return TrainingSettings(**values | changes)


def few_steps(steps: int, learning_rate: float = 0.05, **changes) -> TrainingSettings:
    """Full batches and a learning rate that falls to zero, for problems that are solved in a few dozen steps."""
    values = {
        "max_epochs": steps,
        "batch_size": 10,
        "validate_every": steps,
        "ema": None,
        "optimiser": OptimiserSettings(learning_rate=learning_rate, weight_decay=0, betas=(0.8, 0.99), amsgrad=False),
        "schedule": Cosine(final=0.0),
    }
    return settings(**values | changes)


def require_recovered(potential: LennardJones) -> None:
    assert potential.epsilon.item() == pytest.approx(EPSILON, abs=2e-3)
    assert potential.sigma.item() == pytest.approx(SIGMA, abs=2e-3)


def test_recovers_the_parameters_that_made_the_labels(tmp_path: Path) -> None:
    potential = guess()
    outcome = Trainer(potential, clusters(6), clusters(2, 1), few_steps(60), tmp_path).fit()
    require_recovered(potential)
    assert (outcome.reason, outcome.epochs) == ("max_epochs", 60)


def test_learns_from_stress_alone(tmp_path: Path) -> None:
    potential = guess()
    loss = LossSettings(energy=0, forces=0, stress=1e5)
    Trainer(potential, crystals(2), crystals(1), few_steps(45, loss=loss), tmp_path).fit()
    require_recovered(potential)


def test_frames_without_some_labels_train_on_the_others(tmp_path: Path) -> None:
    frames = clusters(6).frames
    mixed = [without(frame, "energy" if index % 2 else "forces") for index, frame in enumerate(frames)]
    potential = guess()
    Trainer(potential, MemoryDataset(mixed), clusters(2, 1), few_steps(60), tmp_path).fit()
    require_recovered(potential)


def test_a_network_learns_ten_frames_by_heart(tmp_path: Path) -> None:
    frames = triangles(10)
    labels = torch.cat([frame.labels.forces for frame in frames.frames])
    potential = PaiNN([18], cutoff=4.0, channels=16, layers=1, n_radial=8)
    chosen = few_steps(70, 0.02, loss=LossSettings(energy=10, forces=100), clip=None)
    outcome = Trainer(potential, frames, frames, chosen, tmp_path).fit()
    assert outcome.errors["forces_rmse_mev_per_ang"] < 1e3 * float(labels.square().mean().sqrt()) / 20


def test_molecules_and_crystals_with_stress_in_one_batch(tmp_path: Path) -> None:
    frames = MemoryDataset([*clusters(2).frames, *crystals(2).frames])
    loss = LossSettings(energy=1, forces=10, stress=1e4)
    trainer = Trainer(guess(), frames, frames, settings(max_epochs=1, loss=loss), tmp_path)
    trainer.fit()
    assert all(bool(torch.isfinite(parameter.grad)) for parameter in trainer.parameters)


def test_a_batch_without_labels_changes_nothing_but_momentum(tmp_path: Path) -> None:
    labelled, empty = clusters(1).frames[0], replace(clusters(2).frames[1], labels=Labels())
    trainer = Trainer(guess(), MemoryDataset([labelled, empty]), clusters(2), settings(batch_size=1), tmp_path)
    assert math.isfinite(trainer.fit().best_loss)


def test_stage_two_changes_weights_and_learning_rate(tmp_path: Path) -> None:
    second = StageTwo(start_epoch=2, energy=1000, forces=0, learning_rate=0.0005, average="uniform")
    trainer = Trainer(guess(), clusters(6), clusters(3, 1), settings(max_epochs=4, stage_two=second), tmp_path)
    outcome = trainer.fit()
    rows = read_log(tmp_path / "log.csv")
    assert [row["stage"] for row in rows] == [1, 1, 2, 2]
    assert [row["learning_rate"] for row in rows] == [0.01, 0.01, 0.0005, 0.0005]
    energy = rows[2]["validation_energy_rmse_mev_per_atom"] / 1000
    assert rows[2]["validation_loss"] == pytest.approx(1000 * energy**2, rel=1e-9)
    forces, energy = (
        rows[1][f"validation_{name}"] / 1e3 for name in ("forces_rmse_mev_per_ang", "energy_rmse_mev_per_atom")
    )
    assert rows[1]["validation_loss"] == pytest.approx(100 * forces**2 + energy**2, rel=1e-9)
    assert outcome.best_epoch >= 3
    assert trainer.average is not None
    assert (trainer.average.decay, trainer.average.updates) == (None, 4)


def test_early_stop_ends_stage_one_and_then_training(tmp_path: Path) -> None:
    hopeless = OptimiserSettings(learning_rate=1e-12, weight_decay=0)
    second = StageTwo(start_epoch=50, learning_rate=1e-12)
    chosen = settings(max_epochs=60, early_stop=2, stage_two=second, ema=None, optimiser=hopeless)
    potential = LennardJones(EPSILON, SIGMA, 5.0)  # it starts at the minimum, and can only leave it
    outcome = Trainer(potential, clusters(4), clusters(3, 1), chosen, tmp_path).fit()
    rows = read_log(tmp_path / "log.csv")
    assert outcome.reason == "early_stop"
    assert outcome.epochs < 20
    assert {row["stage"] for row in rows} == {1, 2}


def test_hours_end_training_in_good_order(tmp_path: Path) -> None:
    potential = guess()
    outcome = Trainer(potential, clusters(6), clusters(3, 1), settings(max_hours=1e-9), tmp_path).fit()
    assert outcome.reason == "max_hours"
    assert outcome.epochs == 0
    assert math.isfinite(outcome.best_loss)
    continued = Trainer(guess(), clusters(6), clusters(3, 1), settings(max_hours=1.0), tmp_path).fit()
    straight = Trainer(guess(), clusters(6), clusters(3, 1), settings(), tmp_path / "straight").fit()
    assert continued.best_loss == straight.best_loss


def test_the_potential_ends_with_the_best_averaged_weights(tmp_path: Path) -> None:
    potential, validation = guess(), clusters(3, 1)
    trainer = Trainer(potential, clusters(6), validation, settings(max_epochs=6), tmp_path)
    outcome = trainer.fit()
    rows = read_log(tmp_path / "log.csv")
    best = min(rows, key=lambda row: row["validation_loss"])
    assert (outcome.best_epoch, outcome.best_loss) == (best["epoch"], best["validation_loss"])
    errors = trainer.assess(validation)
    assert errors["forces_rmse_mev_per_ang"] == best["validation_forces_rmse_mev_per_ang"]


def test_validation_uses_the_averaged_weights(tmp_path: Path) -> None:
    potential, validation = guess(), clusters(3, 1)
    trainer = Trainer(potential, clusters(6), validation, settings(max_epochs=1, ema=0.5), tmp_path)
    outcome = trainer.fit()
    assert trainer.average is not None
    for parameter, average in zip(trainer.parameters, trainer.average.values, strict=True):
        assert torch.equal(parameter, average)
    last = load_checkpoint(tmp_path / "last.ckpt")["potential"]
    assert not torch.equal(last["epsilon"], potential.epsilon)
    errors = trainer.assess(validation)
    assert {name: errors[name] for name in outcome.errors} == outcome.errors


def test_plateau_lowers_the_learning_rate(tmp_path: Path) -> None:
    hopeless = OptimiserSettings(learning_rate=1e-12, weight_decay=0)
    chosen = settings(max_epochs=6, optimiser=hopeless, schedule=Plateau(factor=0.5, patience=1), ema=None)
    potential = LennardJones(EPSILON, SIGMA, 5.0)  # it starts at the minimum
    Trainer(potential, clusters(4), clusters(3, 1), chosen, tmp_path).fit()
    rates = [row["learning_rate"] for row in read_log(tmp_path / "log.csv")]
    assert rates[0] == 1e-12
    assert rates[-1] <= 0.5e-12
    assert set(rates) <= {1e-12, 0.5e-12, 0.25e-12}


def test_validation_now_and_then(tmp_path: Path) -> None:
    Trainer(guess(), clusters(4), clusters(3, 1), settings(max_epochs=5, validate_every=2), tmp_path).fit()
    rows = read_log(tmp_path / "log.csv")
    assert [row["epoch"] for row in rows if "validation_loss" in row] == [2, 4, 5]


def test_frozen_parameters_stay(tmp_path: Path) -> None:
    potential = guess()
    Trainer(potential, clusters(4), clusters(3, 1), settings(frozen=("sigma",)), tmp_path).fit()
    assert potential.sigma.item() == guess().sigma.item()
    assert potential.epsilon.item() != guess().epsilon.item()


def test_float32(tmp_path: Path) -> None:
    potential = small_painn()
    outcome = Trainer(potential, clusters(4), clusters(3, 1), settings(dtype="float32"), tmp_path).fit()
    assert potential.dtype == torch.float32
    assert math.isfinite(outcome.best_loss)


def test_validation_keeps_no_graph_of_the_parameters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def watched(potential, *arguments, create_graph=False, **options):
        prediction = evaluate(potential, *arguments, create_graph=create_graph, **options)
        wanted = any(parameter.requires_grad for parameter in potential.parameters())
        seen.append((create_graph, wanted, prediction.forces.requires_grad))
        return prediction

    monkeypatch.setattr("simkit.training.objective.evaluate", watched)
    trainer = Trainer(guess(), clusters(4), clusters(3, 1), settings(max_epochs=1), tmp_path)
    trainer.fit()
    assert set(seen) == {(True, True, True), (False, False, False)}
    assert all(parameter.requires_grad for parameter in trainer.parameters)


def test_gradients_are_clipped(tmp_path: Path) -> None:
    trainer = Trainer(guess(), clusters(5), clusters(3, 1), settings(max_epochs=1, clip=1e-3), tmp_path)
    trainer.fit()
    norm = torch.stack([parameter.grad for parameter in trainer.parameters]).norm()
    assert float(norm) == pytest.approx(1e-3, rel=1e-3)


class TestErrors:
    def test_no_frames(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="found 0 and 3"):
            Trainer(guess(), MemoryDataset([]), clusters(3), settings(), tmp_path)

    def test_nan_label(self, tmp_path: Path) -> None:
        frames = clusters(4).frames
        frames[2] = replace(frames[2], labels=replace(frames[2].labels, energy=torch.tensor([torch.nan])))
        with pytest.raises(DataError, match=r"clusters:2: expected finite energy"):
            Trainer(guess(), MemoryDataset(frames), clusters(3), settings(), tmp_path).fit()

    def test_unsupported_element(self, tmp_path: Path) -> None:
        potential = LennardJones(0.2, 2.3, 5.0, elements=(10,))
        with pytest.raises(DataError, match=r"clusters:.: this lennard-jones potential supports Ne"):
            Trainer(potential, clusters(4), clusters(3), settings(), tmp_path).fit()

    def test_atoms_on_top_of_one_another(self, tmp_path: Path) -> None:
        frames = clusters(2).frames
        frames[1].system.positions[1] = frames[1].system.positions[0]
        with pytest.raises(DataError, match=r"clusters:1: atoms 0 and 1 are 0.000 Å apart"):
            Trainer(guess(), MemoryDataset(frames), clusters(3), settings(), tmp_path).fit()

    def test_label_with_a_weight_is_nowhere(self, tmp_path: Path) -> None:
        frames = [without(frame, "forces") for frame in clusters(4).frames]
        with pytest.raises(DataError, match="a weight for forces, but no training frame has such labels"):
            Trainer(guess(), MemoryDataset(frames), clusters(3), settings(), tmp_path).fit()

    def test_broken_weights(self, tmp_path: Path) -> None:
        with pytest.raises(SimkitError, match=r"became NaN or infinite at a batch with the frames clusters:"):
            Trainer(LennardJones(torch.nan, 2.3, 5.0), clusters(4), clusters(3), settings(), tmp_path).fit()

    def test_one_broken_frame_is_named(self, tmp_path: Path) -> None:
        frames = clusters(4).frames
        huge = replace(frames[1].labels, forces=torch.full_like(frames[1].labels.forces, 1e200))
        frames[1] = replace(frames[1], labels=huge)
        with pytest.raises(SimkitError, match=r"these frames is NaN or infinite: clusters:1. Check"):
            Trainer(guess(), MemoryDataset(frames), clusters(3), settings(), tmp_path).fit()

    def test_checkpoint_of_another_run(self, tmp_path: Path) -> None:
        Trainer(guess(), clusters(4), clusters(3), settings(max_epochs=1), tmp_path).fit()
        with pytest.raises(SimkitError, match=r"settings.batch_size: 5 there, 2 now"):
            Trainer(guess(), clusters(4), clusters(3), settings(batch_size=2), tmp_path).fit()

    def test_unknown_device(self, tmp_path: Path) -> None:
        with pytest.raises(SimkitError, match="expected the device cpu, cuda or mps; found 'meta'"):
            Trainer(guess(), clusters(4), clusters(3), settings(), tmp_path, device="meta")
