"""Settings that depend on one another."""

import pytest
from pydantic import ValidationError

from simkit.training.settings import LossSettings, StageTwo, TrainingSettings


def test_stage_two_goes_on_training_the_stress() -> None:
    loss = LossSettings(energy=1, forces=10, stress=5)
    settings = TrainingSettings(loss=loss, stage_two=StageTwo(start_epoch=10))
    assert settings.weights == [(1, 10, 5), (1000, 100, 5)]
    without = TrainingSettings(loss=loss, stage_two=StageTwo(start_epoch=10, stress=0))
    assert without.weights[1] == (1000, 100, 0)
    assert TrainingSettings(loss=loss).weights == [(1, 10, 5)]


def test_stage_two_needs_a_weight() -> None:
    with pytest.raises(ValidationError, match="a positive weight of energy, forces or stress in stage_two"):
        TrainingSettings(stage_two=StageTwo(start_epoch=10, energy=0, forces=0))
    only_stress = StageTwo(start_epoch=10, energy=0, forces=0)
    assert TrainingSettings(loss=LossSettings(stress=1), stage_two=only_stress).weights[1] == (0, 0, 1)
