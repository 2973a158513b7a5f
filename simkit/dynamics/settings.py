"""Settings of thermostats and barostats: one number for all systems or one for each."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from simkit.errors import SimkitError
from simkit.system import System

Setting = float | Sequence[float] | Tensor
"""One number for all systems, or one for each."""


def setting(
    value: Setting,
    name: str,
    *,
    above: float = -math.inf,
    at_least: float = -math.inf,
) -> Tensor:
    """A checked setting in float64: a number, or a vector with one for each system.

    Args:
        value: the number or numbers.
        name: with its unit, for messages.
        above: the numbers must be greater than this.
        at_least: the numbers must not be less than this.

    Raises:
        SimkitError: more than one dimension, or a number that is out of bounds or not finite.
    """
    values = torch.as_tensor(value, dtype=torch.float64)
    if values.dim() > 1:
        raise SimkitError(f"expected one {name}, or one for each system; found an array of shape {tuple(values.shape)}")
    for number in values.flatten().tolist():
        if not (above < number < math.inf and number >= at_least):
            bounds = f" above {above:g}" * (above > -math.inf) + f" of at least {at_least:g}" * (at_least > -math.inf)
            raise SimkitError(f"expected a finite {name}{bounds}, found {number:g}")
    return values


def for_systems(values: Tensor, system: System, name: str) -> Tensor:
    """A setting that can be multiplied with a vector that has one number for each of the systems.

    Raises:
        SimkitError: as many numbers as neither one nor the systems.
    """
    if values.dim() == 0:
        return values
    if values.shape[0] != system.n_systems:
        raise SimkitError(
            f"expected one {name}, or one for each of the {system.n_systems} systems; found {values.shape[0]} values"
        )
    return values.to(system.device)
