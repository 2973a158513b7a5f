"""A new potential whose normalisation comes from the training data."""

from __future__ import annotations

from inspect import Parameter, signature
from typing import Any

import torch

from simkit.datasets.statistics import Statistics
from simkit.errors import DataError
from simkit.potential import Potential
from simkit.potentials.catalogue import build, potential_class
from simkit.potentials.default_dtype import default_dtype
from simkit.training.architectures import CustomArchitecture, NewArchitecture, Normalisation


def new_potential(
    architecture: NewArchitecture, statistics: Statistics, normalisation: Normalisation, seed: int
) -> Potential:
    """A potential with random weights for the elements, the neighbours and the energies of the training data.

    Args:
        architecture: kind and sizes.
        statistics: of the training data, with the architecture's cutoff.
        normalisation: choice of scale and shift.
        seed: of the weights.

    Raises:
        DataError: the data lack the labels that the normalisation needs.
        SimkitError: arguments that the architecture refuses.
    """
    elements = [number for number in statistics.elements if statistics.element_counts[number]]
    kind = architecture.potential if isinstance(architecture, CustomArchitecture) else architecture.kind
    from_data = {
        "elements": elements,
        "average_neighbours": max(statistics.average_neighbours or 0.0, 1.0),
        "reference_energies": [[statistics.reference_energies[number] for number in elements]],
        "scale": _scale(statistics, normalisation),
        "shift": _shift(statistics, normalisation),
    }
    config = {**_accepted(kind, from_data), **architecture.config()}
    with default_dtype(torch.float64):  # constants keep all their digits
        torch.manual_seed(seed)
        return build({"kind": kind, "config": config})


def _accepted(kind: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments that the constructor of a kind has."""
    parameters = signature(potential_class(kind)).parameters
    if any(parameter.kind is Parameter.VAR_KEYWORD for parameter in parameters.values()):
        return arguments
    return {name: value for name, value in arguments.items() if name in parameters}


def _scale(statistics: Statistics, normalisation: Normalisation) -> float:
    if not isinstance(normalisation.scale, str):
        return normalisation.scale
    values = {"rms_force": statistics.rms_force, "energy_std": statistics.interaction_per_atom_std}
    value = values[normalisation.scale]
    if not value:
        known = [name for name, number in values.items() if number]
        remedy = f"set normalisation.scale to {' or '.join([*known, 'a number in eV'])}"
        raise DataError(f"the scale {normalisation.scale} of the training data is {value or 'not known'}: {remedy}")
    return value


def _shift(statistics: Statistics, normalisation: Normalisation) -> float:
    if not isinstance(normalisation.shift, str):
        return normalisation.shift
    if statistics.interaction_per_atom_mean is None:
        raise DataError("no training frame has an energy: set normalisation.shift to a number in eV, e.g. 0")
    return statistics.interaction_per_atom_mean
