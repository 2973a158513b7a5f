"""The loss as sums and counts, so that batches and processes combine exactly."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from simkit.datasets.base import Batch
from simkit.evaluation import Prediction
from simkit.training.settings import LossSettings

TERMS = ("energy", "forces", "stress")
"""The order of the terms in every tensor of sums, counts or weights."""


@dataclass(frozen=True)
class LossSums:
    """Sums of ``weight·ℓ`` over all labelled values of each term, and the number of these values.

    Attributes:
        sums: differentiable, float64.
        counts: float64; systems for the energy, components for forces and stress.
    """

    sums: Float[Tensor, " terms"]
    counts: Float[Tensor, " terms"]


def loss_sums(prediction: Prediction, batch: Batch, settings: LossSettings) -> LossSums:
    """Sum ℓ over everything that is both labelled and predicted; the labels that a frame lacks do not contribute."""
    zero = torch.zeros((), dtype=torch.float64, device=batch.system.device)
    sums, counts = [zero] * 3, [zero] * 3
    for index, residual in enumerate(residuals(prediction, batch, settings.free_atoms_only)):
        if residual is None:
            continue
        delta = residual.new_full((), settings.delta)
        if settings.kind == "universal" and TERMS[index] == "forces":
            delta = conditional_delta(reference_forces(batch, settings.free_atoms_only), settings.delta)
        value = pointwise(residual, settings.kind, delta)
        sums[index] = (value * row_weights(batch, index, settings.free_atoms_only)).sum()
        counts[index] = zero + residual.numel()
    return LossSums(torch.stack(sums), torch.stack(counts))


def combine(
    sums: Float[Tensor, " terms"], counts: Float[Tensor, " terms"], weights: Float[Tensor, " terms"]
) -> Float[Tensor, ""]:
    """``Σ_t w_t·sum_t/count_t``; a term without labels contributes nothing."""
    return (weights * sums / counts.clamp(min=1)).sum()


def residuals(prediction: Prediction, batch: Batch, free_atoms_only: bool) -> list[Tensor | None]:
    """Errors of energy per atom, force components and stress components where labelled, in float64; None if absent."""
    labels, system = batch.labels, batch.system
    found: list[Tensor | None] = [None, None, None]
    if labels.energy is not None:
        error = (prediction.energy - labels.energy) / system.counts
        found[0] = error[batch.has_energy]
    if labels.forces is not None and prediction.forces is not None:
        rows = force_rows(batch, free_atoms_only)
        found[1] = prediction.forces[rows].double() - labels.forces[rows].double()
    if labels.stress is not None and prediction.stress is not None:
        rows = stress_rows(batch)
        found[2] = prediction.stress[rows].double() - labels.stress[rows].double()
    return found


def force_rows(batch: Batch, free_atoms_only: bool) -> Bool[Tensor, " atoms"]:
    """Atoms whose forces are labelled and count."""
    rows = batch.has_forces[batch.system.batch]
    if free_atoms_only and batch.system.fixed is not None:
        rows = rows & ~batch.system.fixed
    return rows


def stress_rows(batch: Batch) -> Bool[Tensor, " systems"]:
    """Systems whose stress is labelled and defined: periodic along all three axes."""
    return batch.has_stress & batch.system.pbc.all(1)


def reference_forces(batch: Batch, free_atoms_only: bool) -> Float[Tensor, "rows 3"]:
    """Labelled forces that count, in float64."""
    assert batch.labels.forces is not None
    return batch.labels.forces[force_rows(batch, free_atoms_only)].double()


def conditional_delta(reference: Float[Tensor, "rows 3"], delta: float) -> Float[Tensor, "rows 1"]:
    """Huber's delta for forces: times 1, 0.7, 0.4, 0.1 for ``|F_ref|`` below 100, 200, 300 eV/Å and from 300 on.

    Reference: I. Batatia et al., arXiv:2401.00096 (MACE-MP-0), supplementary information.
    """
    norm = reference.norm(dim=1, keepdim=True)
    factors = norm.new_tensor([1.0, 0.7, 0.4, 0.1])
    return delta * factors[torch.bucketize(norm, norm.new_tensor([100.0, 200.0, 300.0]), right=True)]


def pointwise(residual: Tensor, kind: str, delta: Tensor) -> Tensor:
    """The function ℓ of each error."""
    if kind == "mse":
        return residual.square()
    size = residual.abs()
    if kind == "mae":
        return size
    return torch.where(size < delta, 0.5 * size.square(), delta * (size - 0.5 * delta))


def row_weights(batch: Batch, term: int, free_atoms_only: bool) -> Tensor:
    """The frames' weights, shaped for one term's errors."""
    weight = batch.weight.double()
    if TERMS[term] == "energy":
        return weight[batch.has_energy]
    if TERMS[term] == "forces":
        return weight[batch.system.batch[force_rows(batch, free_atoms_only)]][:, None]
    return weight[stress_rows(batch)][:, None, None]
