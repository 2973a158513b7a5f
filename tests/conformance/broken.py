"""A small correct potential, and copies of it that are each wrong in one way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from simkit.graph import Graph
from simkit.potential import AtomicOutput, Capabilities, Potential
from simkit.potentials.cutoffs import quintic_switch

CUTOFF = 4.0


class Healthy(Potential):
    """``E_i = -tanh(w ρ_i)`` with ``ρ_i = Σ_j z_j exp(-r²/8) s(r)/10``."""

    kind: ClassVar[str] = "healthy"
    layers: ClassVar[int] = 1

    def __init__(self, weight: float = 0.7, elements: Sequence[int] = (1, 6, 8)) -> None:
        super().__init__(Capabilities(CUTOFF, CUTOFF, tuple(elements)))
        self.weight = nn.Parameter(torch.tensor(weight))
        self.register_buffer("factor", torch.tensor(0.1))

    def forward(self, graph: Graph) -> AtomicOutput:
        return AtomicOutput(self.energies(graph))

    def energies(self, graph: Graph) -> Tensor:
        return -torch.tanh(self.weight * self.density(graph))

    def density(self, graph: Graph) -> Tensor:
        return self.gather(graph, self.pair(graph))

    def pair(self, graph: Graph) -> Tensor:
        return self.factor * graph.system.numbers[graph.neighbour] * self.radial(graph.vectors)

    def radial(self, vectors: Tensor) -> Tensor:
        squared = vectors.square().sum(1)
        return torch.exp(-squared / 8) * quintic_switch(squared.sqrt(), 0.8 * CUTOFF, CUTOFF)

    def gather(self, graph: Graph, values: Tensor) -> Tensor:
        shape = (graph.system.n_atoms, *values.shape[1:])
        return values.new_zeros(shape).index_add(0, graph.centre, values)

    def config(self) -> dict[str, Any]:
        return {"weight": self.weight.item(), "elements": list(self.capabilities.elements)}


class Constant(Healthy):
    def energies(self, graph: Graph) -> Tensor:
        return 0 * super().energies(graph)


class Anisotropic(Healthy):
    def radial(self, vectors: Tensor) -> Tensor:
        return super().radial(vectors * torch.tensor([1.0, 1.0, 1.01]))


class Chiral(Healthy):
    """Invariant under rotations, not under inversion."""

    def energies(self, graph: Graph) -> Tensor:
        pair, vectors = self.pair(graph)[:, None], graph.vectors
        r = vectors.norm(dim=1, keepdim=True)
        a, b, c = (self.gather(graph, pair * vectors * r**power) for power in range(3))
        return super().energies(graph) + 0.01 * (a * torch.linalg.cross(b, c)).sum(1)


class Anchored(Healthy):
    def energies(self, graph: Graph) -> Tensor:
        return super().energies(graph) + 1e-4 * graph.system.positions.square().sum(1)


class Ordered(Healthy):
    def energies(self, graph: Graph) -> Tensor:
        return super().energies(graph) * (1 + 0.01 * torch.arange(graph.system.n_atoms))


class Unwrapped(Healthy):
    """Invariant under translations of everything, not of one atom by a lattice vector."""

    def energies(self, graph: Graph) -> Tensor:
        centred = graph.system.positions - graph.system.positions.mean(0)
        return super().energies(graph) + 1e-4 * centred.square().sum(1)


class CellLengths(Healthy):
    def energies(self, graph: Graph) -> Tensor:
        lengths = graph.system.lattice.square().sum((1, 2))
        return super().energies(graph) + 1e-4 * lengths[graph.system.batch]


class VacuumVolume(Healthy):
    """Uses the cell of systems that have no volume."""

    def energies(self, graph: Graph) -> Tensor:
        volume = torch.linalg.det(graph.system.cell).abs()
        return super().energies(graph) + 1e-3 * volume[graph.system.batch]


class Averaged(Healthy):
    """Not extensive."""

    def energies(self, graph: Graph) -> Tensor:
        return super().energies(graph) / graph.system.counts[graph.system.batch]


class Detached(Healthy):
    def radial(self, vectors: Tensor) -> Tensor:
        return super().radial(vectors) * (1 + 0.01 * vectors.detach().square().sum(1))


class DetachedCell(Healthy):
    """Right forces, wrong virial."""

    def energies(self, graph: Graph) -> Tensor:
        volume = torch.linalg.det(graph.system.lattice).abs().detach()
        return super().energies(graph) * (1 + 0.1 * volume[graph.system.batch])


class _FirstOrderSquare(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x**2

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        return gradient * 2 * ctx.saved_tensors[0].detach()


class FirstOrderOnly(Healthy):
    """Right forces, wrong second derivatives."""

    def radial(self, vectors: Tensor) -> Tensor:
        return _FirstOrderSquare.apply(super().radial(vectors))


class OwnGradient(Healthy):
    """Calls autograd itself, which ``torch.func`` cannot follow."""

    def energies(self, graph: Graph) -> Tensor:
        with torch.enable_grad():
            vectors = graph.vectors.detach().requires_grad_()
            torch.autograd.grad(self.radial(vectors).sum(), vectors)
        return super().energies(graph)


class FrozenWeight(Healthy):
    """The energy depends on a parameter that gets no gradient."""

    def energies(self, graph: Graph) -> Tensor:
        return super().energies(graph) * (1 + self.weight.detach())


class Truncated(Healthy):
    def radial(self, vectors: Tensor) -> Tensor:
        r = vectors.norm(dim=1)
        return torch.exp(-(r**2) / 8) * (r < CUTOFF)


class KinkAtCutoff(Healthy):
    """Continuous energies, discontinuous forces."""

    def radial(self, vectors: Tensor) -> Tensor:
        return (1 - vectors.norm(dim=1) / CUTOFF).clamp(min=0)


class CountedNeighbours(Healthy):
    """Smooth for a pair, not for a third atom."""

    def energies(self, graph: Graph) -> Tensor:
        count = self.gather(graph, torch.ones_like(graph.vectors[:, 0]))
        return super().energies(graph) * (1 + 0.01 * (count - 1).clamp(min=0))


class Unmasked(Healthy):
    """A cosine that rises again beyond the cutoff."""

    def radial(self, vectors: Tensor) -> Tensor:
        return 0.5 * (1 + torch.cos(vectors.norm(dim=1) * torch.pi / CUTOFF))


class Global(Healthy):
    """Every atom feels all others."""

    def energies(self, graph: Graph) -> Tensor:
        density = self.density(graph)
        total = density.new_zeros(graph.system.n_systems).index_add(0, graph.system.batch, density)
        return -torch.tanh(density * total[graph.system.batch])


class TwoHops(Healthy):
    """Reaches twice as far as it declares."""

    def density(self, graph: Graph) -> Tensor:
        first = super().density(graph)
        return first + self.gather(graph, self.pair(graph) * first[graph.neighbour])


class LogDensity(Healthy):
    def energies(self, graph: Graph) -> Tensor:
        return self.weight * torch.log(self.density(graph))


class NeedsEdges(Healthy):
    def energies(self, graph: Graph) -> Tensor:
        return super().energies(graph) * (1 + 0 * graph.vectors.max())


class UnsafeNorm(Healthy):
    """NaN gradient where a vector feature vanishes."""

    def energies(self, graph: Graph) -> Tensor:
        vector = self.gather(graph, self.pair(graph)[:, None] * graph.vectors)
        return super().energies(graph) + vector.square().sum(1).sqrt()


class UnsortedElements(Healthy):
    def __init__(self, weight: float = 0.7) -> None:
        super().__init__(weight, (8, 1, 6))


class MixedSystems(Healthy):
    """Systems of one batch influence one another."""

    def energies(self, graph: Graph) -> Tensor:
        density = self.density(graph)
        return -torch.tanh(density - 0.1 * density.mean())


class ChangesNumbers(Healthy):
    def energies(self, graph: Graph) -> Tensor:
        graph.system.numbers.clamp_(max=6)
        return super().energies(graph)


class CountsCalls(Healthy):
    def energies(self, graph: Graph) -> Tensor:
        self.factor += 1e-6
        return super().energies(graph)


class Cancelling(Healthy):
    def energies(self, graph: Graph) -> Tensor:
        return (1e5 + super().energies(graph)) - 1e5


class Conditional(Healthy):
    """Charged systems are bound more strongly."""

    conditions: ClassVar[tuple[Literal["charge", "spin"], ...]] = ("charge",)

    def __init__(self, weight: float = 0.7, elements: Sequence[int] = (1, 6, 8)) -> None:
        super().__init__(weight, elements)
        self.capabilities = replace(self.capabilities, conditions=self.conditions)

    def energies(self, graph: Graph) -> Tensor:
        factor = 1 + 0.01 * self.charges(graph).square()
        return super().energies(graph) * factor[graph.system.batch]

    def charges(self, graph: Graph) -> Tensor:
        charge = graph.system.charge
        return graph.system.positions.new_zeros(graph.system.n_systems) if charge is None else charge


class UndeclaredCharge(Conditional):
    conditions = ()


class UnusedSpin(Conditional):
    conditions = ("charge", "spin")


class SharedCharge(Conditional):
    """The charge of one system changes the others of its batch."""

    def charges(self, graph: Graph) -> Tensor:
        charges = super().charges(graph)
        return charges.sum().expand_as(charges)


class ForgetsArgument(Healthy):
    """The configuration does not say what was asked for."""

    def __init__(self, weight: float = 0.7, elements: Sequence[int] = (1, 6, 8), power: float = 1.0) -> None:
        super().__init__(weight, elements)
        self.power = power

    def energies(self, graph: Graph) -> Tensor:
        return super().energies(graph) * self.power


class Branching(Healthy):
    """Python decides by the value of a tensor."""

    def energies(self, graph: Graph) -> Tensor:
        sign = 1 if self.weight.item() > 0 else -1
        return sign * super().energies(graph)
