"""Mean-variance estimation: a network that also predicts how noisy its labels are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from simkit.errors import SimkitError
from simkit.evaluation import evaluate
from simkit.graph import Graph
from simkit.neighbours import Neighbours, build_neighbours
from simkit.potential import AtomicOutput, Potential
from simkit.system import System
from simkit.uncertainty.gaussian import GaussianPotential, Gaussians
from simkit.uncertainty.last_layer import probe
from simkit.uncertainty.prediction import Provenance, UncertainPrediction

CITATIONS = (
    "D. A. Nix, A. S. Weigend, Proc. IEEE Int. Conf. Neural Netw. 1, 55 (1994), doi:10.1109/ICNN.1994.374138",
    "M. Seitzer, A. Tavakoli, D. Antic, G. Martius, ICLR 2022, arXiv:2203.09168",
)


class MeanVariance(GaussianPotential):
    """A potential with a head for the variance of its errors, trained by the likelihood of the labels.

    From the invariant features h_i of each atom a small network gives ``v_i = softplus(a_i) + floor``, the variance of
    the atom's energy in eV², and likewise ``u_i`` in (eV/Å)², that of each component of the force on it:
    ``σ_E² = Σ_i v_i`` (errors of atoms are independent) and ``cov(F_i) = u_i·1``. The variance is that of a noise: it
    is no derivative of anything, costs one forward pass, and says nothing of what the network does not know. All of it
    is reported as aleatoric; an ensemble of such potentials also has an epistemic part.

    Args:
        potential: one that returns features.
        hidden: width of the hidden layer.
        energy_scale: standard deviation of an atom's energy that v starts with, in eV.
        forces_scale: standard deviation of a component of the forces that u starts with, in eV/Å.
        floor: least variance, as a fraction of the starting ones.
        through_features: whether training the variances also trains the network that makes the features.

    Raises:
        SimkitError: a potential without features, or sizes that are not positive.

    References: D. A. Nix, A. S. Weigend, Proc. IEEE Int. Conf. Neural Netw. 1, 55 (1994); M. Seitzer et al., ICLR 2022,
    arXiv:2203.09168.
    """

    kind: ClassVar[str] = "mean-variance"

    def __init__(
        self,
        potential: Potential,
        hidden: int = 32,
        *,
        energy_scale: float = 0.01,
        forces_scale: float = 0.1,
        floor: float = 1e-6,
        through_features: bool = True,
    ) -> None:
        facts = potential.capabilities
        super().__init__(replace(facts, citations=(*facts.citations, *CITATIONS)))
        if min(hidden, energy_scale, forces_scale, floor) <= 0:
            raise SimkitError(
                "expected positive hidden, energy_scale, forces_scale and floor, found "
                f"{hidden}, {energy_scale}, {forces_scale} and {floor}"
            )
        self.options: dict[str, float] = {
            "hidden": hidden, "energy_scale": energy_scale, "forces_scale": forces_scale, "floor": floor
        }  # fmt: skip
        self.through_features = through_features
        self.potential = potential
        last = nn.Linear(hidden, 2)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.variance = nn.Sequential(nn.Linear(_features(potential), hidden), nn.SiLU(), last)
        self.variance.to(device=potential.device, dtype=potential.dtype)

    @property
    def provenance(self) -> Provenance:
        """The potential's own mean."""
        return Provenance("mean-variance estimation", "model")

    def forward(self, graph: Graph) -> AtomicOutput:
        """The potential's output."""
        return self.potential(graph)

    def variances(self, features: Float[Tensor, "atoms features"]) -> Float[Tensor, "atoms 2"]:
        """Variance of each atom's energy in eV² and of the components of its force in (eV/Å)², in float64."""
        scales = features.new_tensor([self.options["energy_scale"], self.options["forces_scale"]], dtype=torch.float64)
        raw = functional.softplus(self.variance(features).double()) / functional.softplus(scales.new_zeros(()))
        return scales.square() * (raw + self.options["floor"])

    def energy_variance(self, graph: Graph) -> Float[Tensor, " systems"]:
        """``Σ_i v_i`` in eV²."""
        features = self.potential(graph).features
        assert features is not None
        return self._of_systems(self.variances(features)[:, 0], graph.system)

    def gaussians(
        self, system: System, neighbours: Neighbours, outputs: Sequence[str], create_graph: bool = False
    ) -> Gaussians:
        """The potential's prediction and the variances of its features."""
        mean = evaluate(self.potential, system, neighbours, (*outputs, "features"), create_graph)
        assert mean.features is not None
        features = mean.features if self.through_features else mean.features.detach()
        energy, forces = self.variances(features).unbind(1)
        return Gaussians(
            mean,
            self._of_systems(energy, system),
            forces[:, None].expand(-1, 3) if "forces" in outputs else None,
        )

    def predict(
        self,
        system: System,
        neighbours: Neighbours | None = None,
        outputs: Sequence[str] = ("energy", "forces"),
        *,
        samples: int = 0,
    ) -> UncertainPrediction:
        """The potential's prediction with variances of energies and forces; stress has none.

        Raises:
            SimkitError: samples, which this method has none of.
        """
        if samples:
            raise SimkitError(
                f"expected samples=0, found {samples}: a variance head has no draws of its parameters. Use an ensemble "
                "where samples are needed"
            )
        if neighbours is None:
            neighbours = build_neighbours(system, self.cutoff)
        mean = evaluate(self.potential, system, neighbours, (*outputs, "features"))
        assert mean.features is not None
        with torch.no_grad():
            variances = self.variances(mean.features)
        found = UncertainPrediction(mean.energy, self.provenance, mean.energies, mean.forces, mean.stress)
        return with_noise(found, variances, system)

    @torch.no_grad()
    def noise(self, system: System, neighbours: Neighbours) -> Float[Tensor, "atoms 2"]:
        """:meth:`variances` of a batch of systems."""
        features = evaluate(self.potential, system, neighbours, ("features",)).features
        assert features is not None
        return self.variances(features)

    def config(self) -> dict[str, Any]:
        """Specification of the potential, and the options of the head."""
        options = {**self.options, "through_features": self.through_features}
        return {"potential": self.potential.specification(), **options}

    @classmethod
    def from_config(cls, config: dict[str, Any], build: Callable[[dict[str, Any]], Potential]) -> MeanVariance:
        """Rebuild the potential, then the head."""
        return cls(build(config.pop("potential")), **config)

    def _of_systems(self, values: Float[Tensor, " atoms"], system: System) -> Float[Tensor, " systems"]:
        return values.new_zeros(system.n_systems).index_add(0, system.batch, values)


