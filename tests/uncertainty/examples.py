"""Small potentials with last-layer features."""

from __future__ import annotations

from simkit.potentials.mace import MACE
from simkit.potentials.painn import PaiNN


def mace(heads: int = 1, **changes) -> MACE:
    """A small MACE for H and O."""
    names = ("a", "b")[:heads]
    arguments = {
        "elements": (1, 8),
        "cutoff": 3.2,
        "hidden_irreps": "4x0e+4x1o",
        "max_ell": 2,
        "correlation": 2,
        "n_radial": 4,
        "radial_mlp": (8,),
        "readout_mlp": "5x0e",
        "average_neighbours": 4.0,
        "reference_energies": [[-13.6, -2041.8], [-1.0, -2.0]][:heads],
        "scale": [0.8, 1.3][:heads],
        "shift": [0.1, -0.2][:heads],
        "heads": names,
    }
    return MACE(**{**arguments, **changes})


def painn(heads: int = 1, **changes) -> PaiNN:
    """A small PaiNN for H and O."""
    arguments = {
        "elements": (1, 8),
        "cutoff": 3.2,
        "channels": 8,
        "layers": 2,
        "n_radial": 4,
        "average_neighbours": 4.0,
        "reference_energies": [[-13.6, -2041.8], [-1.0, -2.0]][:heads],
        "scale": [0.8, 1.3][:heads],
        "shift": [0.1, -0.2][:heads],
    }
    return PaiNN(**{**arguments, **changes})
