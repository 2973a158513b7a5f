"""Potentials whose predictions carry conformal intervals."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from simkit.errors import SimkitError
from simkit.evaluation import evaluate
from simkit.graph import Graph
from simkit.neighbours import Neighbours
from simkit.potential import AtomicOutput, Potential
from simkit.system import System
from simkit.uncertainty.base import UncertainPotential
from simkit.uncertainty.comparison import Comparison
from simkit.uncertainty.conformal import Reduction, conformal_quantile
from simkit.uncertainty.conformal_scores import QUANTITIES, TWICE, Unit, frame_scores
from simkit.uncertainty.gaussian_posterior import Float64
from simkit.uncertainty.intervals import IntervalRule, Intervals
from simkit.uncertainty.prediction import Provenance, UncertainPrediction

CITATIONS = (
    "V. Vovk, A. Gammerman, G. Shafer, Algorithmic Learning in a Random World, Springer (2005), doi:10.1007/b106715",
    "J. Lei, M. G'Sell, A. Rinaldo, R. J. Tibshirani, L. Wasserman, J. Am. Stat. Assoc. 113, 1094 (2018), "
    "doi:10.1080/01621459.2017.1307116",
)


class Conformal(UncertainPotential):
    """Any potential with intervals that hold a promised share of new frames, whatever its errors look like.

    With the quantile q of the scores of n calibration frames, ``|ΔE| ≤ q σ_E``, ``‖ΔF_i‖ ≤ q σ_i`` for all atoms of a
    frame (or some, see :data:`~simkit.uncertainty.conformal.Reduction`) and ``‖ΔS‖ ≤ q ‖σ_S‖``, or, if not
    ``relative``, ``|ΔE| ≤ q N``, ``‖ΔF_i‖ ≤ q`` and ``‖ΔS‖ ≤ q``. The promise is for frames that are exchangeable with
    those of the calibration: it does not hold at a temperature or composition that was not among them.

    Deviations stay those of the potential; without calibration they are as wrong as before.

    Args:
        potential: to predict; its deviations or scores are used if ``relative``.
        scores: of calibration frames, as :func:`~simkit.uncertainty.conformal_scores.frame_scores` makes them: by
            ``energy``, ``forces``, ``stress``, and ``forces-8`` for a quantile of one element's own.
        relative: whether scores are in units of deviations.
        over_atoms: how scores of a frame's atoms were joined.

    Raises:
        SimkitError: no scores, scores of something else, or relative ones for a potential without deviations.

    References: V. Vovk et al., Algorithmic Learning in a Random World, Springer (2005); J. Lei et al., J. Am. Stat.
    Assoc. 113, 1094 (2018), doi:10.1080/01621459.2017.1307116.
    """

    kind: ClassVar[str] = "conformal"

    def __init__(
        self,
        potential: Potential,
        scores: Mapping[str, Float[ndarray, " draws"]],
        *,
        relative: bool = True,
        over_atoms: Reduction = "max",
    ) -> None:
        facts = potential.capabilities
        super().__init__(replace(facts, citations=tuple(dict.fromkeys((*facts.citations, *CITATIONS)))))
        wrong = [name for name in scores if name.split("-")[0] not in QUANTITIES]
        if not scores or wrong:
            raise SimkitError(
                f"expected conformal scores of energy, forces or stress, found {', '.join(wrong) or 'none'}"
            )
        if relative and not isinstance(potential, UncertainPotential):
            raise SimkitError(
                f"expected a potential with deviations for relative scores, found a {potential.kind} potential: give "
                "scores of plain errors, and relative=False"
            )
        self.potential = potential
        self.relative = relative
        self.over_atoms = over_atoms
        tensors = {name: torch.as_tensor(values).sort().values for name, values in scores.items()}
        self.scores = Float64(**tensors).to(potential.device)

    @classmethod
    def fit(
        cls,
        potential: Potential,
        comparison: Comparison,
        *,
        relative: bool | None = None,
        over_atoms: Reduction = "max",
        unit: Unit = "frame",
        numbers: Int[ndarray, " atoms"] | None = None,
        seed: int = 0,
    ) -> Conformal:
        """Scores of frames that the potential has not seen.

        Args:
            potential: whose predictions they are.
            comparison: of its predictions with reference values.
            relative: as for the class; by default whether the potential tells deviations.
            over_atoms, unit, numbers, seed: as for :func:`~simkit.uncertainty.conformal_scores.frame_scores`.

        Raises:
            CalibrationError: nothing to score.
        """
        chosen = isinstance(potential, UncertainPotential) if relative is None else relative
        scores = frame_scores(comparison, relative=chosen, over_atoms=over_atoms, unit=unit, numbers=numbers, seed=seed)
        return cls(potential, scores, relative=chosen, over_atoms=over_atoms)

    @property
    def provenance(self) -> Provenance:
        """That of the potential; ``calibrated`` is about deviations, which conformal prediction leaves as they are."""
        if isinstance(self.potential, UncertainPotential):
            return self.potential.provenance
        return Provenance("conformal prediction", "model")

    def forward(self, graph: Graph) -> AtomicOutput:
        """What the potential returns."""
        return self.potential(graph)

    def energy_variance(self, graph: Graph) -> Float[Tensor, " systems"]:
        """That of the potential in eV².

        Raises:
            SimkitError: the potential has none: intervals say nothing about variances.
        """
        if isinstance(self.potential, UncertainPotential):
            return self.potential.energy_variance(graph)
        raise SimkitError(
            f"conformal intervals around a {self.potential.kind} potential have no variance: use an ensemble, or "
            "another method with deviations"
        )

    def predict(
        self,
        system: System,
        neighbours: Neighbours | None = None,
        outputs: Sequence[str] = ("energy", "forces"),
        *,
        samples: int = 0,
    ) -> UncertainPrediction:
        """The potential's prediction, with conformal intervals.

        Raises:
            SimkitError: samples are asked of a potential that has none.
        """
        rule = ConformalRule(self._quantities(), system.counts, system.numbers, self.relative)
        if isinstance(self.potential, UncertainPotential):
            return replace(self.potential.predict(system, neighbours, outputs, samples=samples), rule=rule)
        if samples:
            raise SimkitError(f"conformal intervals around a {self.potential.kind} potential have no samples")
        found = evaluate(self.potential, system, neighbours, outputs)
        return UncertainPrediction(found.energy, self.provenance, found.energies, found.forces, found.stress, rule=rule)

    def quantile(self, name: str, level: float) -> float:
        """Quantile of the scores of ``energy``, ``forces``, ``stress`` or ``forces-8``; infinite if they are too few.

        Raises:
            SimkitError: there are no such scores.
        """
        quantities = self._quantities()
        if name not in quantities:
            raise SimkitError(f"expected conformal scores among {', '.join(quantities)}; found {name!r:.40}")
        return conformal_quantile(quantities[name], level)

    def config(self) -> dict[str, Any]:
        """Specification of the potential, and what the scores are; their values are tensors."""
        return {
            "potential": self.potential.specification(),
            "draws": {name: len(values) for name, values in self._quantities().items()},
            "relative": self.relative,
            "over_atoms": self.over_atoms,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], build: Callable[[dict[str, Any]], Potential]) -> Conformal:
        """Rebuild the potential, with scores of zero that the file's values replace."""
        scores = {name: torch.zeros(count, dtype=torch.float64).numpy() for name, count in config["draws"].items()}
        return cls(build(config["potential"]), scores, relative=config["relative"], over_atoms=config["over_atoms"])

    def _quantities(self) -> dict[str, ndarray]:
        return {name: values.cpu().numpy() for name, values in self.scores.named_buffers()}


