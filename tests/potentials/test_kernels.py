"""Kernels against the reference in plain torch: values, derivatives of any order, threads, and their choice."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from simkit.errors import SimkitError
from simkit.potentials.irreps import coupling_paths
from simkit.potentials.kernels import convolution_operators, kernels, kernels_apply, threads
from simkit.potentials.kernels.convolution import fused_convolution, path_layout
from simkit.potentials.mace.convolution import Edges, coupling_table
from simkit.potentials.mace.convolution import convolution as reference

pytest.importorskip("numba")


class Messages:
    """A random graph of four atoms, one of which has no neighbours, and what its edges carry."""

    def __init__(self, l1: int, l2: int, channels: int = 3, counts: tuple[int, ...] = (3, 0, 1, 2)) -> None:
        atoms, edges = len(counts), sum(counts)
        self.paths = coupling_paths(l1, l2, l2)
        self.layout = path_layout(self.paths)
        self.centre = torch.arange(atoms).repeat_interleave(torch.tensor(counts))
        self.neighbour = torch.randint(atoms, (edges,))
        self.pointers = torch.tensor([0, *counts]).cumsum(0)
        self.table = coupling_table(self.paths, l2)
        self.features = [torch.randn(atoms, 2 * degree + 1, channels) for degree in range(l1 + 1)]
        self.hidden, self.matrix = torch.randn(edges, 5), torch.randn(5, len(self.paths) * channels)
        self.couplings = torch.randn(edges, self.table.shape[1])

    def arguments(self) -> list[Tensor]:
        return [value.clone().requires_grad_() for value in (*self.features, self.hidden, self.matrix, self.couplings)]

    def fused(self, *arguments: Tensor) -> Tensor:
        *features, hidden, matrix, couplings = arguments
        graph = (self.pointers, self.neighbour, self.layout)
        return _flat(fused_convolution(features, hidden, matrix, couplings, *graph))

    def plain(self, *arguments: Tensor) -> Tensor:
        """The definition, edge by edge."""
        *features, hidden, matrix, couplings = arguments
        edges = Edges(self.centre, self.neighbour, torch.zeros(len(self.centre), 3))
        table = torch.eye(couplings.shape[1])
        return _flat(reference(features, hidden, matrix, couplings, edges, self.paths, table, self.layout))


def _flat(blocks: list[Tensor]) -> Tensor:
    return torch.cat([block.flatten(1) for block in blocks], 1)


def _derivatives(function: Callable[..., Tensor], arguments: list[Tensor], order: int) -> list[Tensor]:
    """Values and derivatives up to an order, each along fixed random directions."""
    generator = torch.Generator().manual_seed(1)
    values = [function(*arguments)]
    found = [values[0]]
    for _ in range(order):
        total = sum((value * torch.randn(value.shape, generator=generator)).sum() for value in values)
        values = list(torch.autograd.grad(total, arguments, create_graph=True))
        found += values
    return found


@pytest.mark.parametrize(("l1", "l2"), [(0, 3), (1, 2), (2, 2)])
def test_convolution_equals_the_reference(l1: int, l2: int) -> None:
    messages = Messages(l1, l2)
    found = _derivatives(messages.fused, messages.arguments(), 3)
    expected = _derivatives(messages.plain, messages.arguments(), 3)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-11, rtol=1e-11)


def test_training_takes_the_fused_second_derivative() -> None:
    """Without ``create_graph`` the second derivative comes from a loop of its own."""
    messages = Messages(1, 2)
    gradients = []
    for function in (messages.fused, messages.plain):
        arguments = messages.arguments()
        first = torch.autograd.grad(function(*arguments).square().sum(), arguments, create_graph=True)
        sum(value.pow(3).sum() for value in first).backward()
        gradients.append([argument.grad for argument in arguments])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, atol=1e-11, rtol=1e-11)


def test_convolution_without_edges() -> None:
    messages = Messages(1, 2, counts=(0, 0))
    found = messages.fused(*messages.arguments())
    assert found.shape == messages.plain(*messages.arguments()).shape
    assert not found.any()


@pytest.mark.parametrize("rows_at_once", [1, 4, 100])
def test_threads_and_chunks_give_the_same_convolution(monkeypatch: pytest.MonkeyPatch, rows_at_once: int) -> None:
    messages = Messages(1, 2, counts=(3, 0, 1, 2, 5, 4))
    alone = _derivatives(messages.fused, messages.arguments(), 2)
    monkeypatch.setattr(threads, "SMALLEST_SHARE", 4)
    monkeypatch.setattr(convolution_operators, "CHUNK_BYTES", rows_at_once * len(messages.paths) * 3 * 8)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    for one, other in zip(_derivatives(messages.fused, messages.arguments(), 2), alone, strict=True):
        torch.testing.assert_close(one, other, atol=1e-12, rtol=1e-12)


def test_every_atom_is_visited_once() -> None:
    pointers = torch.tensor([3, 0, 1, 2, 5, 4]).cumsum(0).numpy()
    pointers = np.concatenate([[0], pointers])
    workers = threads.Workers(pointers, 4)
    chunks = list(workers.chunks())
    assert len(chunks) > 2
    assert [first for first, _, _ in chunks] == [0, *[last for _, last, _ in chunks[:-1]]]
    assert chunks[-1][1] == 6
    assert all(rows == slice(pointers[first], pointers[last]) for first, last, rows in chunks)


def test_float32() -> None:
    messages = Messages(1, 3, channels=16)
    exact = messages.fused(*messages.arguments())
    rough = messages.fused(*[argument.detach().float() for argument in messages.arguments()])
    assert rough.dtype == torch.float32
    torch.testing.assert_close(rough.double(), exact, atol=1e-5, rtol=1e-5)


def test_choice() -> None:
    here = torch.zeros(1)
    assert kernels_apply(here)
    assert not kernels_apply(here.half())
    assert not kernels_apply(torch.zeros(1, device="meta"))
    with kernels("reference"):
        assert not kernels_apply(here)
        with kernels("numba"):
            assert kernels_apply(here)
            with pytest.raises(SimkitError, match=r"found torch\.float16 on cpu"):
                kernels_apply(here.half())
        assert not kernels_apply(here)


def test_only_wanted_derivatives() -> None:
    """With frozen parameters, features that are constant and a layer that is not trained."""
    messages = Messages(1, 2)
    results = []
    for function in (messages.fused, messages.plain):
        arguments = [value.detach() for value in messages.arguments()]
        wanted = [arguments[-3].requires_grad_(), arguments[-1].requires_grad_()]
        first = torch.autograd.grad(function(*arguments).square().sum(), wanted, create_graph=True)
        sum(value.square().sum() for value in first).backward()
        results.append([*first, *[value.grad for value in wanted]])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, atol=1e-11, rtol=1e-11)


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_forward_mode_sees_the_reference() -> None:
    seen = []

    def function(x: Tensor) -> Tensor:
        seen.append(kernels_apply(x))
        return x.square().sum()

    torch.func.jvp(function, (torch.ones(2),), (torch.ones(2),))
    torch.func.grad(function)(torch.ones(2))
    assert seen == [False, True]


@pytest.mark.parametrize("shared", [(), (0, 4), (1, 2, 3), (4,)])
def test_vmap_of_the_convolution(shared: tuple[int, ...]) -> None:
    """Values and derivatives for each member, whatever is common to all of them."""
    messages = Messages(1, 2)
    given = [value.detach() for value in messages.arguments()]
    stacked = [
        value if place in shared else torch.stack([value, 2 * value.sin(), value.cos()])
        for place, value in enumerate(given)
    ]

    def derivatives(*arguments: Tensor) -> tuple[Tensor, ...]:
        total = lambda *values: messages.fused(*values).sin().sum()  # noqa: E731
        return torch.func.grad(total, argnums=tuple(range(len(arguments))))(*arguments)

    axes = tuple(None if place in shared else 0 for place in range(len(given)))
    for function in (messages.fused, derivatives):
        found = torch.func.vmap(function, in_dims=axes)(*stacked)
        for member in range(3):
            own = [value if axis is None else value[member] for value, axis in zip(stacked, axes, strict=True)]
            one = [value[member] for value in found] if isinstance(found, tuple) else found[member]
            torch.testing.assert_close(one, type(one)(function(*own)) if isinstance(one, list) else function(*own))


@pytest.mark.parametrize("order", [1, 2])
def test_batches_of_gradients(order: int) -> None:
    """``is_grads_batched`` gives what one gradient after the other does, for the values and for forces."""
    messages = Messages(1, 2)
    arguments = messages.arguments()
    values = [messages.fused(*arguments)]
    if order == 2:
        values = list(torch.autograd.grad(values[0].sin().sum(), arguments, create_graph=True))
    directions = [torch.randn(3, *value.shape) for value in values]
    found = torch.autograd.grad(values, arguments, directions, is_grads_batched=True, retain_graph=True)
    for member in range(3):
        own = [direction[member] for direction in directions]
        expected = torch.autograd.grad(values, arguments, own, retain_graph=True)
        torch.testing.assert_close([value[member] for value in found], list(expected))
