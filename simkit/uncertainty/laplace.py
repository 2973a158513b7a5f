"""The linearised Laplace approximation: a Gaussian posterior of all weights of a small model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float
from scipy.optimize import brentq
from torch import Tensor
from torch.func import functional_call, jacrev

from simkit.datasets.base import Batch, Dataset
from simkit.errors import SimkitError
from simkit.evaluation import Prediction, evaluate, total_energy
from simkit.graph import Graph
from simkit.neighbours import Neighbours, build_neighbours
from simkit.potential import AtomicOutput, Potential
from simkit.potentials.kernels import kernels
from simkit.progress import Progress
from simkit.system import System
from simkit.uncertainty.base import UncertainPotential
from simkit.uncertainty.gaussian_posterior import Float64, cholesky, draw_weights, variances
from simkit.uncertainty.last_layer import collect_rows
from simkit.uncertainty.prediction import Provenance, Samples, UncertainPrediction
from simkit.uncertainty.weight_derivatives import flat, joined, uncertain_parameters, weight_derivatives
from simkit.voigt import to_voigt

CITATIONS = (
    "D. J. C. MacKay, Neural Comput. 4, 448 (1992), doi:10.1162/neco.1992.4.3.448",
    "A. Immer, M. Korzepa, M. Bauer, AISTATS 2021, arXiv:2008.08400",
)


class Laplace(UncertainPotential):
    """A potential that is linear in its weights around the trained ones, with the Gaussian posterior of these.

    With the derivatives J of energies per atom, forces and stresses by the weights θ and the noise Λ⁻¹, the precision
    is ``H = Σ Jᵀ Λ J + δ·1`` (Gauss and Newton's, with the precision δ of the prior), and ``σ² = J H⁻¹ Jᵀ``. It is
    exact for models that are linear in θ. Predictions are those of the potential.

    Args:
        potential: with at most 5000 weights in ``parameters``.
        precision: ``Σ Jᵀ Λ J``.
        prior: δ.
        parameters: patterns of the names of parameters that are uncertain (``*`` is any text); the others are fixed.
        draws: number of stored draws of the weights.
        scales: standard deviation of the noise of each term, in eV per atom, eV/Å and eV/Å³.
        seed: of the draws.

    Raises:
        SimkitError: no parameters, or too many.

    Reference: A. Immer et al., AISTATS 2021, arXiv:2008.08400.
    """

    kind: ClassVar[str] = "laplace"

    def __init__(
        self,
        potential: Potential,
        precision: Float[Tensor, "weights weights"],
        prior: float,
        *,
        parameters: Sequence[str] = ("*",),
        draws: int = 8,
        scales: Mapping[str, float] | None = None,
        seed: int = 0,
    ) -> None:
        facts = potential.capabilities
        super().__init__(replace(facts, citations=(*facts.citations, *CITATIONS)))
        self.parameters_in_use = tuple(parameters)
        size = sum(value.numel() for value in uncertain_parameters(potential, parameters).values())
        if precision.shape != (size, size):
            raise SimkitError(f"expected a precision of {size} weights, found shape {tuple(precision.shape)}")
        self.potential = potential
        self.prior = prior
        self.scales = dict(scales or {})
        self.seed = seed
        factor, _ = cholesky(precision.double(), prior)
        self.posterior = Float64(factor=factor, draws=draw_weights(factor, draws, seed)).to(potential.device)

    @classmethod
    def fit(
        cls,
        potential: Potential,
        dataset: Dataset,
        *,
        prior: float | None = None,
        parameters: Sequence[str] = ("*",),
        scales: Mapping[str, float] | None = None,
        terms: Sequence[str] = ("energy", "forces", "stress"),
        draws: int = 8,
        seed: int = 0,
        batch_size: int = 2,
        progress: Progress | None = None,
    ) -> Laplace:
        """Collect the precision in one pass over the training data.

        Args:
            potential: trained on the data.
            dataset: the training data; rows count with the frames' weights.
            prior: precision δ of the weights before the data; the one with the largest marginal likelihood by default.
            parameters, draws, seed: as for the class.
            scales: standard deviation of the noise of ``energy`` (eV per atom), ``forces`` (eV/Å) and ``stress``
                (eV/Å³); by default the potential's root-mean-square errors on the data.
            terms: which labels make rows, of those that the frames have.
            batch_size: number of frames that are evaluated together.
            progress: where progress is shown.

        Raises:
            SimkitError: no parameters, too many, or an error that is zero in place of a scale.
            DataError: a frame that cannot be used, or no labels.
        """
        weights = flat(uncertain_parameters(potential, parameters))

        def rows_of(model: Potential, batch: Batch, wanted: Sequence[str]) -> tuple[Prediction, dict[str, Tensor]]:
            mean = evaluate(model, batch.system, batch.neighbours, ("energy", *wanted))
            return mean, weight_derivatives(model, parameters, batch.system, batch.neighbours, wanted)

        precision, used = collect_rows(potential, len(weights), rows_of, dataset, scales, terms, batch_size, progress)
        if prior is None:
            prior = best_prior(torch.linalg.eigvalsh(precision), float(weights.double().square().sum()))
        return cls(potential, precision, prior, parameters=parameters, draws=draws, scales=used, seed=seed)

    @property
    def provenance(self) -> Provenance:
        """The cost is that of one backward pass for each component of the forces on an atom, about."""
        return Provenance("linearised Laplace", "model", cost=100.0)

    def forward(self, graph: Graph) -> AtomicOutput:
        """What the potential returns."""
        return self.potential(graph)

    def energy_variance(self, graph: Graph) -> Float[Tensor, " systems"]:
        """``J H⁻¹ Jᵀ`` in eV²."""
        values = uncertain_parameters(self.potential, self.parameters_in_use)

        def energies(weights: dict[str, Tensor]) -> Tensor:
            return total_energy(functional_call(self.potential, weights, (graph,)), graph.system)

        with kernels("reference"):
            rows = joined(jacrev(energies)(values), 1).double()
        return variances(rows, self.posterior.get_buffer("factor"))

    def predict(
        self,
        system: System,
        neighbours: Neighbours | None = None,
        outputs: Sequence[str] = ("energy", "forces"),
        *,
        samples: int = 0,
    ) -> UncertainPrediction:
        """The potential's predictions and their covariance; samples are the first stored draws of the linear model.

        Raises:
            SimkitError: more samples than stored draws.
        """
        factor, draws = self.posterior.get_buffer("factor"), self.posterior.get_buffer("draws")
        if not 0 <= samples <= len(draws):
            raise SimkitError(
                f"expected at most {len(draws)} samples, which are stored, found {samples}: use more draws"
            )
        if neighbours is None:
            neighbours = build_neighbours(system, self.cutoff)
        mean = evaluate(self.potential, system, neighbours, outputs)
        rows = weight_derivatives(self.potential, self.parameters_in_use, system, neighbours, (*outputs, "energy"))

        def spread(name: str) -> Tensor | None:
            if name not in outputs:
                return None
            kept = to_voigt(rows[name].movedim(-1, 0)).movedim(0, -1) if name == "stress" else rows[name]
            white = torch.linalg.solve_triangular(factor, kept.flatten(0, -2).T, upper=False)
            white = white.T.view(kept.shape)
            return (white @ white.mT).to(mean.energy.dtype if name == "energy" else system.dtype)

        def moved(name: str) -> Tensor | None:
            value = getattr(mean, name)
            return None if value is None else value + torch.tensordot(draws[:samples], rows[name], ([1], [-1]))

        energy = moved("energy")
        assert energy is not None
        return UncertainPrediction(
            energy=mean.energy,
            provenance=self.provenance,
            energies=mean.energies,
            forces=mean.forces,
            stress=mean.stress,
            energy_std=variances(rows["energy"], factor).sqrt(),
            energies_std=variances(rows["energies"], factor).sqrt() if "energies" in outputs else None,
            forces_cov=spread("forces"),
            stress_cov=spread("stress"),
            samples=Samples(energy, moved("forces"), moved("stress")) if samples else None,
        )

    def config(self) -> dict[str, Any]:
        """Specification of the potential, and how the posterior was made."""
        return {
            "potential": self.potential.specification(),
            "prior": self.prior,
            "parameters": list(self.parameters_in_use),
            "draws": len(self.posterior.get_buffer("draws")),
            "scales": self.scales,
            "seed": self.seed,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], build: Callable[[dict[str, Any]], Potential]) -> Laplace:
        """Rebuild the potential; the posterior is among the tensors."""
        arguments = dict(config)
        potential = build(arguments.pop("potential"))
        size = len(flat(uncertain_parameters(potential, arguments["parameters"])))
        return cls(potential, torch.zeros(size, size, dtype=torch.float64), **arguments)


def best_prior(eigenvalues: Float[Tensor, " weights"], squared_norm: float) -> float:
    """The prior's precision δ with the largest marginal likelihood, where ``δ ‖θ‖² = Σ λ/(λ + δ)``.

    Args:
        eigenvalues: λ of ``Σ Jᵀ Λ J``.
        squared_norm: ``‖θ‖²`` of the trained weights.

    Raises:
        SimkitError: the data do not bound it: all weights are zero, or they leave all weights undetermined.

    Reference: D. J. C. MacKay, Neural Comput. 4, 448 (1992), doi:10.1162/neco.1992.4.3.448.
    """
    spectrum = eigenvalues.clamp(min=0).cpu().numpy()

    def slope(log_prior: float) -> float:
        prior = float(np.exp(log_prior))
        return float((spectrum / (spectrum + prior)).sum()) - prior * squared_norm

    low, high = -60.0, 60.0
    if not slope(low) > 0 > slope(high):
        raise SimkitError("the marginal likelihood has no maximum in the prior's precision: give prior")
    return float(np.exp(brentq(slope, low, high, xtol=1e-12)))


def log_marginal_likelihood(
    eigenvalues: Float[Tensor, " weights"], squared_norm: float, prior: float, log_likelihood: float
) -> float:
    """``ln p(y|θ) - ½ δ ‖θ‖² + ½ P ln δ - ½ Σ ln(λ + δ)``: exact for linear models at the maximum of the posterior."""
    spectrum = eigenvalues.clamp(min=0)
    logs = 0.5 * len(spectrum) * float(np.log(prior)) - 0.5 * float((spectrum + prior).log().sum())
    return log_likelihood - 0.5 * prior * squared_norm + logs
