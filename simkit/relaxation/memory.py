"""How much fits into memory at once: measured on a small batch, not guessed."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Budget:
    """What may be evaluated together.

    Attributes:
        atoms: of all systems of a batch.
        pairs: in the neighbour list of all systems of a batch.
    """

    atoms: float = math.inf
    pairs: float = math.inf

    def fits(self, atoms: int, pairs: float) -> bool:
        """Whether so many are allowed."""
        return atoms <= self.atoms and pairs <= self.pairs
