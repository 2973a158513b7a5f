"""A potential whose uncertainty is what a test wants it to be at a place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import torch
from ase import Atoms
from jaxtyping import Float
from torch import Tensor

from simkit.dynamics import MDState
from simkit.dynamics.state import start
from simkit.graph import Graph
from simkit.neighbours import Neighbours
from simkit.potential import AtomicOutput, Capabilities
from simkit.system import System
from simkit.uncertainty.base import UncertainPotential
from simkit.uncertainty.prediction import Provenance, UncertainPrediction

Field = Callable[[Tensor], Tensor]


class Scripted(UncertainPotential):
    """No forces at all; the deviation of the force on an atom, or its score, is a function of x in Å."""

    kind: ClassVar[str] = "scripted"

    def __init__(self, field: Field, *, calibrated: bool = True, score: bool = False) -> None:
        super().__init__(Capabilities(1.0, 1.0))
        self.field, self.calibrated, self.score = field, calibrated, score

    @property
    def provenance(self) -> Provenance:
        return Provenance("script", "model", calibrated=self.calibrated)

    def forward(self, graph: Graph) -> AtomicOutput:
        return AtomicOutput(0 * graph.system.positions.sum(1))

    def energy_variance(self, graph: Graph) -> Float[Tensor, " systems"]:
        return graph.vectors.new_ones(graph.system.n_systems)

    def predict(
        self,
        system: System,
        neighbours: Neighbours | None = None,
        outputs: Sequence[str] = ("energy", "forces"),
        *,
        samples: int = 0,
    ) -> UncertainPrediction:
        values = self.field(system.positions[:, 0])
        covariance = values.square()[:, None, None] * torch.eye(3)
        energy = torch.zeros(system.n_systems)
        if self.score:
            return UncertainPrediction(energy, self.provenance, score=values)
        return UncertainPrediction(energy, self.provenance, energy_std=energy, forces_cov=covariance)

    def config(self) -> dict[str, Any]:
        return {}


def flying(speeds: Sequence[float], per_fs: float = 0.01) -> MDState:
    """Systems of two free atoms each; both atoms of a system fly along x with a speed in units of ``per_fs`` Å/fs."""
    frames = [Atoms("Ar2", [[0, 0, 0], [0, 5, 0]]) for _ in speeds]
    state = start(System.from_ase(frames), 0.0)
    momenta = torch.zeros_like(state.momenta)
    momenta[:, 0] = state.masses * per_fs * torch.tensor(speeds, dtype=torch.float64).repeat_interleave(2)
    return replace(state, momenta=momenta)
