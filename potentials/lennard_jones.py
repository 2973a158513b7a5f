"""Lennard-Jones: the reference pair potential."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from simkit.graph import Graph
from simkit.potential import ALL_ELEMENTS, AtomicOutput, Capabilities, Potential
from simkit.potentials.cutoffs import quintic_switch_with_slope


class LennardJones(Potential):
    """Lennard-Jones pair potential, switched off smoothly.

    ``E = ½ Σ_ij 4ε[(σ/r)¹² - (σ/r)⁶] · s(r)`` where s falls from 1 at ``switch_on`` to 0 at the cutoff with two
    continuous derivatives.

    Args:
        epsilon: well depth ε in eV.
        sigma: distance σ in Å where the unswitched energy is zero.
        cutoff: in Å.
        switch_on: distance in Å where the switching starts; default 0.9 of the cutoff.
        elements: atomic numbers that it stands for; all by default.

    Reference: J. E. Lennard-Jones, Proc. R. Soc. A 106, 463 (1924), doi:10.1098/rspa.1924.0082.
    """

    kind: ClassVar[str] = "lennard-jones"

    def __init__(
        self,
        epsilon: float,
        sigma: float,
        cutoff: float,
        switch_on: float | None = None,
        elements: Sequence[int] = ALL_ELEMENTS,
    ) -> None:
        citation = "J. E. Lennard-Jones, Proc. R. Soc. A 106, 463 (1924), doi:10.1098/rspa.1924.0082"
        super().__init__(Capabilities(cutoff, cutoff, tuple(elements), citations=(citation,)))
        self.switch_on = 0.9 * cutoff if switch_on is None else switch_on
        self.epsilon = nn.Parameter(torch.tensor(epsilon, dtype=torch.float64))
        self.sigma = nn.Parameter(torch.tensor(sigma, dtype=torch.float64))

    def forward(self, graph: Graph) -> AtomicOutput:
        """Half of every pair's energy goes to either atom."""
        energies = _pair_terms if torch.compiler.is_compiling() else _PairEnergy.apply
        pair, _, _ = energies(graph.vectors, self.sigma, self.switch_on, self.cutoff)
        sums = pair.new_zeros(graph.system.n_atoms).index_add(0, graph.centre, pair)
        return AtomicOutput(2 * self.epsilon * sums)

    def config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {
            "epsilon": self.epsilon.item(),
            "sigma": self.sigma.item(),
            "cutoff": self.cutoff,
            "switch_on": self.switch_on,
            "elements": list(self.capabilities.elements),
        }


def _pair_terms(vectors: Tensor, sigma: Tensor, start: float, end: float) -> tuple[Tensor, Tensor, Tensor]:
    """``u = (q² - q) s`` with ``q = (σ/r)⁶`` of each pair, ``u'(r) / r``, and ``σ ∂u/∂σ``."""
    r = torch.linalg.vector_norm(vectors, dim=1)
    inverse = 1 / r
    ratio2 = (sigma * inverse).square()
    q = ratio2 * ratio2 * ratio2
    switch, slope = quintic_switch_with_slope(r, start, end)
    well, by_sigma = q * (q - 1), q * (12 * q - 6) * switch
    return well * switch, inverse * (well * slope - inverse * by_sigma), by_sigma


class _PairEnergy(torch.autograd.Function):
    """``u`` of :func:`_pair_terms`, with its first derivatives: half the time of finding them by autograd.

    Where derivatives of the derivatives are wanted, they are computed anew, in operations that autograd can follow.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(vectors: Tensor, sigma: Tensor, start: float, end: float) -> tuple[Tensor, Tensor, Tensor]:
        return _pair_terms(vectors, sigma, start, end)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        ctx.range = inputs[2:]
        ctx.mark_non_differentiable(*output[1:])
        saved = (*inputs[:2], *output[1:])
        ctx.save_for_backward(*saved)
        ctx.save_for_forward(*saved)  # under vmap both must be the same tensors

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, *others: Tensor) -> tuple[Tensor, Tensor, None, None]:
        vectors, sigma, slope, by_sigma = ctx.saved_tensors
        if torch.is_grad_enabled():
            _, slope, by_sigma = _pair_terms(vectors, sigma, *ctx.range)
        return (gradient * slope)[:, None] * vectors, (gradient * by_sigma).sum() / sigma, None, None

    @staticmethod
    def jvp(
        ctx: Any, vectors_change: Tensor | None, sigma_change: Tensor | None, *others: None
    ) -> tuple[Any, None, None]:
        vectors, sigma, _, _ = ctx.saved_tensors
        _, slope, by_sigma = _pair_terms(vectors, sigma, *ctx.range)
        change = torch.zeros_like(slope)
        if vectors_change is not None:
            change = change + slope * (vectors * vectors_change).sum(1)
        if sigma_change is not None:
            change = change + by_sigma / sigma * sigma_change
        return change, None, None
