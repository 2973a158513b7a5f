"""Choose frames to be labelled: as different from one another, and from what is known, as can be."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from simkit.errors import DataError, SimkitError
from simkit.evaluation import evaluate
from simkit.potential import Potential
from simkit.system import System

CITATION = "T. F. Gonzalez, Theor. Comput. Sci. 38, 293 (1985), doi:10.1016/0304-3975(85)90224-5"


def farthest_points(
    points: Float[ndarray, "candidates dimensions"],
    count: int,
    known: Float[ndarray, "known dimensions"] | None = None,
) -> list[int]:
    """Choose points one after another, each the farthest from those that are known or chosen.

    The largest distance from any candidate to its nearest chosen point is at most twice the smallest possible one.

    Args:
        points: to choose from.
        count: how many; all, in this order, if there are fewer.
        known: points that need not be chosen again; without any, the first is the one farthest from the mean.

    Raises:
        DataError: points that are not finite.

    Reference: T. F. Gonzalez, Theor. Comput. Sci. 38, 293 (1985), doi:10.1016/0304-3975(85)90224-5.
    """
    if not np.isfinite(points).all():
        raise DataError("expected finite descriptors of the frames to choose from, found NaN or infinity")
    if len(points) == 0:
        return []
    origins = points.mean(0, keepdims=True) if known is None or len(known) == 0 else known
    nearest = np.min([np.linalg.norm(points - one, axis=1) for one in origins], axis=0)
    chosen: list[int] = []
    for _ in range(min(count, len(points))):
        nearest[chosen] = -1.0
        index = int(nearest.argmax())
        chosen.append(index)
        distance = np.linalg.norm(points - points[index], axis=1)
        nearest = distance if known is None and len(chosen) == 1 else np.minimum(nearest, distance)
    return chosen


def structure_descriptors(potential: Potential, systems: Sequence[System]) -> Float[ndarray, "frames dimensions"]:
    """Mean and standard deviation of the potential's features over the atoms of each structure.

    They do not change with rotation, translation or the order of atoms, nor with the size of a supercell.

    Raises:
        SimkitError: the potential has no features.
    """
    rows = []
    for system in systems:
        features = evaluate(potential, system.to(dtype=potential.dtype), outputs=("features",)).features
        if features is None:
            raise SimkitError(
                f"expected a potential with features to tell structures apart, found a {potential.kind} potential "
                "without: choose frames by their uncertainty alone"
            )
        values = features.double()
        rows.append(torch.cat([values.mean(0), values.std(0, correction=0)]))
    return torch.stack(rows).cpu().numpy()
