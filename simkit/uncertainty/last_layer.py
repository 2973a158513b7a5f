"""The features in which a learned energy is linear, and the posterior of the weights that multiply them.

With per-atom features φ_i and ``f = Σ_i φ_i``, the energy is ``E = w·f + (what depends on no w)``. The data add up to a
precision A of the weights: for noise of standard deviation s_E per atom, s_F and s_σ,

    A = Σ_n [f fᵀ/(N² s_E²) + Σ_iα G_iα G_iαᵀ/s_F² + Σ_αβ H_αβ H_αβᵀ/s_σ²],   G = -∂f/∂x,   H = ∂f/∂ε / V.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from simkit.datasets.base import Batch, Dataset
from simkit.datasets.loader import Loader
from simkit.errors import DataError, SimkitError
from simkit.evaluation import Prediction, evaluate_several
from simkit.graph import Graph
from simkit.potential import AtomicOutput, Potential
from simkit.progress import Progress, Silent
from simkit.system import System
from simkit.training.frames import CheckedFrames, on_device
from simkit.training.loss import TERMS, force_rows, residuals, row_weights, stress_rows


def probe(potential: Potential) -> AtomicOutput:
    """What a potential returns for one atom alone: it tells which features there are."""
    numbers = torch.tensor(potential.capabilities.elements[:1], device=potential.device)
    system = System(
        positions=torch.zeros(1, 3, dtype=potential.dtype, device=potential.device),
        numbers=numbers,
        cell=torch.zeros(1, 3, 3, dtype=potential.dtype, device=potential.device),
        pbc=torch.zeros(1, 3, dtype=torch.bool, device=potential.device),
        batch=torch.zeros_like(numbers),
    )
    none = torch.zeros(0, dtype=torch.int64, device=potential.device)
    with torch.no_grad():
        return potential(Graph(system, none, none, system.positions[:0]))


def last_layer_size(potential: Potential, method: str) -> int:
    """Number of last-layer features.

    Raises:
        SimkitError: the potential has none; the message says which methods apply to it.
    """
    features = probe(potential).last_layer
    if features is None:
        raise SimkitError(
            f"{method} needs a potential that returns the features in which its energy is linear "
            f"(AtomicOutput.last_layer); this {potential.kind} potential has none. MACE and PaiNN have them; an "
            "ensemble of several potentials and conformal prediction apply to any potential"
        )
    if not potential.capabilities.conservative:
        raise SimkitError(
            f"{method} needs forces that are derivatives of the energy; this {potential.kind} potential predicts "
            "them directly. An ensemble of several potentials applies to it"
        )
    return features.shape[1]


def system_features(output: AtomicOutput, system: System) -> Float[Tensor, "systems weights"]:
    """``f = Σ_i φ_i`` of each system, in float64."""
    assert output.last_layer is not None
    features = output.last_layer.double()
    return features.new_zeros(system.n_systems, features.shape[1]).index_add(0, system.batch, features)


def moved_weights(changes: Float[Tensor, "draws weights"]) -> Callable[[AtomicOutput], Tensor]:
    """Energies of the atoms with the present weights, and what changes of the weights add to them."""

    def energies(output: AtomicOutput) -> Float[Tensor, "functions atoms"]:
        assert output.last_layer is not None
        moves = changes.to(output.last_layer.dtype) @ output.last_layer.T
        return torch.cat([output.energies[None].double(), moves.double()])

    return energies


RowsOf = Callable[[Potential, Batch, Sequence[str]], tuple[Prediction, Mapping[str, Tensor]]]
"""Predictions for a batch, and the derivatives of each wanted quantity by the weights, ``systems weights``, ``atoms 3
weights`` or ``systems 3 3 weights``; those of energies are not yet divided by the numbers of atoms."""


def last_layer_rows(
    potential: Potential, batch: Batch, wanted: Sequence[str]
) -> tuple[Prediction, Mapping[str, Tensor]]:
    """Derivatives by the weights of the last layer: a backward pass for each weight if forces or stress are wanted."""
    size = probe(potential).last_layer.shape[1]  # type: ignore[union-attr]
    unit = torch.eye(size, dtype=potential.dtype, device=potential.device)
    changes = unit if {"forces", "stress"} & set(wanted) else unit[:0]
    output, (mean, *parts) = evaluate_several(
        potential, moved_weights(changes), batch.system, batch.neighbours, ("energy", *wanted)
    )
    rows = {"energy": system_features(output, batch.system)}
    for name in ("forces", "stress"):
        if name in wanted:
            rows[name] = torch.stack([getattr(part, name).double() for part in parts], -1)
    return mean, rows


class Rows:
    """Sums over labelled data: the precision and the squared errors of each of energy, forces and stress.

    Args:
        weights: number of weights.
        terms: which rows to collect.
    """

    def __init__(self, weights: int, terms: Sequence[str]) -> None:
        self.terms = tuple(terms)
        self.precision = torch.zeros(len(TERMS), weights, weights, dtype=torch.float64)
        self.squares = torch.zeros(len(TERMS), dtype=torch.float64)
        self.counts = torch.zeros(len(TERMS), dtype=torch.float64)

    def add(self, potential: Potential, batch: Batch, rows_of: RowsOf) -> None:
        """Add the rows of a batch's labels."""
        wanted = [name for name in self.terms if getattr(batch.labels, name) is not None]
        if not wanted:
            return
        mean, rows = rows_of(potential, batch, wanted)
        for term, residual in enumerate(residuals(mean, batch, free_atoms_only=False)):
            if residual is None or TERMS[term] not in wanted:
                continue
            kept = _labelled(TERMS[term], rows[TERMS[term]], batch)
            weight = row_weights(batch, term, free_atoms_only=False).expand(residual.shape).flatten()
            self.precision[term] += ((kept * weight[:, None]).T @ kept).cpu()
            self.squares[term] += float(residual.square().sum())
            self.counts[term] += residual.numel()

    def errors(self) -> dict[str, float]:
        """Root-mean-square error of what is labelled: energies per atom (eV), forces (eV/Å), stress (eV/Å³)."""
        found = zip(TERMS, self.squares.tolist(), self.counts.tolist(), strict=True)
        return {name: (square / count) ** 0.5 for name, square, count in found if count}