@dataclass(frozen=True)
class ConformalRule(IntervalRule):
    """Quantiles of calibration scores, times the deviations of a prediction if these are relative.

    Attributes:
        scores: of the calibration, by quantity.
        counts: atoms of each system.
        numbers: atomic numbers.
        relative: whether scores are in units of deviations.
    """

    scores: Mapping[str, Float[ndarray, " draws"]]
    counts: Int[Tensor, " systems"]
    numbers: Int[Tensor, " atoms"]
    relative: bool

    def interval(self, prediction: UncertainPrediction, level: float) -> Intervals:
        """Half width of the energy and radii of forces and stress; the other half widths are None."""
        energy = prediction.energy_std if self.relative else self.counts.to(prediction.energy)
        stress = self._stress_sizes(prediction)
        forces = self._force_sizes(prediction)
        quantiles = {name: conformal_quantile(scores, level) for name, scores in self.scores.items()}

        def times(name: str, sizes: Tensor | None) -> Tensor | None:
            return None if sizes is None or name not in quantiles else _times(quantiles[name], sizes)

        radius = times("forces", forces)
        for name, quantile in quantiles.items():
            if radius is not None and forces is not None and name.startswith("forces-"):
                radius = torch.where(self.numbers == int(name.split("-")[1]), _times(quantile, forces), radius)
        return Intervals(
            level=level, energy=times("energy", energy), forces_radius=radius, stress_radius=times("stress", stress)
        )

    def _force_sizes(self, prediction: UncertainPrediction) -> Tensor | None:
        if prediction.forces is None:
            return None
        if not self.relative:
            return torch.ones_like(prediction.forces[:, 0])
        return prediction.score if prediction.force_sigma is None else prediction.force_sigma

    def _stress_sizes(self, prediction: UncertainPrediction) -> Tensor | None:
        if prediction.stress is None:
            return None
        if not self.relative:
            return torch.ones_like(prediction.stress[:, 0, 0])
        std = prediction.stress_std
        if std is None:
            return None
        return (std.square() * std.new_tensor(TWICE)).sum(1).sqrt()


def _times(quantile: float, sizes: Tensor) -> Tensor:
    """An infinite quantile is infinite also where the deviation is zero."""
    return torch.full_like(sizes, math.inf) if math.isinf(quantile) else quantile * sizes
