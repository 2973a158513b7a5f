"""MACE: higher-order equivariant message passing."""

from simkit.potentials.mace.elements import with_elements
from simkit.potentials.mace.model import MACE
from simkit.potentials.mace.radial_spline import SplinedMACE

__all__ = ["MACE", "SplinedMACE", "with_elements"]
