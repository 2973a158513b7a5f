"""Radial networks by splines, for inference: they are functions of one distance for each pair of elements."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from simkit.errors import SimkitError
from simkit.graph import Graph
from simkit.potential import AtomicOutput, Potential
from simkit.potentials.cutoffs import polynomial_envelope
from simkit.potentials.mace.interaction import Interaction
from simkit.potentials.mace.linear import RadialNetwork
from simkit.potentials.mace.model import MACE

FEWEST, MOST = 64, 8192
"""Intervals to begin with, and not to exceed."""
MOST_OF_ALL = 2**24
"""Intervals of all pairs of elements together: beyond, float32 does not have all whole numbers."""


class SplinedMACE(Potential):
    """A MACE whose radial networks are cubic Hermite splines of the distance: the same forces, faster.

    Forces are derivatives of the splines, so that energy is conserved exactly. Values and first derivatives are
    continuous; second derivatives jump a little between intervals. The parameters are frozen: train and save the
    MACE.

    Args:
        model: the potential to imitate; it is not changed.
        tolerance: largest deviation of what a radial network computes before its last layer, in units of its largest
            value.
        elements: atomic numbers to make it for, all of the model if absent. Models with a transform of distances need
            a table for each pair of them.

    Attributes:
        error: the deviation that was found between the nodes.
        intervals: between 0 and the cutoff.

    Raises:
        SimkitError: the model has radial networks of more than the distance, the tolerance cannot be met, or an element
            is not one of the model's.
    """

    kind: ClassVar[str] = "splined-mace"

    def __init__(self, model: MACE, tolerance: float = 1e-6, elements: Sequence[int] | None = None) -> None:
        known = model.capabilities.elements
        chosen = known if elements is None else tuple(sorted(elements))
        if not set(chosen) <= set(known):
            raise SimkitError(f"expected some of the elements {known} of the model, found {chosen}")
        super().__init__(replace(model.capabilities, elements=chosen))
        if not all(isinstance(block, Interaction) for block in model.interactions):
            raise SimkitError(
                "expected radial networks of the distance alone; those of this model also depend on features of the "
                "elements: use the model as it is"
            )
        exact = copy.deepcopy(model).double()
        intervals, self.error = FEWEST, float("inf")
        while self.error > tolerance:
            if intervals > MOST:
                raise SimkitError(
                    f"{MOST} intervals leave a deviation of {self.error:.1e}, expected {tolerance:.1e}: allow a larger "
                    "one, or use the model as it is"
                )
            self.intervals = intervals
            splined, self.error = _fit(exact, chosen, intervals)
            intervals *= 2
        self.model = splined.to(model.dtype).to(model.device).requires_grad_(False)

    def forward(self, graph: Graph) -> AtomicOutput:
        """What the MACE computes, with splines."""
        return self.model(graph)

    def config(self) -> dict[str, Any]:
        """There is none.

        Raises:
            SimkitError: always.
        """
        raise SimkitError("splines are not saved: save the MACE and make them after loading it")


class Nodes(nn.Module):
    """In place of the radial embedding: where a distance is between the nodes of splines.

    With ``t`` the fraction of the interval, the columns are 1, t, t², t³ and the number of the interval; the intervals
    of a pair of elements follow one another.

    Raises:
        SimkitError: more intervals, of all pairs of elements, than float32 can number.
    """

    places: Tensor

    def __init__(self, model: MACE, elements: Sequence[int], intervals: int) -> None:
        super().__init__()
        self.cutoff, self.intervals = model.cutoff, intervals
        self.power = None if model.apply_cutoff else model.radial_embedding.envelope_power
        by_pair = model.radial_embedding.transform is not None
        places = torch.zeros(max(elements) + 1, max(elements) + 1, dtype=torch.int64)
        self.pairs = [(a, b) for a in elements for b in elements if a <= b] if by_pair else [(elements[0], elements[0])]
        if by_pair:
            for place, (a, b) in enumerate(self.pairs):
                places[a, b] = places[b, a] = place
        if len(self.pairs) * intervals > MOST_OF_ALL:
            raise SimkitError(
                f"splines for {len(self.pairs)} pairs of elements would have more than {MOST_OF_ALL} intervals: name "
                "fewer elements, allow a larger deviation, or use the model as it is"
            )
        self.register_buffer("places", places, persistent=False)

    def forward(
        self, r: Float[Tensor, " edges"], centre: Int[Tensor, " edges"], neighbour: Int[Tensor, " edges"]
    ) -> tuple[Float[Tensor, "edges 5"], Float[Tensor, "edges 1"]]:
        """Powers and interval for each edge, and the envelope where it multiplies the radial weights."""
        u = (r * (self.intervals / self.cutoff)).clamp(max=self.intervals)
        interval = u.detach().long().clamp_(0, self.intervals - 1)
        t = u - interval
        number = self.intervals * self.places[centre, neighbour] + interval
        columns = [torch.ones_like(t), t, t.square(), t.pow(3), number.to(r.dtype)]
        envelope = torch.ones_like(r) if self.power is None else polynomial_envelope(r, self.cutoff, self.power)
        return torch.stack(columns, 1), envelope[:, None]


class Spline(nn.Module):
    """In place of a radial network: what it computes from the columns of :class:`Nodes`.

    Args:
        table: coefficients of 1, t, t² and t³, one after the other for each interval. Unlike values at the nodes, they
            give derivatives that are as exact as the values in float32.
        matrix: the last layer of the network.
    """

    table: Tensor
    matrix: Tensor

    def __init__(self, table: Float[Tensor, "rows hidden"], matrix: Float[Tensor, "hidden outputs"]) -> None:
        super().__init__()
        self.register_buffer("table", table, persistent=False)
        self.register_buffer("matrix", matrix, persistent=False)

    def factors(
        self, x: Float[Tensor, "edges 5"]
    ) -> tuple[Float[Tensor, "edges hidden"], Float[Tensor, "hidden outputs"]]:
        """Two matrices whose product is the output, as those of the network."""
        rows = 4 * x[:, 4:].detach().long() + torch.arange(4, device=x.device)
        return _WeightedRows.apply(self.table, rows, x[:, :4]), self.matrix

    def forward(self, x: Float[Tensor, "edges 5"]) -> Float[Tensor, "edges outputs"]:
        """The output for each edge."""
        hidden, matrix = self.factors(x)
        return hidden @ matrix


class _WeightedRows(torch.autograd.Function):
    """``Σ_j w_ej table[rows_ej]``, which can be differentiated by w any number of times, unlike torch's own."""

    @staticmethod
    def forward(table: Tensor, rows: Tensor, weights: Tensor) -> Tensor:
        return _weighted_rows(table, rows, weights)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, None, Tensor]:
        table, rows, weights = ctx.saved_tensors
        if torch.is_grad_enabled():
            return None, None, torch.einsum("eh,ejh->ej", gradient, table[rows])
        with torch.enable_grad():
            weights = weights.detach().requires_grad_()
            (found,) = torch.autograd.grad(_weighted_rows(table, rows, weights), weights, gradient)
        return None, None, found


