"""The convolution as one operator: gather, weigh, couple and sum over neighbours without storing messages.

``out_{i,p,m3} = Σ_j w_{ij,p} Σ_{m1} G_{ij,p,m1,m3} h_{j,l1,m1}`` in each channel, with ``w = hidden @ matrix``: the
last layer of the radial network is part of the operator, because the weights would be by far the largest array; here
they exist for a few atoms at a time. With a gradient a of the output, ``S = Σ a·h·w·G`` is linear in each factor: its
derivatives with respect to the others are the backward pass, and derivatives of those are S again with one factor
replaced.

Rows of channels: ``features`` holds, degree after degree, ``atoms (2·l1+1)`` of them, the weights ``edges paths``, and
``out``, degree after degree, ``atoms (2·l3+1) paths(l3)``. ``couplings`` has for each edge the matrices (m1, m3) of
all paths. ``pointers`` says that the edges of atom i are ``pointers[i]`` to ``pointers[i + 1]``. All factors have a
first axis for the members of an ensemble, which share the edges; it is where the axis of ``vmap`` goes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from simkit.potentials.irreps import Path
from simkit.potentials.kernels import convolution_operators as defined
from simkit.potentials.kernels.operators import Batched, Operator, needed


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
    given = [value.unsqueeze(0) for value in (rows, hidden, matrix, couplings)]
    blocks = convolve(*given, pointers, neighbour, layout.table, sum(sizes)).squeeze(0).split(sizes)
    return [block.view(atoms, n3, width * channels) for block, (n3, width) in zip(blocks, layout.shapes, strict=True)]


def _backward(ctx: Any, gradient: Tensor | None) -> tuple[Tensor | None, ...]:
    if gradient is None:
        return (None,) * 8
    flags = ctx.needs_input_grad[0], ctx.needs_input_grad[2]
    return needed(ctx, convolve_backward(gradient, *ctx.saved_tensors, *flags))


def _double_backward(ctx: Any, *tangents: Tensor | None) -> tuple[Tensor | None, ...]:
    gradient, *given = ctx.saved_tensors[:5]
    graph = ctx.saved_tensors[5:]
    if torch.is_grad_enabled():
        return needed(ctx, _differentiable_double_backward(gradient, given, tangents, graph))
    filled = [
        torch.zeros_like(value) if tangent is None and place != 2 else tangent
        for place, (tangent, value) in enumerate(zip(tangents, given, strict=True))
    ]
    return needed(ctx, convolve_double_backward(gradient, *given, *filled, *graph))


def _differentiable_double_backward(
    gradient: Tensor, given: Sequence[Tensor], tangents: Sequence[Tensor | None], graph: Sequence[Tensor]
) -> list[Tensor]:
    """The double backward pass from the other operators, so that it has derivatives itself."""
    total = [torch.zeros_like(value) for value in (gradient, *given)]
    for place, tangent in enumerate(tangents):
        if tangent is None:
            continue
        mixed = [tangent if index == place else value for index, value in enumerate(given)]
        total[0] = total[0] + convolve(*mixed, *graph, gradient.shape[1])
        found = convolve_backward(gradient, *mixed, *graph, True, True)
        for index, value in enumerate(found):
            if index != place:
                total[index + 1] = total[index + 1] + value
    return total


def _joined(size: int, axes: Batched, values: Sequence[Tensor | None]) -> list[Tensor | None]:
    """The axis of ``vmap`` as part of that of the members."""
    return [None if value is None else _join(value, axis, size) for value, axis in zip(values, axes, strict=False)]


def _join(value: Tensor, axis: int | None, size: int) -> Tensor:
    return (value.expand(size, *value.shape) if axis is None else value.movedim(axis, 0)).flatten(0, 1)


def _apart(size: int, value: Tensor) -> Tensor:
    return value.unflatten(0, (size, -1))


convolve = Operator(defined.convolve, _backward, _joined, _apart, 4)
convolve_backward = Operator(defined.convolve_backward, _double_backward, _joined, _apart, 5)
convolve_double_backward = Operator(defined.convolve_double_backward, None, _joined, _apart, 9)