def collect_rows(
    potential: Potential,
    weights: int,
    rows_of: RowsOf,
    dataset: Dataset,
    scales: Mapping[str, float] | None,
    terms: Sequence[str],
    batch_size: int,
    progress: Progress | None,
) -> tuple[Float[Tensor, "weights weights"], dict[str, float]]:
    """The precision A of a dataset, and the scales of the noise, which default to the potential's errors.

    Raises:
        SimkitError: an unknown term, or no scale that can be used.
        DataError: no labels of the terms.
    """
    unknown = sorted({*terms, *(scales or {})} - set(TERMS))
    if unknown or not terms:
        raise SimkitError(f"expected terms among {', '.join(TERMS)}, found {', '.join(unknown) or 'none'}")
    rows = Rows(weights, terms)
    for batch in batches(potential, dataset, batch_size, progress or Silent(), "derivatives by the weights"):
        rows.add(potential, batch, rows_of)
    used = {name: (scales or {}).get(name, error) for name, error in rows.errors().items()}
    if not used:
        raise DataError(f"expected frames with labels of {', '.join(terms)}, found none: check the keys of the data")
    wrong = [name for name, scale in used.items() if not (0 < scale < float("inf"))]
    if wrong:
        raise SimkitError(
            f"the noise of {wrong[0]} has a scale of {used[wrong[0]]}, from the potential's errors on the data if none "
            "was given: expected a positive number; give one by scales={...}"
        )
    factors = torch.tensor([used[name] ** -2 if name in used else 0.0 for name in TERMS], dtype=torch.float64)
    return torch.tensordot(factors, rows.precision, 1), used


def batches(potential: Potential, dataset: Dataset, batch_size: int, progress: Progress, title: str) -> Iterator[Batch]:
    """The frames of a dataset in turn, checked, in the potential's floating-point type and on its device."""
    frames = CheckedFrames(dataset, potential, potential.dtype)
    loader = Loader(frames, potential.cutoff, batch_size=batch_size, shuffle=False, memory=0)
    with progress.task(title, len(dataset)) as task:
        for batch in on_device(loader, potential.device):
            yield batch
            task.advance(batch.system.n_systems)


def _labelled(term: str, rows: Float[Tensor, "*shape weights"], batch: Batch) -> Float[Tensor, "rows weights"]:
    """The rows of what is labelled; energies count per atom."""
    if term == "energy":
        return (rows / batch.system.counts[:, None])[batch.has_energy]
    kept = force_rows(batch, free_atoms_only=False) if term == "forces" else stress_rows(batch)
    return rows[kept].flatten(0, -2)
