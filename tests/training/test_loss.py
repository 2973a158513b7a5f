"""The loss against numbers computed by hand."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from simkit.datasets.base import Batch, Frame, Labels, collate
from simkit.evaluation import Prediction
from simkit.system import System
from simkit.training.loss import combine, conditional_delta, loss_sums
from simkit.training.settings import LossSettings

FORCE = torch.tensor([[0.1, 0.0, -0.2], [0.0, 0.0, 0.0]])


def frame(atoms: int, labels: Labels, weight: float = 1.0, periodic: bool = False) -> Frame:
    system = System(
        positions=2.0 * torch.arange(3 * atoms, dtype=torch.float64).reshape(-1, 3),
        numbers=torch.full((atoms,), 18),
        cell=9.0 * torch.eye(3)[None],
        pbc=torch.full((1, 3), periodic),
        batch=torch.zeros(atoms, dtype=torch.int64),
    )
    return Frame(system, labels, weight=weight)


def zero_prediction(batch: Batch) -> Prediction:
    """What a potential would say that is zero everywhere."""
    system = batch.system
    return Prediction(
        energy=torch.zeros(system.n_systems),
        forces=torch.zeros_like(system.positions),
        stress=torch.zeros_like(system.cell),
    )


def loss_of(frames: list[Frame], settings: LossSettings) -> Tensor:
    batch = collate(frames, 3.0)
    parts = loss_sums(zero_prediction(batch), batch, settings)
    weights = torch.tensor([settings.energy, settings.forces, settings.stress])
    return combine(parts.sums, parts.counts, weights)


def two_frames(weight: float = 1.0) -> list[Frame]:
    first = frame(2, Labels(energy=torch.tensor([0.6]), forces=FORCE), weight)
    second = frame(1, Labels(energy=torch.tensor([-0.1]), forces=torch.tensor([[0.0, 0.3, 0.0]])))
    return [first, second]


def test_mean_square() -> None:
    energy = (0.3**2 + 0.1**2) / 2
    forces = (0.1**2 + 0.2**2 + 0.3**2) / 9
    loss = loss_of(two_frames(), LossSettings(kind="mse", energy=2, forces=10))
    torch.testing.assert_close(loss, torch.tensor(2 * energy + 10 * forces))


def test_mean_absolute() -> None:
    loss = loss_of(two_frames(), LossSettings(kind="mae", energy=2, forces=10))
    torch.testing.assert_close(loss, torch.tensor(2 * 0.4 / 2 + 10 * 0.6 / 9))


def test_huber() -> None:
    loss = loss_of(two_frames(), LossSettings(kind="huber", energy=2, forces=10, delta=0.15))
    energy = (0.15 * (0.3 - 0.075) + 0.5 * 0.1**2) / 2
    forces = (0.5 * 0.1**2 + 0.15 * (0.2 - 0.075) + 0.15 * (0.3 - 0.075)) / 9
    torch.testing.assert_close(loss, torch.tensor(2 * energy + 10 * forces))


def test_delta_of_the_universal_loss_falls_with_the_reference_force() -> None:
    norms = torch.tensor([0.0, 99.9, 100.0, 199.9, 200.0, 299.9, 300.0, 1e4])
    reference = torch.stack([norms * 0.6, norms * 0, norms * 0.8], 1)
    expected = 0.01 * torch.tensor([1.0, 1.0, 0.7, 0.7, 0.4, 0.4, 0.1, 0.1])
    torch.testing.assert_close(conditional_delta(reference, 0.01)[:, 0], expected)


def test_universal_loss_of_large_forces() -> None:
    forces = torch.tensor([[0.0, 150.0, 0.0]])
    loss = loss_of([frame(1, Labels(forces=forces))], LossSettings(kind="universal", energy=0, forces=3, delta=0.01))
    torch.testing.assert_close(loss, torch.tensor(3 * 0.007 * (150 - 0.0035) / 3))


def test_weight_of_a_frame_multiplies_its_terms() -> None:
    loss = loss_of(two_frames(weight=3.0), LossSettings(kind="mse", energy=1, forces=1))
    energy = (3 * 0.3**2 + 0.1**2) / 2
    forces = (3 * (0.1**2 + 0.2**2) + 0.3**2) / 9
    torch.testing.assert_close(loss, torch.tensor(energy + forces))


def test_missing_labels_do_not_count() -> None:
    frames = two_frames()
    frames[0] = replace(frames[0], labels=replace(frames[0].labels, forces=None))
    frames[1] = replace(frames[1], labels=replace(frames[1].labels, energy=None))
    loss = loss_of(frames, LossSettings(kind="mse", energy=1, forces=1))
    torch.testing.assert_close(loss, torch.tensor(0.3**2 + 0.3**2 / 3))


def test_no_labels_give_zero() -> None:
    assert loss_of([frame(2, Labels())], LossSettings()) == 0


def test_stress_counts_only_where_the_volume_is_defined() -> None:
    stress = torch.full((1, 3, 3), 0.2)
    periodic, molecule = frame(1, Labels(stress=stress), periodic=True), frame(1, Labels(stress=10 * stress))
    loss = loss_of([periodic, molecule], LossSettings(energy=0, forces=0, stress=5))
    torch.testing.assert_close(loss, torch.tensor(5 * 0.2**2))


def test_fixed_atoms_can_be_left_out() -> None:
    first, second = two_frames()
    first = replace(first, system=replace(first.system, fixed=torch.tensor([True, False])))
    settings = LossSettings(energy=0, forces=1, free_atoms_only=True)
    torch.testing.assert_close(loss_of([first, second], settings), torch.tensor(0.3**2 / 6))


def test_sums_of_parts_are_the_sums_of_the_whole() -> None:
    whole = collate(two_frames(), 3.0)
    parts = [collate([one], 3.0) for one in two_frames()]
    settings = LossSettings()
    total = loss_sums(zero_prediction(whole), whole, settings)
    separate = [loss_sums(zero_prediction(part), part, settings) for part in parts]
    torch.testing.assert_close(total.sums, separate[0].sums + separate[1].sums)
    torch.testing.assert_close(total.counts, torch.tensor([2.0, 9.0, 0.0]))


def test_all_weights_zero_is_an_error() -> None:
    with pytest.raises(ValueError, match="expected a positive weight"):
        LossSettings(energy=0, forces=0, stress=0)
