"""What is predicted, and how far it may be wrong."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from simkit.errors import SimkitError
from simkit.uncertainty.intervals import IntervalRule, Intervals


@dataclass(frozen=True)
class Samples:
    """Draws of the parameters: sample s is the same draw for all systems and all quantities.

    Differences such as ``E_s(x) - E_s(y)``, and forces with energies, are therefore consistent.

    Attributes:
        energy: in eV.
        forces: in eV/Å.
        stress: in eV/Å³.
    """

    energy: Float[Tensor, "samples systems"]
    forces: Float[Tensor, "samples atoms 3"] | None = None
    stress: Float[Tensor, "samples systems 3 3"] | None = None


@dataclass(frozen=True)
class Provenance:
    """Where an uncertainty comes from, and whether it may be believed.

    Attributes:
        method: name of the method.
        mean: whether predictions are the mean of the members or those of the wrapped model.
        calibrated: whether the deviations were scaled to errors on frames that the model had not seen.
        calibration: identifies the calibration.
        dof: degrees of freedom of the variances: M - 1 for M members; infinite for a variance that is known.
        cost: of a prediction with energies and forces, in units of those of one model.
    """

    method: str
    mean: Literal["members", "model"]
    calibrated: bool = False
    calibration: str = ""
    dof: float = math.inf
    cost: float = 1.0


@dataclass(frozen=True)
class UncertainPrediction:
    """Mean, variance and samples of a prediction; what was not asked for, or is not known, is None.

    Attributes:
        energy: in eV.
        provenance: the method, and whether it is calibrated.
        energies: of each atom, in eV.
        forces: in eV/Å.
        stress: in eV/Å³, tension positive; NaN for systems that are not periodic along all three axes.
        energy_std: standard deviation of the energy in eV.
        energies_std: of each atom's energy in eV.
        forces_cov: covariance of the forces on each atom in (eV/Å)².
        stress_cov: covariance of the stress in (eV/Å³)², in Voigt's order xx yy zz yz xz xy.
        aleatoric_energy_std: the part of ``energy_std`` that more data would not remove, of methods that tell.
        epistemic_energy_std: the part that more data would remove.
        score: of each atom: a number that grows with the error, of methods that claim no standard deviation.
        samples: draws of the parameters.
        rule: how intervals follow from the prediction, of calibrated and conformal potentials.
    """

    energy: Float[Tensor, " systems"]
    provenance: Provenance
    energies: Float[Tensor, " atoms"] | None = None
    forces: Float[Tensor, "atoms 3"] | None = None
    stress: Float[Tensor, "systems 3 3"] | None = None
    energy_std: Float[Tensor, " systems"] | None = None
    energies_std: Float[Tensor, " atoms"] | None = None
    forces_cov: Float[Tensor, "atoms 3 3"] | None = None
    stress_cov: Float[Tensor, "systems 6 6"] | None = None
    aleatoric_energy_std: Float[Tensor, " systems"] | None = None
    epistemic_energy_std: Float[Tensor, " systems"] | None = None
    score: Float[Tensor, " atoms"] | None = None
    samples: Samples | None = None
    rule: IntervalRule | None = None

    def interval(self, level: float = 0.9) -> Intervals:
        """Intervals each of which holds the truth with the probability ``level``, on data like those of calibration.

        Raises:
            SimkitError: the prediction is not calibrated, or the level is not within (0, 1).
        """
        if self.rule is None:
            raise SimkitError(
                f"expected a calibrated prediction for intervals of {level:g}, found that of {self.provenance.method} "
                "as it is: its deviations may be wrong by any factor. Wrap the potential in Calibrated or Conformal"
            )
        return self.rule.interval(self, level)

    @property
    def forces_std(self) -> Float[Tensor, "atoms 3"] | None:
        """Standard deviation of each component of the forces in eV/Å; it depends on the axes."""
        return None if self.forces_cov is None else _roots(self.forces_cov)

    @property
    def force_sigma(self) -> Float[Tensor, " atoms"] | None:
        """``√(tr cov / 3)`` of each atom in eV/Å: does not change when the system turns, so it suits thresholds."""
        if self.forces_cov is None:
            return None
        return (_variances(self.forces_cov).sum(1) / 3).sqrt()

    @property
    def stress_std(self) -> Float[Tensor, "systems 6"] | None:
        """Standard deviation of the stress in eV/Å³, in Voigt's order."""
        return None if self.stress_cov is None else _roots(self.stress_cov)


def _variances(covariance: Tensor) -> Tensor:
    return torch.diagonal(covariance, dim1=-2, dim2=-1).clamp(min=0)


def _roots(covariance: Tensor) -> Tensor:
    return _variances(covariance).sqrt()
