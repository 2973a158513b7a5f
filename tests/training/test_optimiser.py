"""Which parameters are trained and decay."""

import pytest
import torch
from torch import nn

from simkit.errors import SimkitError
from simkit.training.optimiser import decayed_names, freeze, make_optimiser, trainable
from simkit.training.settings import OptimiserSettings


class WithProducts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Linear(2, 3)
        self.products = nn.ModuleList([nn.Linear(3, 3)])


def test_products_decay_where_there_are_any() -> None:
    assert decayed_names(WithProducts(), None) == {"products.0.weight", "products.0.bias"}


def test_matrices_decay_elsewhere() -> None:
    module = nn.Sequential(nn.Linear(2, 3), nn.LayerNorm(3))
    assert decayed_names(module, None) == {"0.weight"}


def test_patterns_win() -> None:
    assert decayed_names(WithProducts(), ("*.weight",)) == {"embedding.weight", "products.0.weight"}


def test_groups_hold_every_parameter_once() -> None:
    module = WithProducts()
    optimiser = make_optimiser(module, OptimiserSettings(weight_decay=0.3))
    assert [(len(group["params"]), group["weight_decay"]) for group in optimiser.param_groups] == [(2, 0.3), (2, 0.0)]


def test_first_step_of_amsgrad_moves_by_the_learning_rate() -> None:
    module = nn.Linear(2, 1, bias=False)
    before = module.weight.detach().clone()
    optimiser = make_optimiser(module, OptimiserSettings(learning_rate=0.01, weight_decay=0))
    module(torch.ones(1, 2)).sum().backward()
    optimiser.step()
    torch.testing.assert_close(module.weight, before - 0.01, atol=1e-9, rtol=0)


def test_decoupled_decay_shrinks_weights() -> None:
    module = nn.Linear(2, 1, bias=False)
    before = module.weight.detach().clone()
    optimiser = make_optimiser(module, OptimiserSettings(kind="adamw", learning_rate=0.01, weight_decay=0.5))
    (0 * module(torch.ones(1, 2))).sum().backward()
    optimiser.step()
    torch.testing.assert_close(module.weight, before * (1 - 0.01 * 0.5))


def test_freeze() -> None:
    module = WithProducts()
    assert freeze(module, ["embedding.*"]) == ["embedding.bias", "embedding.weight"]
    assert len(trainable(module)) == 2
    assert len(make_optimiser(module, OptimiserSettings()).param_groups) == 1


def test_a_pattern_without_match_is_an_error() -> None:
    with pytest.raises(
        SimkitError, match=r"no parameter is called like 'embeding\.\*'; the names are embedding.weight"
    ):
        freeze(WithProducts(), ["embeding.*"])


def test_nothing_left_to_train_is_an_error() -> None:
    with pytest.raises(SimkitError, match="all 4 are frozen"):
        freeze(WithProducts(), ["*"])
