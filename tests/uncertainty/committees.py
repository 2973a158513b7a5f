"""Small committees of classical potentials."""

from __future__ import annotations

from ase import Atoms
from ase.build import bulk

from simkit.potentials.lennard_jones import LennardJones
from simkit.system import System
from simkit.uncertainty.ensemble import Ensemble

EPSILON, SIGMA, CUTOFF = 0.0104, 3.4, 5.0


def argon(members: int = 4, spread: float = 0.05) -> Ensemble:
    """Lennard-Jones potentials whose parameters differ by multiples of ``spread``."""
    factors = [1 + spread * (k - (members - 1) / 2) for k in range(members)]
    return Ensemble(*[LennardJones(EPSILON * f, SIGMA * (2 - f) ** 0.2, CUTOFF) for f in factors])


def crystal(seed: int = 1, rattle: float = 0.1, repeat: int = 1) -> Atoms:
    """Solid argon, four atoms in a periodic cell, off its sites."""
    atoms = bulk("Ar", "fcc", a=5.3, cubic=True) * (repeat, 1, 1)
    atoms.rattle(rattle, seed=seed)
    return atoms


def system(seed: int = 1, rattle: float = 0.1) -> System:
    """The crystal as a system."""
    return System.from_ase(crystal(seed, rattle))
