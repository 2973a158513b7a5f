"""Maps that make predicted standard deviations as large as the errors on held-out data.

Global maps multiply by one factor, ``σ_cal = α σ``; local maps bend the scale. All are fitted to plain arrays, so they
serve forces, energies and fields alike.
"""

from __future__ import annotations

import hashlib
import json
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from simkit.uncertainty.intervals import StudentT
from simkit.uncertainty.residuals import CalibrationError

GlobalKind = Literal["nll", "mae", "crps", "ratio", "finite-committee"]
MapKind = Literal["nll", "mae", "crps", "ratio", "finite-committee", "power-law", "isotonic"]

MUSIL = "F. Musil et al., J. Chem. Theory Comput. 15, 906 (2019), doi:10.1021/acs.jctc.8b00959"
IMBALZANO = "G. Imbalzano et al., J. Chem. Phys. 154, 074102 (2021), doi:10.1063/5.0036522"


@dataclass(frozen=True)
class CalibrationMap(ABC):
    """A map from raw to calibrated standard deviations."""

    kind: ClassVar[str]

    @abstractmethod
    def __call__(self, sigmas: Float[ndarray, "*shape"]) -> Float[ndarray, "*shape"]:
        """Calibrated standard deviations."""

    def rule(self, dof: float) -> StudentT:
        """How intervals follow from calibrated variances with ``dof`` degrees of freedom."""
        return StudentT()

    def config(self) -> dict[str, Any]:
        """JSON-compatible description."""
        return {"kind": self.kind, **asdict(self)}

    @property
    def citations(self) -> tuple[str, ...]:
        """References to cite."""
        return (MUSIL,)

    @property
    def identifier(self) -> str:
        """A short hash of the map's numbers, which tells calibrations apart."""
        text = json.dumps(self.config(), sort_keys=True)
        return f"{self.kind}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


@dataclass(frozen=True)
class GlobalMap(CalibrationMap):
    """``σ_cal = α σ``: deviations of samples scale with the same factor.

    Attributes:
        alpha: the factor.
        fitted_by: the condition that gave it.
        members: of the committee, if the condition corrects for their number.
    """

    kind: ClassVar[str] = "global"
    alpha: float
    fitted_by: GlobalKind
    members: int | None = None

    def __post_init__(self) -> None:
        if not 0 < self.alpha < math.inf:
            raise CalibrationError(f"expected a positive calibration factor, found {self.alpha}")

    def __call__(self, sigmas: Float[ndarray, "*shape"]) -> Float[ndarray, "*shape"]:
        """``α σ``."""
        return self.alpha * sigmas

    @property
    def citations(self) -> tuple[str, ...]:
        """References to cite."""
        return (MUSIL, IMBALZANO) if self.fitted_by == "finite-committee" else (MUSIL,)

    def rule(self, dof: float) -> StudentT:
        """Gaussian intervals after ``nll``, ``mae``, ``crps``; Student's where α is that of infinitely many members.

        The condition ``finite-committee`` gives the spread of the members' distribution, so that intervals are
        ``± t_{M-1} α σ √(1 + 1/(M α²))``; ``ratio`` holds the error of the mean already.
        """
        if self.fitted_by == "finite-committee" and self.members is not None:
            return StudentT(self.members - 1, math.sqrt(1 + 1 / (self.members * self.alpha**2)))
        return StudentT(dof) if self.fitted_by == "ratio" else StudentT()


@dataclass(frozen=True)
class PowerLaw(CalibrationMap):
    """``σ_cal = a σ^b``; σ may be any positive score.

    Attributes:
        prefactor: a, in units of the error for a score of one.
        exponent: b; 0 is a constant, 1 a global map.
    """

    kind: ClassVar[str] = "power-law"
    prefactor: float
    exponent: float

    def __call__(self, sigmas: Float[ndarray, "*shape"]) -> Float[ndarray, "*shape"]:
        """``a σ^b``."""
        return self.prefactor * sigmas**self.exponent


@dataclass(frozen=True)
class Isotonic(CalibrationMap):
    """A non-decreasing piecewise linear map; σ may be any positive score.

    Beyond the largest knot it goes on in proportion to σ, below the smallest it stays constant.

    Attributes:
        knots: scores, increasing.
        values: calibrated standard deviations there.
    """

    kind: ClassVar[str] = "isotonic"
    knots: tuple[float, ...]
    values: tuple[float, ...]

    def __call__(self, sigmas: Float[ndarray, "*shape"]) -> Float[ndarray, "*shape"]:
        """The map's value."""
        inside = np.interp(sigmas, self.knots, self.values)
        return np.where(sigmas > self.knots[-1], self.values[-1] * sigmas / self.knots[-1], inside)


def map_from_config(config: Mapping[str, Any]) -> CalibrationMap:
    """Rebuild a map from its :meth:`CalibrationMap.config`.

    Raises:
        CalibrationError: a kind that does not exist.
    """
    numbers = {name: tuple(value) if isinstance(value, list) else value for name, value in config.items()}
    kind = numbers.pop("kind", None)
    kinds: tuple[type[CalibrationMap], ...] = (GlobalMap, PowerLaw, Isotonic)
    for cls in kinds:
        if cls.kind == kind:
            return cls(**numbers)
    raise CalibrationError(f"expected a calibration map of the kind global, power-law or isotonic, found {kind!r:.80}")
