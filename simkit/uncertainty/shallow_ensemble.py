"""Shallow ensembles (DPOSE): several last layers on one network, trained by scores of their spread."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from simkit.errors import SimkitError
from simkit.evaluation import Prediction, evaluate_several
from simkit.graph import Graph
from simkit.neighbours import Neighbours
from simkit.potential import AtomicOutput, Potential
from simkit.system import System
from simkit.uncertainty.base import Committee
from simkit.uncertainty.gaussian import GaussianPotential, Gaussians
from simkit.uncertainty.last_layer import last_layer_size
from simkit.uncertainty.prediction import Provenance

CITATION = "M. Kellner, M. Ceriotti, Mach. Learn.: Sci. Technol. 5, 035006 (2024), arXiv:2402.16621"


class ShallowEnsemble(Committee, GaussianPotential):
    """A potential with H sets of weights of its last layer.

    With per-atom features φ_i in which the energy is linear, head h predicts ``E_i^(h) = E_i + w_h·φ_i``. The heads
    start as independent normal weights of mean zero, so that the mean prediction first is the potential's own. Weights
    and network are then trained by a score of mean and spread, see
    :class:`~simkit.training.gaussian_objective.GaussianObjective`. All heads take one forward pass, and one backward
    pass under ``vmap``.

    The heads share the network, so they know little of its errors: calibrate. Spread that was trained on energies alone
    says little about forces.

    Args:
        potential: one with last-layer features, such as MACE or PaiNN.
        n_heads: H.
        width: standard deviation of the heads' weights at the start; trained weights of MACE and PaiNN are of order 1.
        seed: of the heads.

    Raises:
        SimkitError: fewer than two heads, a width that is not positive, or a potential without last-layer features.

    Reference: M. Kellner, M. Ceriotti, Mach. Learn.: Sci. Technol. 5, 035006 (2024), arXiv:2402.16621.
    """

    kind: ClassVar[str] = "shallow-ensemble"

    def __init__(self, potential: Potential, n_heads: int = 16, *, width: float = 0.1, seed: int = 0) -> None:
        facts = potential.capabilities
        super().__init__(replace(facts, citations=(*facts.citations, CITATION)))
        if n_heads < 2 or not width > 0:
            raise SimkitError(f"expected at least two heads of positive width, found {n_heads} heads of width {width}")
        size = last_layer_size(potential, "a shallow ensemble")
        generator = torch.Generator().manual_seed(seed)
        heads = torch.randn(n_heads, size, generator=generator, dtype=torch.float64)
        heads = width * (heads - heads.mean(0))
        self.potential = potential
        self.width = width
        self.heads = nn.Parameter(heads.to(device=potential.device, dtype=potential.dtype))

    @property
    def provenance(self) -> Provenance:
        """The heads' backward passes share what the network computes; costs about a third of as many evaluations."""
        return Provenance("shallow ensemble", "members", dof=self.n_members - 1, cost=1 + self.n_members / 3)

    @property
    def n_members(self) -> int:
        """The number of heads."""
        return self.heads.shape[0]

    def member_energies(self, graph: Graph) -> Float[Tensor, "members atoms"]:
        """Energy of each atom by each head."""
        return self._by_head(self.potential(graph))

    def forward(self, graph: Graph) -> AtomicOutput:
        """The mean over the heads, with the potential's features."""
        output = self.potential(graph)
        assert output.last_layer is not None
        energies = output.energies + output.last_layer @ self.heads.mean(0)
        return AtomicOutput(energies, features=output.features, last_layer=output.last_layer)

    def member_predictions(
        self, system: System, neighbours: Neighbours | None, outputs: Sequence[str]
    ) -> list[Prediction]:
        """All heads from one forward pass."""
        return evaluate_several(self.potential, self._by_head, system, neighbours, outputs)[1]

    def gaussians(
        self, system: System, neighbours: Neighbours, outputs: Sequence[str], create_graph: bool = False
    ) -> Gaussians:
        """Mean and unbiased variance of the heads."""
        heads = evaluate_several(self.potential, self._by_head, system, neighbours, outputs, create_graph)[1]
        energy, forces, stress = [_joined(heads, name) for name in ("energy", "forces", "stress")]
        assert energy is not None
        mean = Prediction(
            energy=energy.mean(0),
            forces=None if forces is None else forces.mean(0),
            stress=None if stress is None else stress.mean(0),
        )
        return Gaussians(mean, energy.var(0), None if forces is None else forces.var(0))

    def config(self) -> dict[str, Any]:
        """Specification of the potential, and the number of heads."""
        return {"potential": self.potential.specification(), "n_heads": self.n_members, "width": self.width}

    @classmethod
    def from_config(cls, config: dict[str, Any], build: Callable[[dict[str, Any]], Potential]) -> ShallowEnsemble:
        """Rebuild the potential, then the heads."""
        return cls(build(config["potential"]), config["n_heads"], width=config["width"])

    def _by_head(self, output: AtomicOutput) -> Float[Tensor, "members atoms"]:
        assert output.last_layer is not None
        return output.energies + self.heads @ output.last_layer.T


def _joined(heads: Sequence[Prediction], name: str) -> Tensor | None:
    values = [getattr(head, name) for head in heads]
    return None if values[0] is None else torch.stack(values)
