"""The features in which a learned energy is linear, and the posterior of the weights that multiply them.

With per-atom features φ_i and ``f = Σ_i φ_i``, the energy is ``E = w·f + (what depends on no w)``. The data add up to a
precision A of the weights: for noise of standard deviation s_E per atom, s_F and s_σ,

    A = Σ_n [f fᵀ/(N² s_E²) + Σ_iα G_iα G_iαᵀ/s_F² + Σ_αβ H_αβ H_αβᵀ/s_σ²],   G = -∂f/∂x,   H = ∂f/∂ε / V.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

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

SMALLEST_JITTER = 1e-20
LARGEST_JITTER = 1e10


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

    def add(self, potential: Potential, batch: Batch) -> None:
        """Add the rows of a batch's labels."""
        wanted = [name for name in self.terms if getattr(batch.labels, name) is not None]
        unit = torch.eye(self.precision.shape[1], dtype=potential.dtype, device=potential.device)
        changes = unit if {"forces", "stress"} & set(wanted) else unit[:0]
        output, (mean, *parts) = evaluate_several(
            potential, moved_weights(changes), batch.system, batch.neighbours, ("energy", *wanted)
        )
        for term, residual in enumerate(residuals(mean, batch, free_atoms_only=False)):
            if residual is None or TERMS[term] not in wanted:
                continue
            rows = _rows(TERMS[term], output, parts, batch)
            weight = row_weights(batch, term, free_atoms_only=False).expand(residual.shape).flatten()
            self.precision[term] += ((rows * weight[:, None]).T @ rows).cpu()
            self.squares[term] += float(residual.square().sum())
            self.counts[term] += residual.numel()

    def errors(self) -> dict[str, float]:
        """Root-mean-square error of what is labelled: energies per atom (eV), forces (eV/Å), stress (eV/Å³)."""
        found = zip(TERMS, self.squares.tolist(), self.counts.tolist(), strict=True)
        return {name: (square / count) ** 0.5 for name, square, count in found if count}


def collect_rows(
    potential: Potential,
    dataset: Dataset,
    scales: Mapping[str, float] | None,
    terms: Sequence[str],
    batch_size: int,
    progress: Progress | None,
) -> tuple[Float[Tensor, "weights weights"], dict[str, float]]:
    """The precision A of a dataset, and the scales of the noise, which default to the potential's errors.

    Raises:
        SimkitError: an unknown term, no features, no scale that can be used.
        DataError: no labels of the terms.
    """
    unknown = sorted({*terms, *(scales or {})} - set(TERMS))
    if unknown or not terms:
        raise SimkitError(f"expected terms among {', '.join(TERMS)}, found {', '.join(unknown) or 'none'}")
    rows = Rows(last_layer_size(potential, "the posterior of the last layer"), terms)
    shown = progress or Silent()
    for batch in batches(potential, dataset, batch_size, shown, "features of the last layer"):
        rows.add(potential, batch)
    used = {name: (scales or {}).get(name, error) for name, error in rows.errors().items()}
    if not used:
        raise DataError(f"expected frames with labels of {', '.join(terms)}, found none: check the keys of the data")
    wrong = [name for name, scale in used.items() if not (0 < scale < float("inf"))]
    if wrong:
        raise SimkitError(
            f"the noise of {wrong[0]} has a scale of {used[wrong[0]]}, from the potential's errors on the data if none "
            "was given: expected a positive number; give one by scales={...}"
        )
    total = sum(rows.precision[TERMS.index(name)] / scale**2 for name, scale in used.items())
    assert isinstance(total, Tensor)
    return total, used


def batches(potential: Potential, dataset: Dataset, batch_size: int, progress: Progress, title: str) -> Iterator[Batch]:
    """The frames of a dataset in turn, checked, in the potential's floating-point type and on its device."""
    frames = CheckedFrames(dataset, potential, potential.dtype)
    loader = Loader(frames, potential.cutoff, batch_size=batch_size, shuffle=False, memory=0)
    with progress.task(title, len(dataset)) as task:
        for batch in on_device(loader, potential.device):
            yield batch
            task.advance(batch.system.n_systems)


def _rows(term: str, output: AtomicOutput, parts: Sequence[Prediction], batch: Batch) -> Float[Tensor, "rows weights"]:
    """Derivatives of the labelled values by the weights."""
    if term == "energy":
        return (system_features(output, batch.system) / batch.system.counts[:, None])[batch.has_energy]
    kept = force_rows(batch, free_atoms_only=False) if term == "forces" else stress_rows(batch)
    return torch.stack([_known(getattr(part, term))[kept].double().flatten() for part in parts], 1)


def _known(value: Tensor | None) -> Tensor:
    assert value is not None
    return value


def cholesky(
    precision: Float[Tensor, "weights weights"], jitter: float | None = None
) -> tuple[Float[Tensor, "weights weights"], float]:
    """The lower factor L of ``A + jitter·1 = L Lᵀ``, and the jitter.

    Args:
        precision: A, in float64.
        jitter: what to add; the smallest of 0, 1e-20, 1e-19, ... with which the factorisation succeeds if absent.

    Raises:
        SimkitError: A is not finite, or not positive definite with the jitter that was asked for.
    """
    if not bool(torch.isfinite(precision).all()):
        raise SimkitError("the precision of the last layer's weights is not finite: check the features and the data")
    unit = torch.eye(len(precision), dtype=precision.dtype, device=precision.device)
    tried = [jitter] if jitter is not None else [0.0, *_powers()]
    for value in tried:
        factor, failed = torch.linalg.cholesky_ex(precision + value * unit)
        if not int(failed):
            return factor, value
    raise SimkitError(
        f"the precision of the last layer's weights is not positive definite with a jitter of {tried[-1]:g}: "
        "give more data, a larger jitter, or none to have it chosen"
    )


def _powers() -> list[float]:
    powers, value = [], SMALLEST_JITTER
    while value <= LARGEST_JITTER:
        powers.append(value)
        value *= 10
    return powers


def variances(rows: Float[Tensor, "*rows weights"], factor: Float[Tensor, "weights weights"]) -> Float[Tensor, "*rows"]:
    """``g (L Lᵀ)⁻¹ gᵀ`` of each row g; can be differentiated."""
    flat = rows.reshape(-1, rows.shape[-1])
    return torch.linalg.solve_triangular(factor, flat.T, upper=False).square().sum(0).view(rows.shape[:-1])


def draw_weights(factor: Float[Tensor, "weights weights"], draws: int, seed: int) -> Float[Tensor, "draws weights"]:
    """Changes of the weights ``L⁻ᵀ z`` with the covariance ``(L Lᵀ)⁻¹``, moved so that their mean is zero."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(len(factor), draws, generator=generator, dtype=torch.float64).to(factor.device)
    changes = torch.linalg.solve_triangular(factor.mT, noise, upper=True).T
    return changes - changes.mean(0)


class Float64(nn.Module):
    """Buffers that stay in float64 when a model is converted to another floating-point type."""

    def __init__(self, **buffers: Tensor) -> None:
        super().__init__()
        for name, value in buffers.items():
            self.register_buffer(name, value.double().contiguous())

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Float64:
        exact = {name: value for name, value in self.named_buffers(recurse=False)}
        super()._apply(fn, recurse)
        for name, value in exact.items():
            setattr(self, name, value.to(self.get_buffer(name).device))
        return self