def with_noise(found: UncertainPrediction, variances: Float[Tensor, "atoms 2"], system: System) -> UncertainPrediction:
    """A prediction whose variances, if it has any, are epistemic, with those of a noise added to them.

    Args:
        found: a prediction; only what it predicts gets a variance. That of the stress does not change.
        variances: of each atom's energy in eV² and of the components of its force in (eV/Å)².
        system: the systems of the prediction.
    """

    def added(std: Tensor | None, variance: Tensor) -> Tensor:
        return (variance if std is None else std**2 + variance).sqrt()

    energies, forces = variances.unbind(1)
    energy = energies.new_zeros(system.n_systems).index_add(0, system.batch, energies)
    unit = torch.eye(3, dtype=forces.dtype, device=forces.device)
    covariance = forces[:, None, None] * unit
    return replace(
        found,
        energy_std=added(found.energy_std, energy),
        energies_std=None if found.energies is None else added(found.energies_std, energies),
        forces_cov=None if found.forces is None else covariance + (0 if found.forces_cov is None else found.forces_cov),
        aleatoric_energy_std=energy.sqrt(),
        epistemic_energy_std=found.energy_std,
    )


def _features(potential: Potential) -> int:
    features = probe(potential).features
    if features is None:
        raise SimkitError(
            f"mean-variance estimation needs a potential that returns features of atoms (AtomicOutput.features); this "
            f"{potential.kind} potential has none. MACE and PaiNN have them; an ensemble applies to any potential"
        )
    return features.shape[1]
