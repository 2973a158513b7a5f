"""Features of the atoms of a dataset, element by element."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from ase.data import chemical_symbols
from jaxtyping import Float
from torch import Tensor

from simkit.datasets.base import Dataset
from simkit.errors import DataError, SimkitError
from simkit.graph import make_graph
from simkit.potential import Potential
from simkit.progress import Progress
from simkit.uncertainty.last_layer import batches, probe

Space = Literal["features", "last_layer"]


def feature_size(potential: Potential, space: Space) -> int:
    """Number of features of a potential.

    Raises:
        SimkitError: it has none; the message says which methods apply.
    """
    if space not in get_args(Space):
        raise SimkitError(f"expected the space 'features' or 'last_layer', found {space!r}")
    features = getattr(probe(potential), space)
    if features is None:
        raise SimkitError(
            f"the latent distance needs a potential that returns {space} (AtomicOutput.{space}); this "
            f"{potential.kind} potential has none. An ensemble of several potentials and conformal prediction apply to "
            "any potential"
        )
    return features.shape[1]


def features_by_element(
    potential: Potential, dataset: Dataset, space: Space, batch_size: int, progress: Progress
) -> dict[int, Float[Tensor, "atoms features"]]:
    """Features of all atoms of the data, in float64."""
    parts: dict[int, list[Tensor]] = {}
    for batch in batches(potential, dataset, batch_size, progress, "features of the training data"):
        with torch.no_grad():
            found = getattr(potential(make_graph(batch.system, batch.neighbours)), space).double().cpu()
        numbers = batch.system.numbers.cpu()
        for number in numbers.unique().tolist():
            parts.setdefault(number, []).append(found[numbers == number])
    return {number: torch.cat(parts[number]) for number in sorted(parts)}


def require_atoms(x: Float[Tensor, "atoms features"], number: int, progress: Progress) -> None:
    """Check that there are enough atoms of an element to say how their features are distributed."""
    atoms, size = x.shape
    symbol = chemical_symbols[number]
    if atoms < 2:
        raise DataError(f"expected at least two atoms of {symbol} in the data, found {atoms}: add frames with it")
    if atoms <= size:
        progress.warn(
            f"there are {atoms} atoms of {symbol} for {size} features: distances from them are exaggerated. Give more "
            "frames"
        )
