"""Potentials that are trained to predict a Gaussian distribution of the labels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from simkit.evaluation import Prediction
from simkit.neighbours import Neighbours
from simkit.system import System
from simkit.uncertainty.base import UncertainPotential


@dataclass(frozen=True)
class Gaussians:
    """Mean and variances, which can be differentiated by the parameters.

    Attributes:
        mean: energies, forces and stress.
        energy_variance: in eV², of the energies.
        forces_variance: in (eV/Å)², of each component of the forces; None where they were not asked for.
    """

    mean: Prediction
    energy_variance: Float[Tensor, " systems"]
    forces_variance: Float[Tensor, "atoms 3"] | None


class GaussianPotential(UncertainPotential, ABC):
    """A potential whose variances are trained, by scores of its Gaussian predictions."""

    @abstractmethod
    def gaussians(
        self, system: System, neighbours: Neighbours, outputs: Sequence[str], create_graph: bool = False
    ) -> Gaussians:
        """Mean and variances of the outputs.

        Args:
            system: as for :func:`simkit.evaluate`.
            neighbours: complete up to the cutoff.
            outputs: any of energy, forces, stress.
            create_graph: keep the autograd graph for derivatives by the parameters.
        """
