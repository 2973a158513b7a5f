"""The contract of every method that tells how far a potential may be wrong."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor

from simkit.errors import SimkitError
from simkit.evaluation import Prediction
from simkit.graph import Graph
from simkit.neighbours import Neighbours
from simkit.potential import AtomicOutput, Potential
from simkit.system import System
from simkit.uncertainty.committee import committee_prediction
from simkit.uncertainty.prediction import Provenance, UncertainPrediction


class UncertainPotential(Potential, ABC):
    """A potential that also predicts its own error.

    ``forward`` gives the mean, so that it takes a potential's place anywhere; :meth:`predict` gives mean, covariance
    and samples.
    """

    @property
    @abstractmethod
    def provenance(self) -> Provenance:
        """The method, and whether it is calibrated."""

    @abstractmethod
    def energy_variance(self, graph: Graph) -> Float[Tensor, " systems"]:
        """Variance of the energy of each system in eV², which can be differentiated by the graph's vectors.

        Raises:
            SimkitError: the method gives scores only, and no variance.
        """

    @abstractmethod
    def predict(
        self,
        system: System,
        neighbours: Neighbours | None = None,
        outputs: Sequence[str] = ("energy", "forces"),
        *,
        samples: int = 0,
    ) -> UncertainPrediction:
        """Mean and covariance of the outputs, cut from the autograd graph.

        Args:
            system: as for :func:`simkit.evaluate`.
            neighbours: complete up to the cutoff; built here if absent.
            outputs: any of energy, energies, forces, stress.
            samples: how many draws of the parameters are wanted, each for all systems and outputs.
        """


class Committee(UncertainPotential, ABC):
    """Members that all predict: their mean is the prediction, their spread its uncertainty.

    With energies ``E_m`` of M members, ``E = Σ_m E_m / M`` and ``σ² = Σ_m (E_m - E)² / (M - 1)``; forces and stress of
    each member are derivatives of its energy, so the mean forces are those of the mean energy.
    """

    @property
    @abstractmethod
    def n_members(self) -> int:
        """M, the number of members."""

    @abstractmethod
    def member_energies(self, graph: Graph) -> Float[Tensor, "members atoms"]:
        """Energy of each atom by each member in eV, which can be differentiated."""

    @abstractmethod
    def member_predictions(
        self, system: System, neighbours: Neighbours | None, outputs: Sequence[str]
    ) -> Sequence[Prediction]:
        """What each member predicts, cut from the autograd graph."""

    def forward(self, graph: Graph) -> AtomicOutput:
        """The mean of the members' energies."""
        return AtomicOutput(self.member_energies(graph).mean(0))

    def energy_variance(self, graph: Graph) -> Float[Tensor, " systems"]:
        """``Σ_m (E_m - E)² / (M - 1)`` in eV²."""
        self.require_spread()
        system = graph.system
        energies = self.member_energies(graph).double()
        totals = energies.new_zeros(self.n_members, system.n_systems).index_add(1, system.batch, energies)
        return totals.var(0, correction=1)

    def predict(
        self,
        system: System,
        neighbours: Neighbours | None = None,
        outputs: Sequence[str] = ("energy", "forces"),
        *,
        samples: int = 0,
    ) -> UncertainPrediction:
        """Mean and unbiased covariance of the members; samples are members.

        Raises:
            SimkitError: one member only, or more samples than members.
        """
        self.require_spread()
        if not 0 <= samples <= self.n_members:
            raise SimkitError(
                f"expected at most {self.n_members} samples of a committee of {self.n_members} members, found "
                f"{samples}: each sample is a member. Add members, or ask for fewer samples"
            )
        return committee_prediction(self.member_predictions(system, neighbours, outputs), self.provenance, samples)

    def require_spread(self) -> None:
        """Check that there are two members at least.

        Raises:
            SimkitError: there are not.
        """
        if self.n_members < 2:
            raise SimkitError(
                f"expected at least two members, whose spread is the uncertainty, found {self.n_members}: train more "
                "(five are usual), with other seeds"
            )


def require_uncertain(potential: Potential) -> UncertainPotential:
    """The potential, which tells its uncertainty.

    Raises:
        SimkitError: it does not.
    """
    if isinstance(potential, UncertainPotential):
        return potential
    raise SimkitError(
        f"expected a potential with an uncertainty, such as an ensemble; found a {potential.kind} potential: wrap it "
        "in a method of simkit.uncertainty"
    )
