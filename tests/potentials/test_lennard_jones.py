"""Lennard-Jones: derivatives given in closed form, of any order and in every mode of differentiation."""

from __future__ import annotations

import pytest
import torch

from simkit.evaluation import evaluate
from simkit.graph import make_graph
from simkit.neighbours import build_neighbours
from simkit.potentials.cutoffs import quintic_switch, quintic_switch_with_slope
from simkit.potentials.lennard_jones import LennardJones, _PairEnergy
from tests.conformance import systems

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")  # torch.func.jacfwd's own


def plain(vectors: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    r = vectors.square().sum(1).sqrt()
    return ((sigma / r) ** 12 - (sigma / r) ** 6) * quintic_switch(r, 4.0, 6.0)


def pair(vectors: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    return _PairEnergy.apply(vectors, sigma, 4.0, 6.0)[0]


@pytest.fixture
def vectors() -> torch.Tensor:
    """Shorter than the switch, within it and beyond it."""
    directions = torch.nn.functional.normalize(torch.randn(9, 3), dim=1)
    return directions * torch.linspace(3.0, 6.6, 9)[:, None]


def test_derivatives_are_those_of_autograd(vectors: torch.Tensor) -> None:
    sigma = torch.tensor(3.4)
    for transform in (torch.func.jacrev, torch.func.jacfwd):
        for argument in (0, 1):
            torch.testing.assert_close(
                transform(pair, argument)(vectors, sigma), transform(plain, argument)(vectors, sigma)
            )
    for function in (lambda v: pair(v, sigma).sum(), lambda v: pair(vectors, sigma + v.sum()).sum()):
        assert torch.autograd.gradcheck(function, vectors.requires_grad_())
        assert torch.autograd.gradgradcheck(function, vectors.requires_grad_())


def test_hessian_in_both_modes(vectors: torch.Tensor) -> None:
    sigma = torch.tensor(3.4)
    expected = torch.func.jacrev(torch.func.jacrev(lambda v: plain(v, sigma).sum()))(vectors)
    for outer, inner in ((torch.func.jacfwd, torch.func.jacrev), (torch.func.jacrev, torch.func.jacrev)):
        found = outer(inner(lambda v: pair(v, sigma).sum()))(vectors)
        torch.testing.assert_close(found, expected)


def test_slope_of_the_switch() -> None:
    r = torch.linspace(3.0, 7.0, 41).requires_grad_()
    (expected,) = torch.autograd.grad(quintic_switch(r, 4.0, 6.0).sum(), r)
    value, slope = quintic_switch_with_slope(r, 4.0, 6.0)
    torch.testing.assert_close(slope, expected)
    assert torch.equal(value, quintic_switch(r, 4.0, 6.0))


def test_forces_can_be_trained() -> None:
    """The derivative of forces by ε and σ is that of finite differences."""
    system = systems.crystal([18], 3.6)
    neighbours = build_neighbours(system, 8.0, 0.7)
    weights = torch.randn_like(system.positions)

    def loss(epsilon: float, sigma: float) -> tuple[torch.Tensor, LennardJones]:
        model = LennardJones(epsilon, sigma, 8.0)
        forces = evaluate(model, system, neighbours, ("forces",), create_graph=True).forces
        assert forces is not None
        return (weights * forces).sum(), model

    value, model = loss(0.01, 3.4)
    by_epsilon, by_sigma = torch.autograd.grad(value, (model.epsilon, model.sigma))
    step = 1e-6
    epsilon_slope = (loss(0.01 + step, 3.4)[0] - loss(0.01 - step, 3.4)[0]).detach() / (2 * step)
    sigma_slope = (loss(0.01, 3.4 + step)[0] - loss(0.01, 3.4 - step)[0]).detach() / (2 * step)
    torch.testing.assert_close(by_epsilon, epsilon_slope, rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(by_sigma, sigma_slope, rtol=1e-6, atol=1e-9)


def test_energies_ignore_pairs_beyond_the_cutoff() -> None:
    model = LennardJones(0.0104, 3.4, 6.0)
    system = systems.crystal([18], 3.6)
    graph = make_graph(system, build_neighbours(system, 9.0))
    torch.testing.assert_close(model(graph).energies, model(graph.within(6.0)).energies)
