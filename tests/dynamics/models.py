"""Cheap potentials and batches of the tests of thermostats."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from ase import Atoms
from ase.build import bulk

from simkit.dynamics.state import MDState
from simkit.potentials.lennard_jones import LennardJones
from simkit.system import System

EPSILON = 0.0104
ARGON = LennardJones(epsilon=EPSILON, sigma=3.4, cutoff=5.0)


@dataclass
class Springs:
    """Forces of springs that hold every atom at the origin: ``E = Σ k x² / 2``."""

    constant: float
    evaluations: int = 0

    def __call__(self, state: MDState) -> MDState:
        if state.forces is not None:
            return state
        self.evaluations += 1
        positions = state.system.positions
        energy = state.sum_over_atoms(0.5 * self.constant * positions.square().sum(1))
        return replace(state, energy=energy, forces=-self.constant * positions)


def oscillators(systems: int, atoms: int) -> System:
    """Atoms at the origin, for springs to hold."""
    return System.from_ase([Atoms(f"Ar{atoms}", positions=np.zeros((atoms, 3)))] * systems)


def crystals(systems: int) -> System:
    """Solid argon, eight atoms in a periodic cell."""
    return System.from_ase([bulk("Ar", "fcc", a=5.4, cubic=True) * (2, 1, 1)] * systems)
