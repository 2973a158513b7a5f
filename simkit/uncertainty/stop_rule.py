"""Dynamics end where the potential does not know any more, at the last frame that it knew."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from simkit.dynamics.state import MDState
from simkit.errors import DataError, SimkitError
from simkit.flows import Observer, Status
from simkit.flows.checkpoint import packed, unpacked
from simkit.flows.status import Stop
from simkit.progress import Progress, Silent
from simkit.uncertainty.monitor import Quantity, UncertaintyMonitor
from simkit.uncertainty.prediction import Provenance


@dataclass(frozen=True)
class Thresholds:
    """Where frames begin to be worth labelling, and where they cannot be trusted any more.

    Attributes:
        low: in the unit of the quantity.
        high: likewise.
    """

    low: float
    high: float


def thresholds(largest: Float[ndarray, " frames"], quantile: float = 0.95, factor: float = 5.0) -> Thresholds:
    """Thresholds from what the uncertainty is on frames that the model knows: the 95 % quantile, and five times that.

    Args:
        largest: largest uncertainty of an atom of each calibration frame.
        quantile: of the lower threshold.
        factor: of the upper one over the lower one.

    Raises:
        DataError: too few frames for that quantile, or numbers that are not finite.
    """
    needed = math.ceil(1 / (1 - quantile) - 1e-9)
    if len(largest) < needed or not np.isfinite(largest).all():
        raise DataError(
            f"expected finite uncertainties of at least {needed} calibration frames, found {len(largest)}, of which "
            f"{int(np.isfinite(largest).sum())} are finite"
        )
    low = float(np.quantile(largest, quantile))
    return Thresholds(low, factor * low)


class UncertaintyStop(Observer[MDState]):
    """Stops systems whose uncertainty is above a threshold in k of the last n looks.

    Single frames above the threshold are forgiven. A system that stops goes back to the last frame that was below,
    which is kept all the while; the other systems run on. Put it after the observers that write, so that they see the
    frames that led to the end.

    Args:
        monitor: reads the uncertainty.
        above: threshold of the largest value of an atom, in eV/Å for ``force_sigma``; see :func:`thresholds`.
        quantity: ``force_sigma``, or ``score``, for distances.
        checks: k.
        of: n.
        every: steps between looks.
        allow_uncalibrated: stop at a deviation that is not calibrated, with a warning.
        progress: where the warning is shown.

    Raises:
        SimkitError: numbers that make no sense, or a deviation that is not calibrated.
    """

    def __init__(
        self,
        monitor: UncertaintyMonitor,
        above: float,
        *,
        quantity: Quantity = "force_sigma",
        checks: int = 3,
        of: int = 5,
        every: int = 10,
        allow_uncalibrated: bool = False,
        progress: Progress | None = None,
    ) -> None:
        if not (0 < above < math.inf and 1 <= checks <= of and every >= 1):
            raise SimkitError(
                f"expected a positive threshold, 1 <= checks <= of and every >= 1; found {above}, {checks} of {of}, "
                f"every {every}"
            )
        if quantity == "force_sigma":
            require_calibrated(monitor.potential.provenance, allow_uncalibrated, progress or Silent())
        self.monitor = monitor
        self.above = above
        self.quantity: Quantity = quantity
        self.checks, self.of, self.every = checks, of, every
        self._looks: list[list[bool]] = []
        self._safe: MDState | None = None
        self._safe_steps: list[int] = []
        self._stops: dict[int, Stop[MDState]] = {}

    def begin(self, state: MDState, saved: Any | None) -> None:
        """Start with the first frame as the last safe one, or with that of the checkpoint."""
        if saved is None:
            self._looks, self._safe_steps = [[] for _ in range(state.n_systems)], [0] * state.n_systems
            self._safe = state
        else:
            self._looks, self._safe_steps = saved["looks"], saved["safe_steps"]
            self._safe = unpacked(state, saved["safe"])

    def observe(self, step: int, state: MDState, running: Sequence[bool]) -> None:
        """Look at every system that runs; keep those that are below the threshold."""
        assert self._safe is not None
        values = self.monitor.largest(state, self.quantity).tolist()
        below = [runs and value <= self.above for runs, value in zip(running, values, strict=True)]
        self._safe = self._safe.merged(state, torch.tensor(below, device=state.system.device))
        for index in [index for index, runs in enumerate(running) if runs]:
            self._looks[index] = [*self._looks[index], not below[index]][-self.of :]
            if below[index]:
                self._safe_steps[index] = step
            if sum(self._looks[index]) >= self.checks:
                self._stops[index] = Stop(
                    Status.UNCERTAIN, self._safe_steps[index], self._safe, self._problem(index, values[index])
                )

    def stops(self) -> Mapping[int, Stop[MDState]]:
        """The systems that were above the threshold too often."""
        stops, self._stops = self._stops, {}
        return stops

    def save(self) -> dict[str, Any]:
        """The last looks at each system, and the last safe frames."""
        assert self._safe is not None
        return {"looks": self._looks, "safe_steps": self._safe_steps, "safe": packed(self._safe)}

    def _problem(self, index: int, value: float) -> str:
        unit = " eV/Å" if self.quantity == "force_sigma" else ""
        looks = self._looks[index]
        return (
            f"the largest {self.quantity} of an atom was {value:.3g}{unit}, above {self.above:.3g}{unit} in "
            f"{sum(looks)} of the last {len(looks)} checks. The last frame below was at step "
            f"{self._safe_steps[index]}. Train the potential on frames like those after it."
        )


def require_calibrated(provenance: Provenance, allowed: bool, progress: Progress) -> None:
    """Check that deviations may be compared with a number.

    Raises:
        SimkitError: they are not calibrated, and that is not allowed.
    """
    if provenance.calibrated:
        return
    if not allowed:
        raise SimkitError(
            f"expected a calibrated uncertainty to compare with a threshold, found a {provenance.method} that is not: "
            "its deviations, if it has any, may be several times too small. Calibrate it on frames that it was not "
            "trained on (simkit calibrate), or set allow_uncalibrated in a workflow"
        )
    progress.warn(
        f"the deviations of the {provenance.method} are not calibrated: they may be several times too small, so "
        "dynamics may stop too late"
    )
