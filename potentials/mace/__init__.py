"""MACE: higher-order equivariant message passing."""

from simkit.potentials.mace.elements import with_elements
from simkit.potentials.mace.model import MACE

__all__ = ["MACE", "with_elements"]
