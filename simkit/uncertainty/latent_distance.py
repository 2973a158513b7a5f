"""How far an atom's features are from those of the training data: a score that sees new surroundings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from simkit.datasets.base import Dataset
from simkit.errors import SimkitError
from simkit.evaluation import evaluate, evaluate_several
from simkit.graph import Graph
from simkit.neighbours import Neighbours
from simkit.potential import AtomicOutput, Potential
from simkit.progress import Progress, Silent
from simkit.system import System
from simkit.uncertainty.atom_features import Space, feature_size, features_by_element, require_atoms
from simkit.uncertainty.base import UncertainPotential
from simkit.uncertainty.gaussian_mixture import Mixture, choose_mixture, fit_mixture
from simkit.uncertainty.gaussian_posterior import Float64
from simkit.uncertainty.prediction import Provenance, UncertainPrediction

CITATIONS = (
    "J. P. Janet, C. Duan, T. Yang, A. Nandy, H. J. Kulik, Chem. Sci. 10, 7913 (2019), doi:10.1039/c9sc02298h",
    "A. Zhu, S. Batzner, A. Musaelian, B. Kozinsky, J. Chem. Phys. 158, 164111 (2023), doi:10.1063/5.0136574",
)
Density = Literal["mahalanobis", "mixture"]
PARTS = tuple(field.name for field in fields(Mixture))
MOST_ATOMS = 10_000
"""Atoms of an element that a mixture is fitted to; more are thinned out evenly."""


class LatentDistance(UncertainPotential):
    """A potential with a score for each atom: the distance of its features from those of the training data.

    Features are shifted and scaled to mean 0 and variance 1 over the training atoms of each element, and a mixture of
    Gaussians describes their distribution p. The score is ``√(2 (c - ln p))``, with c so that it is not negative; of
    one Gaussian it is Mahalanobis' distance ``√((x - μ)ᵀ Σ⁻¹ (x - μ))``. Elements that the training data lacked have
    an infinite score. It claims no deviation until it is calibrated.

    Args:
        potential: one with features.
        mixtures: distribution of the standardised features of each element, by atomic number.
        means: of the features, for each element.
        deviations: of the features, for each element.
        space: ``features`` that describe the surroundings, or the ``last_layer`` in which the energy is linear.

    Raises:
        SimkitError: a potential without these features, or sizes that do not fit.

    References: J. P. Janet et al., Chem. Sci. 10, 7913 (2019), doi:10.1039/c9sc02298h; A. Zhu et al., J. Chem. Phys.
    158, 164111 (2023), doi:10.1063/5.0136574.
    """

    kind: ClassVar[str] = "latent-distance"

    def __init__(
        self,
        potential: Potential,
        mixtures: dict[int, Mixture],
        means: Float[Tensor, "elements features"],
        deviations: Float[Tensor, "elements features"],
        space: Space = "features",
    ) -> None:
        facts = potential.capabilities
        super().__init__(replace(facts, citations=(*facts.citations, *CITATIONS)))
        size = feature_size(potential, space)
        if means.shape != (len(mixtures), size) or deviations.shape != means.shape:
            raise SimkitError(
                f"expected means and deviations of {size} features of {len(mixtures)} elements, found shapes "
                f"{tuple(means.shape)} and {tuple(deviations.shape)}"
            )
        self.potential = potential
        self.space = space
        self.counts = {number: len(mixture.logits) for number, mixture in mixtures.items()}
        parts = {f"{name}_{number}": getattr(mixture, name) for number, mixture in mixtures.items() for name in PARTS}
        self.statistics = Float64(mean=means, deviation=deviations, **parts)
        self.to(potential.device)

    @classmethod
    def fit(
        cls,
        potential: Potential,
        dataset: Dataset,
        *,
        density: Density = "mahalanobis",
        space: Space = "features",
        components: int = 10,
        seed: int = 0,
        batch_size: int = 8,
        progress: Progress | None = None,
    ) -> LatentDistance:
        """Describe the features of the atoms of the training data.

        Args:
            potential: trained on the data.
            dataset: the training data; labels are not needed.
            density: one Gaussian for each element, or a mixture with the number of components of the smallest Bayesian
                information criterion.
            space: which features.
            components: most components of a mixture.
            seed: of the starting points of a mixture.
            batch_size: number of frames that are evaluated together.
            progress: where progress is shown.

        Raises:
            SimkitError: a potential without features.
            DataError: a frame that cannot be used, or an element with fewer than two atoms.
        """
        feature_size(potential, space)
        shown = progress or Silent()
        rows = features_by_element(potential, dataset, space, batch_size, shown)
        means, deviations, mixtures = [], [], {}
        for number, x in rows.items():
            require_atoms(x, number, shown)
            mean, deviation = x.mean(0), x.std(0, correction=0)
            deviation = torch.where(deviation > 1e-10 * x.abs().amax(0).clamp(min=1e-300), deviation, 1)
            scaled = (x - mean) / deviation
            if density == "mixture":
                thinned = scaled[:: 1 + (len(scaled) - 1) // MOST_ATOMS]
                mixtures[number] = choose_mixture(thinned, components, seed)
            else:
                mixtures[number] = fit_mixture(scaled, 1, seed)
            means.append(mean)
            deviations.append(deviation)
        return cls(potential, mixtures, torch.stack(means), torch.stack(deviations), space)

    @property
    def provenance(self) -> Provenance:
        """A score from the features of one evaluation."""
        return Provenance("latent distance", "model")

    def forward(self, graph: Graph) -> AtomicOutput:
        """What the potential returns."""
        return self.potential(graph)

    def score(self, graph: Graph) -> Float[Tensor, " atoms"]:
        """Distance of each atom from the training data; can be differentiated where it is finite and positive."""
        features = getattr(self.potential(graph), self.space)
        return self._distance(features, graph.system.numbers)

    def energy_variance(self, graph: Graph) -> Float[Tensor, " systems"]:
        """There is none.

        Raises:
            SimkitError: always.
        """
        raise SimkitError(
            "the latent distance is a score and claims no variance of the energy: use LLPR or an ensemble to bias "
            "dynamics by uncertainty, and this score to tell what is out of the domain"
        )

    def predict(
        self,
        system: System,
        neighbours: Neighbours | None = None,
        outputs: Sequence[str] = ("energy", "forces"),
        *,
        samples: int = 0,
    ) -> UncertainPrediction:
        """The potential's predictions, and the score of each atom.

        Raises:
            SimkitError: samples, which the method does not have.
        """
        if samples:
            raise SimkitError("the latent distance is a score and has no samples: use LLPR or an ensemble for them")
        if self.space == "features":
            found = evaluate(self.potential, system, neighbours, (*outputs, "features"))
            features = found.features
        else:
            output, (found,) = evaluate_several(self.potential, _itself, system, neighbours, outputs)
            features = output.last_layer
        assert features is not None
        return UncertainPrediction(
            energy=found.energy,
            provenance=self.provenance,
            energies=found.energies,
            forces=found.forces,
            stress=found.stress,
            score=self._distance(features, system.numbers),
        )

    def config(self) -> dict[str, Any]:
        """Specification of the potential, and the sizes of the distributions."""
        counts = {str(number): count for number, count in self.counts.items()}
        return {"potential": self.potential.specification(), "components": counts, "space": self.space}

    @classmethod
    def from_config(cls, config: dict[str, Any], build: Callable[[dict[str, Any]], Potential]) -> LatentDistance:
        """Rebuild the potential; the distributions are among the tensors."""
        potential, space = build(config["potential"]), config["space"]
        size = feature_size(potential, space)
        blank = {
            int(number): Mixture(torch.zeros(k), torch.zeros(k, size), torch.eye(size).expand(k, -1, -1))
            for number, k in config["components"].items()
        }
        return cls(potential, blank, torch.zeros(len(blank), size), torch.ones(len(blank), size), space)

    def _distance(
        self, features: Float[Tensor, "atoms features"], numbers: Int[Tensor, " atoms"]
    ) -> Float[Tensor, " atoms"]:
        x = features.double()
        score = x.new_full((len(x),), torch.inf)
        given = self.statistics.get_buffer
        for place, number in enumerate(self.counts):
            kept = torch.nonzero(numbers == number)[:, 0]
            scaled = (x[kept] - given("mean")[place]) / given("deviation")[place]
            mixture = Mixture(*[given(f"{name}_{number}") for name in PARTS])
            score = score.index_copy(0, kept, mixture.distance(scaled))
        return score


def _itself(output: AtomicOutput) -> Float[Tensor, "1 atoms"]:
    return output.energies[None]
