"""The fused symmetric contraction against the reference in plain torch: values and derivatives of any order."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from simkit.potentials.kernels import kernels, threads
from simkit.potentials.kernels.contraction import fused_contraction, make_terms
from simkit.potentials.mace import contraction
from simkit.potentials.mace.contraction import SymmetricContraction
from simkit.potentials.mace.grouping import ElementGroups

pytest.importorskip("numba")


def grouped(atoms: int) -> ElementGroups:
    """Atoms of two of three elements, mixed."""
    index = torch.tensor([2, 0, 2, 0, 0, 2, 2][:atoms], dtype=torch.int64)
    return ElementGroups(torch.tensor([1, 6, 8])[index], index, (1, 6, 8))


def derivatives(module: SymmetricContraction, groups: ElementGroups | None, x: Tensor, order: int) -> list[Tensor]:
    """Values and derivatives up to an order, each along fixed random directions."""
    generator = torch.Generator().manual_seed(1)
    arguments = [x.clone().requires_grad_(), *module.parameters()]
    values = [module(arguments[0], groups)]
    found = [values[0]]
    for _ in range(order):
        total = sum((value * torch.randn(value.shape, generator=generator)).sum() for value in values)
        values = list(torch.autograd.grad(total, arguments, create_graph=True, materialize_grads=True))
        found += values
    return found


def both(function: Callable[[], list[Tensor]]) -> None:
    """Check that kernels and reference agree."""
    with kernels("reference"):
        expected = function()
    with kernels("numba"):
        found = function()
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("correlation", [1, 2, 3])
@pytest.mark.parametrize("elements", [True, False])
def test_equals_the_reference(correlation: int, elements: bool) -> None:
    module = SymmetricContraction(2, 1, correlation, 3, 3 if elements else 1)
    x = torch.randn(5, 9, 3)
    both(lambda: derivatives(module, grouped(5) if elements else None, x, min(3, correlation + 1)))


def test_is_used_up_to_three_factors(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    fused = contraction.fused_contraction
    monkeypatch.setattr(contraction, "fused_contraction", lambda *given: calls.append(1) or fused(*given))
    for correlation, expected in ((3, 1), (4, 0)):
        calls.clear()
        SymmetricContraction(1, 0, correlation, 2, 1)(torch.randn(2, 4, 2), None)
        assert sum(calls) == expected


def test_training_takes_the_fused_second_derivative() -> None:
    """Without ``create_graph`` the second derivative comes from a loop of its own."""
    module = SymmetricContraction(2, 1, 3, 2, 3)
    x = torch.randn(7, 9, 2)

    def gradients() -> list[Tensor]:
        module.zero_grad()
        positions = x.clone().requires_grad_()
        (first,) = torch.autograd.grad(module(positions, grouped(7)).square().sum(), positions, create_graph=True)
        first.pow(3).sum().backward()
        assert positions.grad is not None
        return [positions.grad, *[parameter.grad.clone() for parameter in module.parameters()]]

    both(gradients)


def test_without_atoms() -> None:
    module = SymmetricContraction(1, 1, 2, 2, 3)
    both(lambda: derivatives(module, grouped(0), torch.zeros(0, 4, 2), 1))


def test_threads_share_the_atoms(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "SMALLEST_SHARE", 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    module = SymmetricContraction(1, 1, 3, 2, 3)
    both(lambda: derivatives(module, grouped(7), torch.randn(7, 4, 2, generator=torch.Generator().manual_seed(2)), 2))


def test_terms_are_grouped_by_product() -> None:
    """Two outputs share the product of components 0 and 2; 3 stands for the factor 1."""
    monomials, starts, terms = make_terms([((1,), 0), ((0, 2), 0), ((0, 2), 1)], 3)
    assert monomials.tolist() == [[0, 2, 3], [1, 3, 3]]
    assert starts.tolist() == [0, 2, 3]
    assert terms.tolist() == [[0, 1], [1, 2], [0, 0]]


@pytest.mark.parametrize("degree", [0, 1, 2])
def test_couplings_that_vanish_do_not_matter(degree: int) -> None:
    """Every coupling beyond rounding is a term."""
    part = SymmetricContraction(3, 2, 3, 1, 1).contractions[degree]
    for order in (1, 2, 3):
        coupling, kept = part.get_buffer(f"coupling_{order}").flatten(1), part.nonzero[order]
        rest = torch.ones(coupling.shape[1], dtype=torch.bool)
        rest[kept] = False
        assert coupling[:, rest].abs().max() < 1e-14
        assert (coupling[:, kept].abs().amax(0) > 1e-3).all()


@pytest.mark.parametrize("elements", [True, False])
def test_vmap_over_weights(elements: bool) -> None:
    """Values and derivatives of modules with stacked weights are those of each module."""
    modules = [SymmetricContraction(2, 1, 3, 3, 3 if elements else 1) for _ in range(3)]
    weights, _ = torch.func.stack_module_state(modules)
    constants = dict(modules[0].named_buffers())
    groups = grouped(5) if elements else None
    x = torch.randn(5, 9, 3)

    def total(state: dict[str, Tensor], x: Tensor) -> Tensor:
        return torch.func.functional_call(modules[0], (state, constants), (x, groups)).sin().sum()

    def forces(state: dict[str, Tensor], x: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        return torch.func.grad(total, argnums=(0, 1))(state, x)

    by_weights, by_x = torch.func.vmap(forces, in_dims=(0, None))(weights, x)
    for member, module in enumerate(modules):
        own = x.clone().requires_grad_()
        module(own, groups).sin().sum().backward()
        torch.testing.assert_close(by_x[member], own.grad)
        for name, weight in module.named_parameters():
            torch.testing.assert_close(by_weights[name][member], weight.grad)


@pytest.mark.parametrize("order", [1, 2])
def test_batches_of_gradients(order: int) -> None:
    """``is_grads_batched`` gives what one gradient after the other does, for the values and for forces."""
    module = SymmetricContraction(2, 1, 3, 2, 3)
    arguments = [torch.randn(7, 9, 2, requires_grad=True), *module.parameters()]
    values = [module(arguments[0], grouped(7))]
    if order == 2:
        values = list(torch.autograd.grad(values[0].sin().sum(), arguments, create_graph=True))
    directions = [torch.randn(3, *value.shape) for value in values]
    found = torch.autograd.grad(values, arguments, directions, is_grads_batched=True, retain_graph=True)
    for member in range(3):
        own = [direction[member] for direction in directions]
        expected = torch.autograd.grad(values, arguments, own, retain_graph=True)
        torch.testing.assert_close([value[member] for value in found], list(expected))


def test_vmap_over_elements() -> None:
    """Members of different composition, which do not share the table of elements."""
    terms, coefficients, x = (
        make_terms([((1,), 0), ((0, 2), 0), ((0, 2), 1)], 3),
        torch.randn(2, 3, 4),
        torch.randn(5, 3, 4),
    )
    element = torch.randint(2, (3, 5))
    found = torch.func.vmap(lambda index: fused_contraction(x, coefficients, index, terms, 2))(element)
    for member in range(3):
        torch.testing.assert_close(found[member], fused_contraction(x, coefficients, element[member], terms, 2))