def _weighted_rows(table: Tensor, rows: Tensor, weights: Tensor) -> Tensor:
    return functional.embedding_bag(rows, table, per_sample_weights=weights.contiguous(), mode="sum")


def _fit(model: MACE, elements: Sequence[int], intervals: int) -> tuple[MACE, float]:
    """A copy of a MACE in float64 with splines, and their largest deviation relative to the largest value."""
    nodes = Nodes(model, elements, intervals)
    result = copy.deepcopy(model)
    result.radial_embedding = nodes  # type: ignore[assignment]
    worst = 0.0
    for block, old in zip(result.interactions, model.interactions, strict=True):
        for name in ("conv_tp_weights", "density_fn"):
            network = getattr(old, name)
            if network is None:
                continue
            table = torch.cat([_table(model, network, pair, intervals) for pair in nodes.pairs])
            spline = Spline(table, network[-1].matrix.detach())
            setattr(block, name, spline)
            worst = max(worst, *[_deviation(model, network, spline, nodes, pair) for pair in nodes.pairs])
    return result, worst


def _hidden(model: MACE, network: RadialNetwork, pair: tuple[int, int]) -> Callable[[Tensor], Tensor]:
    def values(r: Tensor) -> Tensor:
        first, second = [torch.full_like(r, number, dtype=torch.int64) for number in pair]
        radial, envelope = model.radial_embedding(r, first, second)
        return network.factors(radial * envelope if model.apply_cutoff else radial)[0]

    return values


def _table(model: MACE, network: RadialNetwork, pair: tuple[int, int], intervals: int) -> Float[Tensor, "rows hidden"]:
    """Coefficients from values and slopes at the nodes; the first is next to zero, where bases may be undefined."""
    width = model.cutoff / intervals
    r = (torch.arange(intervals + 1, dtype=torch.float64) * width).clamp(min=1e-6 * width)
    values, slopes = torch.autograd.functional.jvp(_hidden(model, network, pair), r, torch.full_like(r, width))
    rise, first, last = values[1:] - values[:-1], slopes[:-1], slopes[1:]
    coefficients = [values[:-1], first, 3 * rise - 2 * first - last, first + last - 2 * rise]
    return torch.stack(coefficients, 1).flatten(0, 1)


@torch.no_grad()
def _deviation(model: MACE, network: RadialNetwork, spline: Spline, nodes: Nodes, pair: tuple[int, int]) -> float:
    """Largest deviation from the network at three places of every interval, relative to its largest value."""
    width = model.cutoff / nodes.intervals
    r = (torch.arange(4 * nodes.intervals, dtype=torch.float64) / 4 + 1e-6) * width
    first, second = [torch.full_like(r, number, dtype=torch.int64) for number in pair]
    exact = _hidden(model, network, pair)(r)
    return float((spline.factors(nodes(r, first, second)[0])[0] - exact).abs().max() / exact.abs().max())
