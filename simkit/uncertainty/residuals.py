"""Errors beside the standard deviations that were predicted for them, and which of them are independent."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, Shaped
from numpy import ndarray

from simkit.errors import SimkitError, SimkitWarning

ENOUGH_GROUPS = 5
"""Independent groups, such as trajectories, from which a calibration deserves trust."""


class CalibrationError(SimkitError, ValueError):
    """Errors and uncertainties that nothing can be calibrated or judged with."""


class ZeroResidualsError(CalibrationError):
    """All errors are zero."""


class ZeroSigmaError(CalibrationError):
    """A predicted standard deviation is zero or negative."""


class NotFiniteError(CalibrationError):
    """An error or a predicted standard deviation is NaN or infinite."""


class TooFewGroupsError(CalibrationError):
    """All errors belong to one frame or one trajectory."""


@dataclass(frozen=True)
class Residuals:
    """Errors, scalars or vectors, each with a scalar standard deviation of its components.

    Attributes:
        errors: prediction minus reference.
        sigmas: predicted standard deviation of each component of a row.
        groups: which independent draw a row belongs to, counted from 0.
    """

    errors: Float[ndarray, "rows components"]
    sigmas: Float[ndarray, " rows"]
    groups: Int[ndarray, " rows"]

    @classmethod
    def of(
        cls,
        errors: Shaped[ndarray, "draws ..."],
        sigmas: Shaped[ndarray, "*shape"] | float,
        groups: ndarray | Sequence[object] | None = None,
        *,
        vectors: bool = False,
    ) -> Residuals:
        """Checked arrays, flattened.

        Args:
            errors: prediction minus reference; the first axis counts draws, the others are a field, or components.
            sigmas: standard deviations, broadcast to the errors along their last axes, or along their first ones.
            groups: a label for each draw, such as its trajectory; draws of one label are not independent. All draws are
                taken as independent where this is absent, as the solutions of an equation for random data are.
            vectors: whether the last axis of the errors counts components of a vector, which share one sigma.

        Raises:
            NotFiniteError: NaN or infinity.
            ZeroSigmaError: a sigma that is not positive.
            CalibrationError: no errors, or shapes that do not go together.
        """
        errors = np.asarray(errors, dtype=np.float64)
        if errors.size == 0 or errors.ndim == 0:
            raise CalibrationError("expected errors of at least one draw, along the first axis; found none")
        shape = errors.shape[:-1] if vectors else errors.shape
        sigmas = _broadcast(np.asarray(sigmas, dtype=np.float64), shape)
        codes = _codes(groups, len(errors))
        _require_finite(errors, "errors")
        _require_finite(sigmas, "standard deviations")
        require_positive(sigmas)
        return cls(
            errors.reshape(sigmas.size, -1),
            sigmas.reshape(-1),
            np.repeat(codes, sigmas.size // len(errors)),
        )

    @property
    def n_groups(self) -> int:
        """Number of independent groups."""
        return len(np.unique(self.groups))

    @property
    def components(self) -> int:
        """Number of components of each error."""
        return self.errors.shape[1]

    @property
    def norms(self) -> Float[ndarray, " rows"]:
        """Length of each error."""
        return np.linalg.norm(self.errors, axis=1)

    @property
    def z(self) -> Float[ndarray, "rows components"]:
        """Errors in units of their standard deviations."""
        return self.errors / self.sigmas[:, None]

    def rows(self, kept: Shaped[ndarray, " kept"]) -> Residuals:
        """The rows of these indices, or where a mask is True."""
        return Residuals(self.errors[kept], self.sigmas[kept], self.groups[kept])

    def with_sigmas(self, sigmas: Float[ndarray, " rows"]) -> Residuals:
        """The same errors with other standard deviations."""
        _require_finite(sigmas, "standard deviations")
        require_positive(sigmas)
        return Residuals(self.errors, sigmas, self.groups)


def require_calibratable(residuals: Residuals) -> None:
    """Check that a calibration can be fitted, and warn where too few independent groups make it uncertain.

    Raises:
        ZeroResidualsError: all errors are zero.
        TooFewGroupsError: one group only.

    Warns:
        SimkitWarning: fewer than five groups.
    """
    if not residuals.errors.any():
        raise ZeroResidualsError(
            "expected errors to calibrate on, found zeros alone: the predictions were probably compared with "
            "themselves. Give reference values that do not come from the model"
        )
    found = residuals.n_groups
    if found < 2:
        raise TooFewGroupsError(
            "expected errors from several independent trajectories or draws to calibrate on, found a single one: "
            f"errors within one are correlated. Give at least {ENOUGH_GROUPS} trajectories, or blocks of a trajectory "
            "that are longer than its correlations, as groups"
        )
    if found < ENOUGH_GROUPS:
        warnings.warn(
            f"a calibration on {found} independent groups is uncertain by about {100 / np.sqrt(2 * found):.0f} %: give "
            f"at least {ENOUGH_GROUPS} trajectories",
            SimkitWarning,
            stacklevel=3,
        )


def _broadcast(sigmas: ndarray, shape: tuple[int, ...]) -> ndarray:
    if sigmas.shape == shape[: sigmas.ndim]:
        sigmas = sigmas.reshape(*sigmas.shape, *(1,) * (len(shape) - sigmas.ndim))
    try:
        return np.broadcast_to(sigmas, shape)
    except ValueError as error:
        raise CalibrationError(
            f"expected standard deviations of the shape of the errors, {shape}, found {sigmas.shape}"
        ) from error


def _codes(groups: ndarray | Sequence[object] | None, draws: int) -> ndarray:
    if groups is None:
        return np.arange(draws)
    labels = np.asarray(groups)
    if labels.shape != (draws,):
        raise CalibrationError(f"expected one group for each of {draws} draws, found the shape {labels.shape}")
    return np.unique(labels, return_inverse=True)[1]


def _require_finite(values: ndarray, name: str) -> None:
    wrong = ~np.isfinite(values)
    if wrong.any():
        raise NotFiniteError(
            f"expected finite {name}, found NaN or infinity in {int(wrong.sum())} of {values.size}, first in row "
            f"{int(np.argwhere(wrong)[0][0])}: leave out what is not labelled and what the model fails on"
        )


def require_positive(sigmas: Float[ndarray, "*shape"]) -> None:
    """Check that standard deviations are positive.

    Raises:
        ZeroSigmaError: naming the first that is not.
    """
    wrong = ~(sigmas > 0)
    if wrong.any():
        raise ZeroSigmaError(
            f"expected positive standard deviations, found {int(wrong.sum())} of {sigmas.size} that are not, first in "
            f"row {int(np.argwhere(wrong)[0][0])}: members that are copies of one another have no spread, symmetric "
            "sites no force; leave such rows out, or add a floor"
        )
