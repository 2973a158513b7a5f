"""A method that scores atoms and claims no deviations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from simkit.errors import SimkitError
from simkit.evaluation import evaluate
from simkit.graph import Graph
from simkit.neighbours import Neighbours
from simkit.potential import AtomicOutput, Potential
from simkit.system import System
from simkit.uncertainty.base import UncertainPotential
from simkit.uncertainty.prediction import Provenance, UncertainPrediction


class Scoring(UncertainPotential):
    """Scores an atom by the size of its predicted force, and by a number of its own."""

    kind: ClassVar[str] = "scoring"

    def __init__(self, potential: Potential) -> None:
        super().__init__(potential.capabilities)
        self.potential = potential
        self.register_buffer("scale", torch.tensor(2.0))

    @property
    def provenance(self) -> Provenance:
        return Provenance("scoring", "model")

    def forward(self, graph: Graph) -> AtomicOutput:
        return self.potential(graph)

    def energy_variance(self, graph: Graph) -> Float[Tensor, " systems"]:
        raise SimkitError("scoring has no variance of the energy")

    def predict(
        self,
        system: System,
        neighbours: Neighbours | None = None,
        outputs: Sequence[str] = ("energy", "forces"),
        *,
        samples: int = 0,
    ) -> UncertainPrediction:
        found = evaluate(self.potential, system, neighbours, outputs)
        forces = evaluate(self.potential, system, neighbours, ("forces",)).forces
        assert forces is not None
        assert isinstance(self.scale, Tensor)
        score = self.scale * forces.norm(dim=1) + 0.1
        return UncertainPrediction(found.energy, self.provenance, forces=found.forces, stress=found.stress, score=score)

    def config(self) -> dict[str, Any]:
        return {"potential": self.potential.specification()}

    @classmethod
    def from_config(cls, config: dict[str, Any], build: Callable[[dict[str, Any]], Potential]) -> Scoring:
        return cls(build(config["potential"]))
