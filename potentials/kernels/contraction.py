"""The symmetric contraction as one operator: polynomials of the components of each atom and channel.

``out_{n,M} = Σ_t c_{z_n,t} x_{n,i} x_{n,j} x_{n,k}``, summed over the terms t of the output M, in each channel. Few
of the couplings between components differ from zero, and only those are terms. Products of fewer than three factors
are filled with a component that is 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from simkit.potentials.kernels.operators import Batched, Operator, added, needed
from simkit.potentials.kernels.threads import Workers, array

FACTORS = 3
"""Highest number of factors of a product."""


class Terms(NamedTuple):
    """Which products there are.

    Attributes:
        monomials: components of each distinct product; the one after the last component is 1.
        starts: the terms of product q are ``starts[q]`` to ``starts[q + 1]``.
        terms: output and coefficient of each term.
    """

    monomials: Int[Tensor, "monomials 3"]
    starts: Int[Tensor, " starts"]
    terms: Int[Tensor, "terms 2"]


def make_terms(products: Sequence[tuple[tuple[int, ...], int]], size: int) -> Terms:
    """The terms from (components, output) of each coefficient, of which there are at most three.

    Args:
        products: components of the product and index of the output, in the order of the coefficients.
        size: number of components.
    """
    filled = [((*factors, *[size] * (FACTORS - len(factors))), out) for factors, out in products]
    order = sorted(range(len(filled)), key=lambda place: filled[place])
    groups = [(factors, len(list(same))) for factors, same in groupby(order, key=lambda place: filled[place][0])]
    counts = torch.tensor([0, *[count for _, count in groups]])
    terms = torch.tensor([(filled[place][1], place) for place in order])
    return Terms(torch.tensor([factors for factors, _ in groups]), counts.cumsum(0), terms)


def fused_contraction(
    features: Float[Tensor, "atoms components channels"],
    coefficients: Float[Tensor, "elements terms channels"],
    element: Int[Tensor, " atoms"],
    terms: Terms,
    outputs: int,
) -> Float[Tensor, "atoms outputs channels"]:
    """Polynomials of each atom, with the coefficients of its element."""
    x = torch.cat([features, torch.ones_like(features[:, :1])], 1)
    return contract(x, coefficients, element, *terms, outputs)


def _workers(x: Tensor, monomials: Tensor) -> Workers:
    return Workers(np.arange(x.shape[0] + 1) * monomials.shape[0], 0)


@torch.library.custom_op(
    "simkit::contract",
    mutates_args=(),
    device_types="cpu",
    schema="(Tensor x, Tensor coefficients, Tensor element, Tensor monomials, Tensor starts, Tensor terms, "
    "int outputs) -> Tensor",
)
def _contract(x, coefficients, element, monomials, starts, terms, outputs):
    from simkit.potentials.kernels import contraction_loops

    given = [array(value) for value in (x, coefficients, element, monomials, starts, terms)]
    out = x.new_zeros(x.shape[0], outputs, x.shape[2])
    with _workers(x, monomials) as workers:
        workers.run(lambda _, *atoms: contraction_loops.forward(*atoms, *given, out.numpy()), 0, x.shape[0])
    return out


@torch.library.custom_op(
    "simkit::contract_backward",
    mutates_args=(),
    device_types="cpu",
    schema="(Tensor gradient, Tensor x, Tensor coefficients, Tensor element, Tensor monomials, Tensor starts, "
    "Tensor terms, bool for_coefficients) -> (Tensor, Tensor)",
)
def _contract_backward(gradient, x, coefficients, element, monomials, starts, terms, for_coefficients):
    from simkit.potentials.kernels import contraction_loops

    given = [array(value) for value in (gradient, x, coefficients, element, monomials, starts, terms)]
    d_x = x.new_zeros(x.shape)
    with _workers(x, monomials) as workers:
        d_c = coefficients.new_zeros(workers.count if for_coefficients else 1, *coefficients.shape)

        def task(thread: int, first: int, last: int) -> None:
            own = d_c[thread if for_coefficients else 0].numpy()
            contraction_loops.backward(first, last, *given, for_coefficients, d_x.numpy(), own)

        workers.run(task, 0, x.shape[0])
    return d_x, added(d_c)


@torch.library.custom_op(
    "simkit::contract_double_backward",
    mutates_args=(),
    device_types="cpu",
    schema="(Tensor gradient, Tensor x, Tensor coefficients, Tensor t_x, Tensor? t_coefficients, Tensor element, "
    "Tensor monomials, Tensor starts, Tensor terms) -> (Tensor, Tensor, Tensor)",
)
def _contract_double_backward(gradient, x, coefficients, t_x, t_coefficients, element, monomials, starts, terms):
    from simkit.potentials.kernels import contraction_loops

    t_coefficients = coefficients.new_zeros(0, 0, 0) if t_coefficients is None else t_coefficients
    given = [array(value) for value in (gradient, x, coefficients, t_x, t_coefficients)]
    given += [array(value) for value in (element, monomials, starts, terms)]
    d_gradient, d_x = gradient.new_zeros(gradient.shape), x.new_zeros(x.shape)
    with _workers(x, monomials) as workers:
        d_c = coefficients.new_zeros(workers.count, *coefficients.shape)

        def task(thread: int, first: int, last: int) -> None:
            found = (d_gradient.numpy(), d_x.numpy(), d_c[thread].numpy())
            contraction_loops.double_backward(first, last, *given, *found)

        workers.run(task, 0, x.shape[0])
    return d_gradient, d_x, added(d_c)


def _backward(ctx: Any, gradient: Tensor | None) -> tuple[Tensor | None, ...]:
    if gradient is None:
        return (None,) * 7
    return needed(ctx, contract_backward(gradient, *ctx.saved_tensors, ctx.needs_input_grad[1]))


def _double_backward(ctx: Any, t_x: Tensor | None, t_coefficients: Tensor | None) -> tuple[Tensor | None, ...]:
    gradient, x, coefficients, *tables = ctx.saved_tensors
    t_x = torch.zeros_like(x) if t_x is None else t_x
    if torch.is_grad_enabled():
        found = _differentiable_double_backward(gradient, x, coefficients, t_x, t_coefficients, tables)
    else:
        found = contract_double_backward(gradient, x, coefficients, t_x, t_coefficients, *tables)
    return needed(ctx, found)


def _differentiable_double_backward(
    gradient: Tensor,
    x: Tensor,
    coefficients: Tensor,
    t_x: Tensor,
    t_coefficients: Tensor | None,
    tables: Sequence[Tensor],
) -> Sequence[Tensor]:
    """The double backward pass of the plain polynomials, so that it has derivatives itself."""
    aliases = [value.view_as(value) if value.requires_grad else value.clone() for value in (gradient, x, coefficients)]
    aliases = [value if value.requires_grad else value.requires_grad_() for value in aliases]
    out = _plain(aliases[1], aliases[2], tables, gradient.shape[1])
    d_x, d_coefficients = torch.autograd.grad(out, aliases[1:], aliases[0], create_graph=True)
    total = (t_x * d_x).sum()
    if t_coefficients is not None:
        total = total + (t_coefficients * d_coefficients).sum()
    return torch.autograd.grad(total, aliases, create_graph=True)


def _plain(x: Tensor, coefficients: Tensor, tables: Sequence[Tensor], outputs: int) -> Tensor:
    element, monomials, starts, terms = tables
    first, second, third = [x.index_select(1, place) for place in monomials.unbind(1)]
    products = (first * second * third).repeat_interleave(starts.diff(), 1)
    values = coefficients[element].index_select(1, terms[:, 1]) * products
    return x.new_zeros(x.shape[0], outputs, x.shape[2]).index_add(1, terms[:, 0], values)


@_contract.register_fake
def _(x, coefficients, element, monomials, starts, terms, outputs):
    return x.new_empty(x.shape[0], outputs, x.shape[2])


@_contract_backward.register_fake
def _(gradient, x, coefficients, *_):
    return x.new_empty(x.shape), coefficients.new_empty(coefficients.shape)


@_contract_double_backward.register_fake
def _(gradient, x, coefficients, *_):
    return gradient.new_empty(gradient.shape), x.new_empty(x.shape), coefficients.new_empty(coefficients.shape)


def _folded(size: int, axes: Batched, values: Sequence[Tensor | None]) -> list[Tensor | None]:
    """Channels of all members, one member after the other."""
    return [None if value is None else _fold(value, axis, size) for value, axis in zip(values, axes, strict=False)]


def _fold(value: Tensor, axis: int | None, size: int) -> Tensor:
    members = value[:, :, None].expand(-1, -1, size, -1) if axis is None else value.movedim(axis, 2)
    return members.flatten(2)


def _unfolded(size: int, value: Tensor) -> Tensor:
    return value.unflatten(2, (size, -1)).movedim(2, 0)


contract = Operator(_contract, _backward, _folded, _unfolded, 2)
contract_backward = Operator(_contract_backward, _double_backward, _folded, _unfolded, 3)
contract_double_backward = Operator(_contract_double_backward, None, _folded, _unfolded, 5)
