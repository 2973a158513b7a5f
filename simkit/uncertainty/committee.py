"""Statistics of members: mean, unbiased covariance, samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor

from simkit.evaluation import Prediction
from simkit.uncertainty.prediction import Provenance, Samples, UncertainPrediction
from simkit.voigt import to_voigt


def committee_prediction(
    members: Sequence[Prediction], provenance: Provenance, samples: int = 0
) -> UncertainPrediction:
    """Mean and covariance of what members predict.

    ``cov = Σ_m (y_m - y)(y_m - y)ᵀ / (M - 1)`` for the energy, each atom's energy and force, and the stress.

    Args:
        members: predictions of at least two members for the same systems.
        provenance: of the method.
        samples: how many members to return beside, from the first one on.
    """
    energy = _stacked(members, "energy")
    energies = _stacked(members, "energies")
    forces = _stacked(members, "forces")
    stress = _stacked(members, "stress")
    assert energy is not None
    return UncertainPrediction(
        energy=energy.mean(0),
        provenance=provenance,
        energies=_mean(energies),
        forces=_mean(forces),
        stress=_mean(stress),
        energy_std=energy.std(0, correction=1),
        energies_std=None if energies is None else energies.std(0, correction=1),
        forces_cov=None if forces is None else covariance(forces),
        stress_cov=None if stress is None else covariance(to_voigt(stress)),
        samples=Samples(energy[:samples], _first(forces, samples), _first(stress, samples)) if samples else None,
    )


def covariance(values: Float[Tensor, "members *batch n"]) -> Float[Tensor, "*batch n n"]:
    """Unbiased covariance of vectors over the members."""
    deviations = values - values.mean(0)
    return torch.einsum("m...i,m...j->...ij", deviations, deviations) / (len(values) - 1)


def _stacked(members: Sequence[Prediction], name: str) -> Tensor | None:
    values = [getattr(member, name) for member in members]
    return None if values[0] is None else torch.stack(cast(list[Tensor], values))


def _mean(values: Tensor | None) -> Tensor | None:
    return None if values is None else values.mean(0)


def _first(values: Tensor | None, count: int) -> Tensor | None:
    return None if values is None else values[:count]
