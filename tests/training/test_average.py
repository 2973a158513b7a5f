"""Averages of weights against their formulae."""

import pytest
import torch
from torch import nn

from simkit.training.average import WeightAverage


def walk(average: WeightAverage, parameter: nn.Parameter, values: list[float]) -> None:
    for value in values:
        parameter.data.fill_(value)
        average.update()


def test_exponential() -> None:
    parameter = nn.Parameter(torch.tensor([1.0]))
    average = WeightAverage([parameter], 0.6)
    values = [float(n**2) for n in range(1, 20)]  # decay is reached at n = 13
    walk(average, parameter, values)
    expected = 1.0
    for n, value in enumerate(values, start=1):
        decay = min(0.6, (1 + n) / (10 + n))
        expected = decay * expected + (1 - decay) * value
    assert float(average.values[0]) == pytest.approx(expected, rel=1e-14)


def test_exponential_after_its_warm_up() -> None:
    parameter = nn.Parameter(torch.zeros(1))
    average = WeightAverage([parameter], 0.5)
    average.updates = 1000
    walk(average, parameter, [1.0, 1.0, 1.0])
    assert float(average.values[0]) == pytest.approx(1 - 0.5**3, rel=1e-14)


def test_uniform_is_the_mean() -> None:
    parameter = nn.Parameter(torch.tensor([100.0]))
    average = WeightAverage([parameter], None)
    walk(average, parameter, [3.0, 5.0, 10.0])
    assert float(average.values[0]) == pytest.approx(6.0, rel=1e-14)


def test_applied_gives_back_the_same_bits() -> None:
    parameter = nn.Parameter(torch.rand(50))
    average = WeightAverage([parameter], 0.9)
    parameter.data.mul_(0.1)
    before = parameter.detach().clone()
    average.update()
    with average.applied():
        assert torch.equal(parameter, average.values[0])
        assert not torch.equal(parameter, before)
    assert torch.equal(parameter, before)


def test_continues_from_its_state() -> None:
    parameter = nn.Parameter(torch.zeros(1))
    whole, first, second = (WeightAverage([parameter], 0.9) for _ in range(3))
    walk(first, parameter, [1.0, 2.0])
    second.load_state_dict(first.state_dict())
    walk(second, parameter, [3.0])
    walk(whole, parameter, [1.0, 2.0, 3.0])
    assert torch.equal(whole.values[0], second.values[0])
