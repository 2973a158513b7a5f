"""Last-layer prediction rigidity: the uncertainty of a trained potential from one pass over its training data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from simkit.datasets.base import Dataset
from simkit.errors import SimkitError
from simkit.evaluation import Prediction, evaluate_several
from simkit.graph import Graph
from simkit.neighbours import Neighbours
from simkit.potential import AtomicOutput, Potential
from simkit.progress import Progress
from simkit.system import System
from simkit.uncertainty.base import UncertainPotential
from simkit.uncertainty.committee import covariance
from simkit.uncertainty.gaussian_posterior import Float64, cholesky, draw_weights, variances
from simkit.uncertainty.last_layer import (
    collect_rows,
    last_layer_rows,
    last_layer_size,
    moved_weights,
    system_features,
)
from simkit.uncertainty.prediction import Provenance, Samples, UncertainPrediction
from simkit.voigt import to_voigt

CITATIONS = (
    "F. Bigi, S. Chong, M. Ceriotti, F. Grasselli, Mach. Learn.: Sci. Technol. 5, 045018 (2024), "
    "doi:10.1088/2632-2153/ad805f",
    "S. Chong, F. Grasselli, C. Ben Mahmoud, J. D. Morrow, V. L. Deringer, M. Ceriotti, J. Chem. Theory Comput. 19, "
    "8020 (2023), doi:10.1021/acs.jctc.3c00704",
)


class LLPR(UncertainPotential):
    """A trained potential with the Gaussian posterior of the weights of its last layer.

    With per-atom features φ_i in which the energy is linear, ``f = Σ_i φ_i`` and the precision A of the data,
    ``σ_E² = f A⁻¹ fᵀ``, ``σ_i² = φ_i A⁻¹ φ_iᵀ`` for the energy of one atom, and ``cov(F_i) = G_i A⁻¹ G_iᵀ`` with
    ``G_i = -∂f/∂x_i``. Predictions are those of the potential.

    Covariances of forces and stress are estimated from ``draws`` sets of weights unless ``exact``: each draw costs one
    backward pass, the exact covariance one for each weight. S draws leave a relative error of about ``1/√(6(S - 1))``
    in the deviation of the force on an atom: 0.24 with 4, 0.15 with 8. Draws are made once, serve all systems and
    outputs, and their mean is the potential itself.

    Args:
        potential: one with last-layer features.
        precision: A.
        draws: number of stored draws of the weights.
        exact: whether covariances of forces and stress are exact.
        jitter: added to the diagonal of A; the smallest that makes A positive definite if absent.
        scales: standard deviation of the noise of each term that A was made with, in eV per atom, eV/Å and eV/Å³.
        seed: of the draws.

    Raises:
        SimkitError: a potential without last-layer features, fewer than two draws, or A that is not positive definite.

    Reference: F. Bigi et al., Mach. Learn.: Sci. Technol. 5, 045018 (2024), doi:10.1088/2632-2153/ad805f.
    """

    kind: ClassVar[str] = "llpr"

    def __init__(
        self,
        potential: Potential,
        precision: Float[Tensor, "weights weights"],
        *,
        draws: int = 4,
        exact: bool = False,
        jitter: float | None = None,
        scales: Mapping[str, float] | None = None,
        seed: int = 0,
    ) -> None:
        facts = potential.capabilities
        super().__init__(replace(facts, citations=(*facts.citations, *CITATIONS)))
        size = last_layer_size(potential, "LLPR")
        if precision.shape != (size, size):
            raise SimkitError(f"expected a precision of {size} weights, found shape {tuple(precision.shape)}")
        if draws < 2:
            raise SimkitError(f"expected at least two draws of the weights, whose spread is seen, found {draws}")
        self.potential = potential
        self.exact = exact
        self.scales = dict(scales or {})
        self.seed = seed
        factor, self.jitter = cholesky(precision.double(), jitter)
        self.posterior = Float64(factor=factor, draws=draw_weights(factor, draws, seed)).to(potential.device)

    @classmethod
    def fit(
        cls,
        potential: Potential,
        dataset: Dataset,
        *,
        scales: Mapping[str, float] | None = None,
        terms: Sequence[str] = ("energy", "forces", "stress"),
        draws: int = 4,
        exact: bool = False,
        jitter: float | None = None,
        seed: int = 0,
        batch_size: int = 8,
        progress: Progress | None = None,
    ) -> LLPR:
        """Collect the precision in one pass over the training data.

        Args:
            potential: trained on the data.
            dataset: the training data; rows count with the frames' weights.
            scales: standard deviation of the noise of ``energy`` (eV per atom), ``forces`` (eV/Å) and ``stress``
                (eV/Å³); by default the potential's root-mean-square errors on the data.
            terms: which labels make rows, of those that the frames have.
            draws, exact, jitter, seed: as for the class.
            batch_size: number of frames that are evaluated together.
            progress: where progress is shown.

        Raises:
            SimkitError: a potential without last-layer features, or an error that is zero in place of a scale.
            DataError: a frame that cannot be used, or no labels.
        """
        size = last_layer_size(potential, "LLPR")
        precision, used = collect_rows(potential, size, last_layer_rows, dataset, scales, terms, batch_size, progress)
        return cls(potential, precision, draws=draws, exact=exact, jitter=jitter, scales=used, seed=seed)

    @property
    def provenance(self) -> Provenance:
        """One backward pass for each draw, or for each weight."""
        weights, draws = len(self._factor), len(self._draws)
        if self.exact:
            return Provenance("LLPR", "model", cost=1 + weights / 2)
        return Provenance("LLPR", "model", dof=draws - 1, cost=(1 + draws) / 2)

    def forward(self, graph: Graph) -> AtomicOutput:
        """What the potential returns."""
        return self.potential(graph)

    def energy_variance(self, graph: Graph) -> Float[Tensor, " systems"]:
        """``f A⁻¹ fᵀ`` in eV²."""
        return variances(system_features(self.potential(graph), graph.system), self._factor)

    def difference_std(self, system: System, neighbours: Neighbours | None = None) -> Float[Tensor, "systems systems"]:
        """Standard deviation of the difference of the energies of each two systems, in eV.

        ``σ² = (f_a - f_b) A⁻¹ (f_a - f_b)ᵀ``: errors that systems share cancel, which differences of deviations ignore.
        """
        output, _ = evaluate_several(self.potential, moved_weights(self._draws[:0]), system, neighbours, ("energy",))
        features = system_features(output, system)
        return variances(features[:, None] - features[None], self._factor).sqrt()

    def predict(
        self,
        system: System,
        neighbours: Neighbours | None = None,
        outputs: Sequence[str] = ("energy", "forces"),
        *,
        samples: int = 0,
    ) -> UncertainPrediction:
        """The potential's predictions and their covariance; samples are the first stored draws.

        Raises:
            SimkitError: more samples than stored draws.
        """
        if not 0 <= samples <= len(self._draws):
            raise SimkitError(
                f"expected at most {len(self._draws)} samples, which are stored so that all systems share them, found "
                f"{samples}: fit with more draws"
            )
        output, (mean, *parts) = evaluate_several(
            self.potential, moved_weights(self._changes(outputs)), system, neighbours, outputs
        )
        assert output.last_layer is not None
        features = system_features(output, system)
        forces, stress = (_stacked(parts, name) if name in outputs else None for name in ("forces", "stress"))
        return UncertainPrediction(
            energy=mean.energy,
            provenance=self.provenance,
            energies=mean.energies,
            forces=mean.forces,
            stress=mean.stress,
            energy_std=variances(features, self._factor).sqrt(),
            energies_std=variances(output.last_layer.double(), self._factor).sqrt() if "energies" in outputs else None,
            forces_cov=None if forces is None else self._covariance(forces),
            stress_cov=None if stress is None else self._covariance(to_voigt(stress)),
            samples=self._samples(mean, features, forces, stress, samples) if samples else None,
        )

    def _changes(self, outputs: Sequence[str]) -> Float[Tensor, "changes weights"]:
        """Changes of the weights whose effects are computed: the last draw is minus the sum of the others."""
        if not {"forces", "stress"} & set(outputs):
            return self._draws[:0]
        if self.exact:
            return torch.eye(len(self._factor), dtype=self._factor.dtype, device=self._factor.device)
        return self._draws[:-1]

    def _deviations(self, effects: Float[Tensor, "changes ..."]) -> Float[Tensor, "draws ..."]:
        """Effects of the draws."""
        if self.exact:
            return torch.tensordot(self._draws.to(effects.dtype), effects, 1)
        return torch.cat([effects, -effects.sum(0, keepdim=True)])

    def _covariance(self, effects: Float[Tensor, "changes *batch n"]) -> Float[Tensor, "*batch n n"]:
        if not self.exact:
            return covariance(self._deviations(effects))
        flat = torch.linalg.solve_triangular(self._factor, effects.double().flatten(1), upper=False)
        rows = flat.view(effects.shape)
        return torch.einsum("k...i,k...j->...ij", rows, rows).to(effects.dtype)

    def _samples(
        self, mean: Prediction, features: Tensor, forces: Tensor | None, stress: Tensor | None, count: int
    ) -> Samples:
        def moved(value: Tensor | None, effects: Tensor | None) -> Tensor | None:
            return None if value is None or effects is None else value + self._deviations(effects)[:count]

        return Samples(
            energy=mean.energy + self._draws[:count] @ features.T,
            forces=moved(mean.forces, forces),
            stress=moved(mean.stress, stress),
        )

    def config(self) -> dict[str, Any]:
        """Specification of the potential, and how the posterior was made."""
        return {
            "potential": self.potential.specification(),
            "draws": len(self._draws),
            "exact": self.exact,
            "jitter": self.jitter,
            "scales": self.scales,
            "seed": self.seed,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], build: Callable[[dict[str, Any]], Potential]) -> LLPR:
        """Rebuild the potential; the posterior is among the tensors."""
        arguments = dict(config)
        potential = build(arguments.pop("potential"))
        return cls(potential, torch.eye(last_layer_size(potential, "LLPR"), dtype=torch.float64), **arguments)

    @property
    def _factor(self) -> Float[Tensor, "weights weights"]:
        return self.posterior.get_buffer("factor")

    @property
    def _draws(self) -> Float[Tensor, "draws weights"]:
        return self.posterior.get_buffer("draws")


def _stacked(parts: Sequence[Prediction], name: str) -> Float[Tensor, "changes ..."]:
    return torch.stack([getattr(part, name) for part in parts])
