"""Errors are exact, however the frames are batched."""

import numpy as np
import pytest
import torch

from simkit.datasets.base import collate
from simkit.evaluation import evaluate
from simkit.training.metrics import Errors
from tests.training.examples import clusters, crystals, guess, without


def errors_of(frames: list, batch_size: int, per_element: bool = False) -> dict[str, float]:
    potential = guess()
    errors = Errors(per_element=per_element)
    for first in range(0, len(frames), batch_size):
        batch = collate(frames[first : first + batch_size], potential.cutoff)
        outputs = ["energy", "forces"] + (["stress"] if batch.labels.stress is not None else [])
        errors.update(evaluate(potential, batch.system, batch.neighbours, outputs), batch)
    return errors.result()


def test_against_numpy_frame_by_frame() -> None:
    frames = clusters(7).frames
    energy, forces = [], []
    for frame in frames:
        prediction = evaluate(guess(), frame.system)
        energy.append(float(prediction.energy - frame.labels.energy) / frame.system.n_atoms)
        forces.append((prediction.forces - frame.labels.forces).numpy().ravel())
    force = np.concatenate(forces)
    found = errors_of(frames, 3)
    assert found["energy_mae_mev_per_atom"] == pytest.approx(1e3 * np.abs(energy).mean(), rel=1e-12)
    assert found["energy_rmse_mev_per_atom"] == pytest.approx(1e3 * np.sqrt(np.square(energy).mean()), rel=1e-12)
    assert found["forces_mae_mev_per_ang"] == pytest.approx(1e3 * np.abs(force).mean(), rel=1e-12)
    assert found["forces_rmse_mev_per_ang"] == pytest.approx(1e3 * np.sqrt(np.square(force).mean()), rel=1e-12)


def test_batches_do_not_matter() -> None:
    frames = [*clusters(5).frames, *crystals(3).frames]
    one_by_one = errors_of(frames, 1)
    assert "stress_mae_mev_per_ang3" in one_by_one
    assert errors_of(frames, 8) == pytest.approx(one_by_one, rel=1e-12)


def test_missing_labels_are_left_out() -> None:
    frames = clusters(4).frames
    partial = [without(frames[0], "forces"), without(frames[1], "energy", "forces"), *frames[2:]]
    assert errors_of(partial, 4)["forces_mae_mev_per_ang"] == pytest.approx(
        errors_of(frames[2:], 4)["forces_mae_mev_per_ang"], rel=1e-12
    )
    assert "energy_mae_mev_per_atom" not in errors_of([without(frames[0], "energy")], 1)


def test_per_element() -> None:
    frames = clusters(3).frames
    numbers = frames[0].system.numbers
    numbers[0] = 10
    found = errors_of(frames[:1], 1, per_element=True)
    error = 1e3 * (evaluate(guess(), frames[0].system).forces - frames[0].labels.forces).abs()
    assert found["forces_mae_mev_per_ang_Ne"] == pytest.approx(float(error[0].mean()), rel=1e-12)
    assert found["forces_mae_mev_per_ang_Ar"] == pytest.approx(float(error[1:].mean()), rel=1e-12)
    assert torch.equal(numbers[1:], torch.full((len(numbers) - 1,), 18))
