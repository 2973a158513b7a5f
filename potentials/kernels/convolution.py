"""The convolution as one operator: gather, weigh, couple and sum over neighbours without storing messages.

``out_{i,p,m3} = Σ_j w_{ij,p} Σ_{m1} G_{ij,p,m1,m3} h_{j,l1,m1}`` in each channel. With a gradient a of the output,
``S = Σ a·h·w·G`` is linear in each of its four arguments: the derivatives of S with respect to three of them are the
backward pass, and derivatives of those are S again with one argument replaced.

Rows of channels: ``features`` holds, degree after degree, ``atoms (2·l1+1)`` of them, ``weights`` ``edges paths``, and
``out``, degree after degree, ``atoms (2·l3+1) paths(l3)``. ``couplings`` has for each edge the matrices (m1, m3) of
all paths. ``pointers`` says that the edges of atom i are ``pointers[i]`` to ``pointers[i + 1]``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from simkit.potentials.irreps import Path
from simkit.potentials.kernels.threads import array, run, shares


def path_layout(paths: Sequence[Path]) -> Int[Tensor, "paths 7"]:
    """For each path: rows of lower degrees l1 of an atom, 2·l1+1, 2·l3+1, first entry among the couplings, rows of
    lower degrees l3 of an atom, number of paths with the same l3, and place among those.
    """
    degrees = [path.l3 for path in paths]
    rows, entry = [], 0
    for index, path in enumerate(paths):
        n1, n3 = 2 * path.l1 + 1, 2 * path.l3 + 1
        base = sum(2 * degree + 1 for degree in degrees if degree < path.l3)
        rows.append((path.l1**2, n1, n3, entry, base, degrees.count(path.l3), degrees[:index].count(path.l3)))
        entry += n1 * n3
    return torch.tensor(rows)


def fused_convolution(
    features: Sequence[Float[Tensor, "atoms _ channels"]],
    weights: Float[Tensor, "edges paths channels"],
    couplings: Float[Tensor, "edges entries"],
    pointers: Int[Tensor, " pointers"],
    neighbour: Int[Tensor, " edges"],
    layout: Int[Tensor, "paths 7"],
) -> list[Tensor]:
    """Messages of each degree l3, ``atoms (2·l3+1) (paths · channels)``, from features of each degree l1."""
    atoms, channels = features[0].shape[0], features[0].shape[2]
    rows = torch.cat([block.flatten(0, 1) for block in features])
    flat = weights.flatten(0, 1)
    out = torch.ops.simkit.convolve(rows, flat, couplings, pointers, neighbour, layout)
    shapes = sorted({(n3, width) for _, _, n3, _, _, width, _ in layout.tolist()})
    blocks = out.split([atoms * n3 * width for n3, width in shapes])
    return [block.view(atoms, n3, width * channels) for block, (n3, width) in zip(blocks, shapes, strict=True)]


def _out_rows(pointers: Tensor, layout: Tensor) -> int:
    return (pointers.shape[0] - 1) * int(layout[:, 2].sum())


@torch.library.custom_op(
    "simkit::convolve",
    mutates_args=(),
    device_types="cpu",
    schema="(Tensor features, Tensor weights, Tensor couplings, Tensor pointers, Tensor neighbour, Tensor layout) "
    "-> Tensor",
)
def _convolve(features, weights, couplings, pointers, neighbour, layout):
    from simkit.potentials.kernels import convolution_loops

    out = features.new_zeros(_out_rows(pointers, layout), features.shape[1])
    graph = [array(tensor) for tensor in (pointers, neighbour, layout)]
    given = [array(tensor) for tensor in (features, weights, couplings)]
    run(lambda _, first, last: convolution_loops.forward(first, last, *graph, *given, out.numpy()), shares(graph[0]))
    return out


@torch.library.custom_op(
    "simkit::convolve_backward",
    mutates_args=(),
    device_types="cpu",
    schema="(Tensor gradient, Tensor features, Tensor weights, Tensor couplings, Tensor pointers, Tensor neighbour, "
    "Tensor layout, bool for_features) -> (Tensor, Tensor, Tensor)",
)
def _convolve_backward(gradient, features, weights, couplings, pointers, neighbour, layout, for_features):
    from simkit.potentials.kernels import convolution_loops

    graph = [array(tensor) for tensor in (pointers, neighbour, layout)]
    given = [array(tensor) for tensor in (gradient, features, weights, couplings)]
    ranges = shares(graph[0])
    d_features = features.new_zeros(len(ranges) if for_features else 1, *features.shape)
    d_weights, d_couplings = torch.empty_like(weights), torch.zeros_like(couplings)
    rest = (d_weights.numpy(), d_couplings.numpy())

    def task(share: int, first: int, last: int) -> None:
        found = (d_features[share if for_features else 0].numpy(), *rest)
        convolution_loops.backward(first, last, *graph, *given, for_features, *found)

    run(task, ranges)
    return _sum(d_features), d_weights, d_couplings


@torch.library.custom_op(
    "simkit::convolve_double_backward",
    mutates_args=(),
    device_types="cpu",
    schema="(Tensor gradient, Tensor features, Tensor weights, Tensor couplings, Tensor t_features, Tensor t_weights, "
    "Tensor t_couplings, Tensor pointers, Tensor neighbour, Tensor layout) -> (Tensor, Tensor, Tensor, Tensor)",
)
def _convolve_double_backward(
    gradient, features, weights, couplings, t_features, t_weights, t_couplings, pointers, neighbour, layout
):
    from simkit.potentials.kernels import convolution_loops

    graph = [array(tensor) for tensor in (pointers, neighbour, layout)]
    given = [array(tensor) for tensor in (gradient, features, weights, couplings, t_features, t_weights, t_couplings)]
    ranges = shares(graph[0])
    d_gradient, d_features = torch.zeros_like(gradient), features.new_zeros(len(ranges), *features.shape)
    d_weights, d_couplings = torch.empty_like(weights), torch.zeros_like(couplings)
    rest = (d_weights.numpy(), d_couplings.numpy())

    def task(share: int, first: int, last: int) -> None:
        found = (d_gradient.numpy(), d_features[share].numpy(), *rest)
        convolution_loops.double_backward(first, last, *graph, *given, *found)

    run(task, ranges)
    return d_gradient, _sum(d_features), d_weights, d_couplings


def _sum(parts: Tensor) -> Tensor:
    return parts[0] if parts.shape[0] == 1 else parts.sum(0)


def _remember(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    ctx.save_for_backward(*[value for value in inputs if isinstance(value, Tensor)])


def _backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
    *given, pointers, neighbour, layout = ctx.saved_tensors
    wanted = ctx.needs_input_grad
    found = torch.ops.simkit.convolve_backward(gradient.contiguous(), *given, pointers, neighbour, layout, wanted[0])
    return *[value if needed else None for value, needed in zip(found, wanted, strict=False)], None, None, None


def _double_backward(ctx: Any, *tangents: Tensor) -> tuple[Tensor | None, ...]:
    gradient, *given, pointers, neighbour, layout = ctx.saved_tensors
    graph = (pointers, neighbour, layout)
    if not torch.is_grad_enabled():
        found = torch.ops.simkit.convolve_double_backward(gradient, *given, *tangents, *graph)
    else:
        found = _differentiable_double_backward(gradient, given, tangents, graph)
    wanted = ctx.needs_input_grad
    return *[value if needed else None for value, needed in zip(found, wanted, strict=False)], *[None] * 4


def _differentiable_double_backward(
    gradient: Tensor, given: Sequence[Tensor], tangents: Sequence[Tensor], graph: Sequence[Tensor]
) -> list[Tensor]:
    """The double backward pass from the other operators, so that it has derivatives itself."""
    total = [torch.zeros_like(value) for value in (gradient, *given)]
    for place, tangent in enumerate(tangents):
        mixed = [tangent if index == place else value for index, value in enumerate(given)]
        total[0] = total[0] + torch.ops.simkit.convolve(*mixed, *graph)
        found = torch.ops.simkit.convolve_backward(gradient, *mixed, *graph, True)
        for index, value in enumerate(found):
            if index != place:
                total[index + 1] = total[index + 1] + value
    return total


_convolve.register_autograd(_backward, setup_context=_remember)
_convolve_backward.register_autograd(_double_backward, setup_context=_remember)
