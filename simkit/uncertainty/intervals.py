"""Intervals that hold the truth with a given probability."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jaxtyping import Float
from scipy import stats
from torch import Tensor

from simkit.errors import SimkitError

if TYPE_CHECKING:
    from simkit.uncertainty.prediction import UncertainPrediction


@dataclass(frozen=True)
class Intervals:
    """Half widths of intervals, and radii of balls, around a prediction; what is not known is None.

    Attributes:
        level: probability with which each of them alone holds the truth.
        energy: the energy lies within ``energy ± this``, in eV.
        forces: half widths of the components of the forces in eV/Å; they depend on the axes.
        forces_radius: the force on each atom lies in a ball of this radius in eV/Å, which does not depend on the axes.
        stress: half widths of the stress in eV/Å³, in Voigt's order.
        stress_radius: the stress differs by a tensor of at most this Frobenius norm in eV/Å³.
    """

    level: float
    energy: Float[Tensor, " systems"] | None = None
    forces: Float[Tensor, "atoms 3"] | None = None
    forces_radius: Float[Tensor, " atoms"] | None = None
    stress: Float[Tensor, "systems 6"] | None = None
    stress_radius: Float[Tensor, " systems"] | None = None


class IntervalRule(ABC):
    """How intervals follow from a prediction."""

    @abstractmethod
    def interval(self, prediction: UncertainPrediction, level: float) -> Intervals:
        """Intervals that hold the truth with the probability ``level``."""


@dataclass(frozen=True)
class StudentT(IntervalRule):
    """Quantiles of Student's t distribution, or of the Gaussian distribution where ``dof`` is infinite.

    Attributes:
        dof: degrees of freedom of the variances, M - 1 for M members.
        widening: factor on the standard deviations: the mean of few members is itself uncertain.
    """

    dof: float = math.inf
    widening: float = 1.0

    def factor(self, level: float) -> float:
        """Half width of a central interval in standard deviations."""
        require_level(level)
        return self.widening * float(_t(0.5 + 0.5 * level, self.dof))

    def radius(self, level: float, components: int) -> float:
        """Radius, in standard deviations of a component, of a ball that holds an isotropic vector.

        The variance is the mean over the components, which has ``components · dof`` degrees of freedom.
        """
        require_level(level)
        return self.widening * math.sqrt(components * float(_f(level, components, components * self.dof)))

    def interval(self, prediction: UncertainPrediction, level: float) -> Intervals:
        """``± factor · σ``; the ball around a force is that of an isotropic covariance of the same trace."""
        factor = self.factor(level)

        def scaled(values: Tensor | None, by: float) -> Tensor | None:
            return None if values is None else by * values

        return Intervals(
            level=level,
            energy=scaled(prediction.energy_std, factor),
            forces=scaled(prediction.forces_std, factor),
            forces_radius=scaled(prediction.force_sigma, self.radius(level, 3)),
            stress=scaled(prediction.stress_std, factor),
        )


def require_level(level: float) -> None:
    """Check that a level is a probability.

    Raises:
        SimkitError: it is not within (0, 1).
    """
    if not 0 < level < 1:
        raise SimkitError(f"expected a level between 0 and 1, such as 0.9, found {level}")


def _t(probability: float, dof: float) -> float:
    return stats.norm.ppf(probability) if math.isinf(dof) else stats.t.ppf(probability, dof)


def _f(probability: float, components: int, dof: float) -> float:
    if math.isinf(dof):
        return stats.chi2.ppf(probability, components) / components
    return stats.f.ppf(probability, components, dof)
