"""Learning rates against their formulae."""

import math

import pytest

from simkit.training.schedule import LearningRate
from simkit.training.settings import (
    Constant,
    Cosine,
    Exponential,
    OptimiserSettings,
    Plateau,
    StageTwo,
    TrainingSettings,
)

OPTIMISER = OptimiserSettings(learning_rate=0.2)


def rate(**settings) -> LearningRate:
    return LearningRate(TrainingSettings(max_epochs=10, optimiser=OPTIMISER, **settings), steps_per_epoch=4)


def test_constant() -> None:
    assert {rate(schedule=Constant()).at(step, 1) for step in range(40)} == {0.2}


def test_warm_up_is_linear() -> None:
    found = [rate(schedule=Constant(), warmup_epochs=2).at(step, 1) for step in range(10)]
    assert found == pytest.approx([0.2 * n / 8 for n in range(1, 9)] + [0.2, 0.2])


def test_cosine() -> None:
    cosine = rate(schedule=Cosine(final=0.1))
    assert cosine.at(0, 1) == pytest.approx(0.2)
    assert cosine.at(10, 1) == pytest.approx(0.2 * (0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi / 4))))
    assert cosine.at(20, 1) == pytest.approx(0.2 * 0.55)
    assert cosine.at(40, 1) == pytest.approx(0.02)


def test_cosine_ends_where_stage_two_begins() -> None:
    cosine = rate(schedule=Cosine(final=0.0), stage_two=StageTwo(start_epoch=5, learning_rate=0.07))
    assert cosine.at(20, 1) == pytest.approx(0)
    assert cosine.at(20, 2) == 0.07


def test_exponential() -> None:
    assert rate(schedule=Exponential(gamma=0.5)).at(6, 1) == pytest.approx(0.2 * 0.5**1.5)


def test_plateau() -> None:
    plateau = rate(schedule=Plateau(factor=0.5, patience=2, minimum=0.2))
    found = []
    for loss in [3.0, 2.0, 2.5, 2.5, 2.0, 1.0, 1.1, 1.1, 1.1, 1.1, 1.1, 1.1, 1.1, 1.1, 1.1]:
        plateau.observe(loss)
        found.append(plateau.at(0, 1))
    assert found == pytest.approx([0.2] * 4 + [0.1] * 4 + [0.05] * 3 + [0.04] * 4)


def test_plateau_continues_from_its_state() -> None:
    first, second = rate(schedule=Plateau(patience=1)), rate(schedule=Plateau(patience=1))
    for loss in [1.0, 2.0]:
        first.observe(loss)
    second.load_state_dict(first.state_dict())
    first.observe(2.0)
    second.observe(2.0)
    assert second.at(0, 1) == first.at(0, 1) == pytest.approx(0.16)


def test_stage_two_must_begin_before_the_end() -> None:
    with pytest.raises(ValueError, match="stage two would never begin"):
        rate(stage_two=StageTwo(start_epoch=10))
