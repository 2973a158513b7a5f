"""Small potentials with last-layer features."""

from __future__ import annotations

import torch

from simkit.datasets.base import Frame, Labels
from simkit.datasets.combine import MemoryDataset
from simkit.evaluation import evaluate
from simkit.potentials.mace import MACE
from simkit.potentials.painn import PaiNN
from tests.conformance import systems


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


def labelled_water(count: int = 6) -> MemoryDataset:
    """Molecules of H and O with the labels of another network."""
    torch.manual_seed(5)
    truth, made = mace(), []
    for index in range(count):
        system = systems.crystal((1, 8), 1.6, seed=30 + index)
        found = evaluate(truth, system, outputs=("energy", "forces"))
        made.append(Frame(system, Labels(found.energy, found.forces), name=f"water:{index}"))
    return MemoryDataset(made)
