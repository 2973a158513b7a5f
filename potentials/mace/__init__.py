"""MACE: higher-order equivariant message passing."""

from simkit.potentials.mace.model import MACE

__all__ = ["MACE"]
