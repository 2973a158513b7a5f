"""The operators of the convolution on the CPU; :mod:`simkit.potentials.kernels.convolution` says what they compute.

Weights of edges exist for a few atoms at a time. The members of an ensemble are treated one after the other.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from simkit.potentials.kernels.threads import Workers, array

CHUNK_BYTES = 2**20
"""Memory for the weights of a few atoms: about half of a second-level cache."""


def _workers(features: Tensor, pointers: np.ndarray, layout: Tensor) -> Workers:
    bytes_of_edge = layout.shape[0] * features.shape[2] * features.element_size()
    return Workers(pointers, max(1, CHUNK_BYTES // bytes_of_edge))


def _rows(weights: Tensor, channels: int) -> np.ndarray:
    """The memory of a matrix (edges, weights) as rows of channels."""
    return weights.numpy().reshape(-1, channels)


@torch.library.custom_op(
    "simkit::convolve",
    mutates_args=(),
    device_types="cpu",
    schema="(Tensor features, Tensor hidden, Tensor matrix, Tensor couplings, Tensor pointers, Tensor neighbour, "
    "Tensor layout, SymInt rows) -> Tensor",
)
@torch.no_grad()
def convolve(features, hidden, matrix, couplings, pointers, neighbour, layout, rows):
    """Sums over neighbours."""
    from simkit.potentials.kernels import convolution_loops

    graph = [array(tensor) for tensor in (pointers, neighbour, layout)]
    members, _, channels = features.shape
    out = features.new_zeros(members, rows, channels)
    with _workers(features, graph[0], layout) as workers:
        for x, h, matrix_, g, found in zip(features, hidden, matrix, couplings, out, strict=True):
            arrays = [array(x), array(g), found.numpy()]
            for first, last, edges in workers.chunks():
                w = _rows(h[edges] @ matrix_, channels)

                def task(_: int, begin: int, end: int, shift: int = edges.start, w: Any = w, a: Any = arrays) -> None:
                    convolution_loops.forward(begin, end, shift, *graph, a[0], w, a[1], a[2])

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
def convolve_backward(
    gradient, features, hidden, matrix, couplings, pointers, neighbour, layout, for_features, for_matrix
):
    """Derivatives of gradient · out by features, hidden, matrix and couplings; members may share their weights."""
    graph = [array(tensor) for tensor in (pointers, neighbour, layout)]
    d_features, d_hidden, d_matrix, d_couplings = [
        value.new_empty(value.shape) for value in (features, hidden, matrix, couplings)
    ]
    members, wanted = features.shape[0], (for_features, for_matrix)
    shared = hidden.stride(0) == matrix.stride(0) == 0
    with _workers(features, graph[0], layout) as workers:
        by_thread = features.new_zeros(members, workers.count if for_features else 1, *features.shape[1:])
        d_matrix.zero_()
        for chunk in workers.chunks():
            weights = hidden[0, chunk[2]] @ matrix[0]
            for member in range(members):
                if member and not shared:
                    weights = hidden[member, chunk[2]] @ matrix[member]
                given = [value[member] for value in (gradient, features, hidden, matrix, couplings)]
                found = [value[member] for value in (by_thread, d_hidden, d_matrix, d_couplings)]
                _chunk_backward(workers, graph, chunk, weights, given, found, wanted)
        torch.sum(by_thread, 1, out=d_features)
    return d_features, d_hidden, d_matrix, d_couplings


def _chunk_backward(
    workers: Workers, graph: list[np.ndarray], chunk: tuple[int, int, slice], weights: Tensor, given: Any, found: Any,
    wanted: tuple[bool, bool],
) -> None:  # fmt: skip
    from simkit.potentials.kernels import convolution_loops

    gradient, features, hidden, matrix, couplings = given
    by_thread, d_hidden, d_matrix, d_couplings = found
    first, last, edges = chunk
    a, x, g, d_g = [array(value) for value in (gradient, features, couplings, d_couplings)]
    d_weights = torch.empty_like(weights)
    w, d_w = [_rows(value, features.shape[1]) for value in (weights, d_weights)]

    def task(thread: int, begin: int, end: int) -> None:
        d_x = by_thread[thread if wanted[0] else 0].numpy()
        convolution_loops.backward(begin, end, edges.start, *graph, a, x, w, g, wanted[0], d_x, d_w, d_g)

    workers.run(task, first, last)
    torch.mm(d_weights, matrix.mT, out=d_hidden[edges])
    if wanted[1]:
        d_matrix.addmm_(hidden[edges].mT, d_weights)


@torch.library.custom_op(
    "simkit::convolve_double_backward",
    mutates_args=(),
    device_types="cpu",
    schema="(Tensor gradient, Tensor features, Tensor hidden, Tensor matrix, Tensor couplings, Tensor t_features, "
    "Tensor t_hidden, Tensor? t_matrix, Tensor t_couplings, Tensor pointers, Tensor neighbour, Tensor layout) "
    "-> (Tensor, Tensor, Tensor, Tensor, Tensor)",
)
@torch.no_grad()
def convolve_double_backward(
    gradient, features, hidden, matrix, couplings, t_features, t_hidden, t_matrix, t_couplings, pointers, neighbour,
    layout,
):  # fmt: skip
    """Derivatives of Σ tangents · (what the backward pass gives) by gradient and the four factors."""
    graph = [array(tensor) for tensor in (pointers, neighbour, layout)]
    values = gradient, features, hidden, matrix, couplings, t_features, t_hidden, t_matrix, t_couplings
    found = [value.new_zeros(value.shape) for value in values[:5]]
    with _workers(features, graph[0], layout) as workers:
        for member in range(features.shape[0]):
            given = [None if value is None else value[member] for value in values]
            _member_double_backward(workers, graph, given, [value[member] for value in found])
    return tuple(found)


def _member_double_backward(workers: Workers, graph: list[np.ndarray], given: Any, found: Any) -> None:
    from simkit.potentials.kernels import convolution_loops

    gradient, features, hidden, matrix, couplings, t_features, t_hidden, t_matrix, t_couplings = given
    d_gradient, d_features, d_hidden, d_matrix, d_couplings = found
    a, x, g, t_x, t_g = [array(value) for value in (gradient, features, couplings, t_features, t_couplings)]
    d_a, d_g = array(d_gradient), array(d_couplings)
    by_thread = features.new_zeros(workers.count, *features.shape)
    for first, last, edges in workers.chunks():
        weights, t_weights = hidden[edges] @ matrix, t_hidden[edges] @ matrix
        if t_matrix is not None:
            t_weights.addmm_(hidden[edges], t_matrix)
        s_weights, d_weights = torch.empty_like(weights), torch.empty_like(weights)
        w, t_w, s_w, d_w = [_rows(one, features.shape[1]) for one in (weights, t_weights, s_weights, d_weights)]
        factors = (*graph, a, x, w, g, t_x, t_w, t_g)

        def task(thread: int, begin: int, end: int, shift: int = edges.start, factors: Any = factors,
                 s_w: Any = s_w, d_w: Any = d_w) -> None:  # fmt: skip
            results = (d_a, by_thread[thread].numpy(), s_w, d_w, d_g)
            convolution_loops.double_backward(begin, end, shift, *factors, *results)

        workers.run(task, first, last)
        torch.mm(d_weights, matrix.mT, out=d_hidden[edges])
        if t_matrix is not None:
            d_hidden[edges].addmm_(s_weights, t_matrix.mT)
        d_matrix.addmm_(hidden[edges].mT, d_weights).addmm_(t_hidden[edges].mT, s_weights)
    torch.sum(by_thread, 0, out=d_features)


@convolve.register_fake
def _(features, hidden, matrix, couplings, pointers, neighbour, layout, rows):
    return features.new_empty(features.shape[0], rows, features.shape[2])


@convolve_backward.register_fake
def _(gradient, *given):
    return tuple(value.new_empty(value.shape) for value in given[:4])


@convolve_double_backward.register_fake
def _(*given):
    return tuple(value.new_empty(value.shape) for value in given[:5])
