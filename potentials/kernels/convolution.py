"""The convolution as one operator: gather, weigh, couple and sum over neighbours without storing messages.

``out_{i,p,m3} = Σ_j w_{ij,p} Σ_{m1} G_{ij,p,m1,m3} h_{j,l1,m1}`` in each channel, with ``w = hidden @ matrix``: the
last layer of the radial network is part of the operator, because the weights would be by far the largest array; here
they exist for a few atoms at a time. With a gradient a of the output, ``S = Σ a·h·w·G`` is linear in each factor: its
derivatives with respect to the others are the backward pass, and derivatives of those are S again with one factor
replaced.

Rows of channels: ``features`` holds, degree after degree, ``atoms (2·l1+1)`` of them, the weights ``edges paths``, and
``out``, degree after degree, ``atoms (2·l3+1) paths(l3)``. ``couplings`` has for each edge the matrices (m1, m3) of
all paths. ``pointers`` says that the edges of atom i are ``pointers[i]`` to ``pointers[i + 1]``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from simkit.potentials.irreps import Path
from simkit.potentials.kernels.operators import Batched, added, needed, one_by_one, remember
from simkit.potentials.kernels.threads import Workers, array

CHUNK_BYTES = 2**20
"""Memory for the weights of a few atoms: about half of a second-level cache."""


class Layout(NamedTuple):
    """Where the rows of each path are.

    Attributes:
        table: for each path, rows of lower degrees l1 of an atom, 2·l1+1, 2·l3+1, first entry among the couplings, rows
            of lower degrees l3 of an atom, number of paths with the same l3, and place among those.
        shapes: for each degree l3, 2·l3+1 and the number of paths.
    """

    table: Int[Tensor, "paths 7"]
    shapes: tuple[tuple[int, int], ...]


def path_layout(paths: Sequence[Path]) -> Layout:
    """The layout of paths that are sorted by l3."""
    degrees = [path.l3 for path in paths]
    rows, entry = [], 0
    for index, path in enumerate(paths):
        n1, n3 = 2 * path.l1 + 1, 2 * path.l3 + 1
        base = sum(2 * degree + 1 for degree in degrees if degree < path.l3)
        rows.append((path.l1**2, n1, n3, entry, base, degrees.count(path.l3), degrees[:index].count(path.l3)))
        entry += n1 * n3
    shapes = tuple((2 * degree + 1, degrees.count(degree)) for degree in sorted(set(degrees)))
    return Layout(torch.tensor(rows), shapes)


def fused_convolution(
    features: Sequence[Float[Tensor, "atoms _ channels"]],
    hidden: Float[Tensor, "edges hidden"],
    matrix: Float[Tensor, "hidden weights"],
    couplings: Float[Tensor, "edges entries"],
    pointers: Int[Tensor, " pointers"],
    neighbour: Int[Tensor, " edges"],
    layout: Layout,
) -> list[Tensor]:
    """Messages of each degree l3, ``atoms (2·l3+1) (paths · channels)``, from features of each degree l1."""
    atoms, channels = features[0].shape[0], features[0].shape[2]
    rows = torch.cat([block.flatten(0, 1) for block in features])
    sizes = [atoms * n3 * width for n3, width in layout.shapes]
    convolve = torch.ops.simkit.convolve if torch.compiler.is_compiling() else _Convolve.apply
    out = convolve(rows, hidden, matrix, couplings, pointers, neighbour, layout.table, sum(sizes))
    blocks = out.split(sizes)
    return [block.view(atoms, n3, width * channels) for block, (n3, width) in zip(blocks, layout.shapes, strict=True)]


def _workers(features: Tensor, pointers: np.ndarray, layout: Tensor) -> Workers:
    bytes_of_edge = layout.shape[0] * features.shape[1] * features.element_size()
    return Workers(pointers, max(1, CHUNK_BYTES // bytes_of_edge))


def _weights(hidden: Tensor, matrix: Tensor, channels: int) -> tuple[Tensor, np.ndarray]:
    """Weights of some edges as a matrix, and the same memory as rows of channels."""
    weights = hidden @ matrix
    return weights, weights.numpy().reshape(-1, channels)


@torch.library.custom_op(
    "simkit::convolve",
    mutates_args=(),
    device_types="cpu",
    schema="(Tensor features, Tensor hidden, Tensor matrix, Tensor couplings, Tensor pointers, Tensor neighbour, "
    "Tensor layout, SymInt rows) -> Tensor",
)
@torch.no_grad()
def _convolve(features, hidden, matrix, couplings, pointers, neighbour, layout, rows):
    from simkit.potentials.kernels import convolution_loops

    graph = [array(tensor) for tensor in (pointers, neighbour, layout)]
    channels = features.shape[1]
    out = features.new_zeros(rows, channels)
    x, g, found = array(features), array(couplings), out.numpy()
    with _workers(features, graph[0], layout) as workers:
        for first, last, edges in workers.chunks():
            _, w = _weights(hidden[edges], matrix, channels)

            def task(_: int, begin: int, end: int, shift: int = edges.start, w: np.ndarray = w) -> None:
                convolution_loops.forward(begin, end, shift, *graph, x, w, g, found)

            workers.run(task, first, last)
    return out


@torch.library.custom_op(
    "simkit::convolve_backward",
    mutates_args=(),
    device_types="cpu",
    schema="(Tensor gradient, Tensor features, Tensor hidden, Tensor matrix, Tensor couplings, Tensor pointers, "
    "Tensor neighbour, Tensor layout, bool for_features, bool for_matrix) -> (Tensor, Tensor, Tensor, Tensor)",
)
@torch.no_grad()
def _convolve_backward(
    gradient, features, hidden, matrix, couplings, pointers, neighbour, layout, for_features, for_matrix
):
    from simkit.potentials.kernels import convolution_loops

    graph = [array(tensor) for tensor in (pointers, neighbour, layout)]
    a, x, g = array(gradient), array(features), array(couplings)
    d_hidden, d_couplings = hidden.new_empty(hidden.shape), couplings.new_empty(couplings.shape)
    d_matrix = matrix.new_zeros(matrix.shape)
    d_g = d_couplings.numpy()
    with _workers(features, graph[0], layout) as workers:
        d_features = features.new_zeros(workers.count if for_features else 1, *features.shape)
        for first, last, edges in workers.chunks():
            weights, w = _weights(hidden[edges], matrix, features.shape[1])
            d_weights = torch.empty_like(weights)
            d_w = d_weights.numpy().reshape(w.shape)

            def task(thread: int, begin: int, end: int, shift: int = edges.start, w: Any = w, d_w: Any = d_w) -> None:
                d_x = d_features[thread if for_features else 0].numpy()
                convolution_loops.backward(begin, end, shift, *graph, a, x, w, g, for_features, d_x, d_w, d_g)

            workers.run(task, first, last)
            torch.mm(d_weights, matrix.mT, out=d_hidden[edges])
            if for_matrix:
                d_matrix.addmm_(hidden[edges].mT, d_weights)
    return added(d_features), d_hidden, d_matrix, d_couplings


@torch.library.custom_op(
    "simkit::convolve_double_backward",
    mutates_args=(),
    device_types="cpu",
    schema="(Tensor gradient, Tensor features, Tensor hidden, Tensor matrix, Tensor couplings, Tensor t_features, "
    "Tensor t_hidden, Tensor? t_matrix, Tensor t_couplings, Tensor pointers, Tensor neighbour, Tensor layout) "
    "-> (Tensor, Tensor, Tensor, Tensor, Tensor)",
)
@torch.no_grad()
def _convolve_double_backward(
    gradient, features, hidden, matrix, couplings, t_features, t_hidden, t_matrix, t_couplings, pointers, neighbour,
    layout,
):  # fmt: skip
    from simkit.potentials.kernels import convolution_loops

    graph = [array(tensor) for tensor in (pointers, neighbour, layout)]
    a, x, g, t_x, t_g = [array(value) for value in (gradient, features, couplings, t_features, t_couplings)]
    d_gradient, d_couplings = gradient.new_zeros(gradient.shape), couplings.new_empty(couplings.shape)
    d_hidden, d_matrix = hidden.new_empty(hidden.shape), matrix.new_zeros(matrix.shape)
    d_a, d_g = d_gradient.numpy(), d_couplings.numpy()
    with _workers(features, graph[0], layout) as workers:
        d_features = features.new_zeros(workers.count, *features.shape)
        for first, last, edges in workers.chunks():
            weights, w = _weights(hidden[edges], matrix, features.shape[1])
            t_weights = t_hidden[edges] @ matrix
            if t_matrix is not None:
                t_weights.addmm_(hidden[edges], t_matrix)
            s_weights, d_weights = torch.empty_like(weights), torch.empty_like(weights)
            t_w, s_w, d_w = [value.numpy().reshape(w.shape) for value in (t_weights, s_weights, d_weights)]
            given = (*graph, a, x, w, g, t_x, t_w, t_g)

            def task(thread: int, begin: int, end: int, shift: int = edges.start, given: Any = given,
                     s_w: Any = s_w, d_w: Any = d_w) -> None:  # fmt: skip
                found = (d_a, d_features[thread].numpy(), s_w, d_w, d_g)
                convolution_loops.double_backward(begin, end, shift, *given, *found)

            workers.run(task, first, last)
            torch.mm(d_weights, matrix.mT, out=d_hidden[edges])
            if t_matrix is not None:
                d_hidden[edges].addmm_(s_weights, t_matrix.mT)
            d_matrix.addmm_(hidden[edges].mT, d_weights).addmm_(t_hidden[edges].mT, s_weights)
    return d_gradient, added(d_features), d_hidden, d_matrix, d_couplings


class _Convolve(torch.autograd.Function):
    generate_vmap_rule = True
    setup_context = staticmethod(remember)

    @staticmethod
    def forward(*inputs: Any) -> Tensor:
        return torch.ops.simkit.convolve(*inputs)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor | None) -> tuple[Tensor | None, ...]:
        if gradient is None:
            return (None,) * 8
        flags = ctx.needs_input_grad[0], ctx.needs_input_grad[2]
        return needed(ctx, _ConvolveBackward.apply(gradient, *ctx.saved_tensors, *flags))


class _ConvolveBackward(torch.autograd.Function):
    generate_vmap_rule = True
    setup_context = staticmethod(remember)

    @staticmethod
    def forward(*inputs: Any) -> tuple[Tensor, ...]:
        return torch.ops.simkit.convolve_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, *tangents: Tensor | None) -> tuple[Tensor | None, ...]:
        gradient, *given = ctx.saved_tensors[:5]
        graph = ctx.saved_tensors[5:]
        if torch.is_grad_enabled():
            return needed(ctx, _differentiable_double_backward(gradient, given, tangents, graph))
        filled = [
            torch.zeros_like(value) if tangent is None and place != 2 else tangent
            for place, (tangent, value) in enumerate(zip(tangents, given, strict=True))
        ]
        return needed(ctx, torch.ops.simkit.convolve_double_backward(gradient, *given, *filled, *graph))


def _differentiable_double_backward(
    gradient: Tensor, given: Sequence[Tensor], tangents: Sequence[Tensor | None], graph: Sequence[Tensor]
) -> list[Tensor]:
    """The double backward pass from the other operators, so that it has derivatives itself."""
    total = [torch.zeros_like(value) for value in (gradient, *given)]
    for place, tangent in enumerate(tangents):
        if tangent is None:
            continue
        mixed = [tangent if index == place else value for index, value in enumerate(given)]
        total[0] = total[0] + _Convolve.apply(*mixed, *graph, gradient.shape[0])
        found = _ConvolveBackward.apply(gradient, *mixed, *graph, True, True)
        for index, value in enumerate(found):
            if index != place:
                total[index + 1] = total[index + 1] + value
    return total


@_convolve.register_fake
def _(features, hidden, matrix, couplings, pointers, neighbour, layout, rows):
    return features.new_empty(rows, features.shape[1])


@_convolve_backward.register_fake
def _(gradient, *given):
    return tuple(value.new_empty(value.shape) for value in given[:4])


@_convolve_double_backward.register_fake
def _(*given):
    return tuple(value.new_empty(value.shape) for value in given[:5])


def _register_vmap(operator: Any) -> None:
    def rule(info: Any, batched: Batched, *arguments: Any) -> tuple[Any, Any]:
        return one_by_one(operator, info.batch_size, batched, arguments)

    operator.register_vmap(rule)


_register_vmap(_convolve)
_register_vmap(_convolve_backward)
_register_vmap(_convolve_double_backward)
_convolve.register_autograd(_Convolve.backward, setup_context=remember)
