"""Cheap potentials and batches of the tests of thermostats."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from ase import Atoms
from ase.build import bulk

from simkit.graph import Graph
from simkit.potential import AtomicOutput, Capabilities, Potential
from simkit.potentials.lennard_jones import LennardJones
from simkit.system import System

EPSILON = 0.0104
ARGON = LennardJones(epsilon=EPSILON, sigma=3.4, cutoff=8.0)


class Springs(Potential):
    """Every atom on a spring to the origin: ``E = Σ k x² / 2``."""

    kind: ClassVar[str] = "springs"

    def __init__(self, constant: float) -> None:
        super().__init__(Capabilities(cutoff=0.1, interaction_range=0.1))
        self.constant = constant

    def forward(self, graph: Graph) -> AtomicOutput:
        return AtomicOutput(0.5 * self.constant * graph.system.positions.square().sum(1))

    def config(self) -> dict[str, Any]:
        return {"constant": self.constant}


def oscillators(systems: int, atoms: int) -> System:
    """Atoms at the origin, for springs to hold."""
    return System.from_ase([Atoms(f"Ar{atoms}", positions=torch.zeros(atoms, 3).numpy())] * systems)


def clusters(systems: int) -> System:
    """Solid argon, eight atoms in a periodic cell."""
    return System.from_ase([bulk("Ar", "fcc", a=5.4, cubic=True) * (2, 1, 1)] * systems)
