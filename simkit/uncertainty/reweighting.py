"""From the energies of a committee along one trajectory to the uncertainty of what the trajectory is for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Shaped
from numpy import ndarray

from simkit.analysis.statistics import blocking
from simkit.errors import DataError
from simkit.progress import Progress, Silent
from simkit.units import BOLTZMANN

CITATION = "G. Imbalzano et al., J. Chem. Phys. 154, 074102 (2021), doi:10.1063/5.0036522"

DIRECT_SPREAD = 0.5
"""Most standard deviation of h for direct reweighting."""

DIRECT_SHARE = 0.5
"""Least effective share of the frames for direct reweighting."""

HOPELESS_SPREAD = 2.0
"""Standard deviation of h above which no reweighting helps."""

Method = Literal["direct", "cumulant"]


@dataclass(frozen=True)
class MemberAverages:
    """Averages of an observable under each member of a committee, from one trajectory of their mean.

    Attributes:
        averages: under each member, in the unit of the observable.
        mean: average along the trajectory, which belongs to the mean of the members.
        model_std: standard deviation of the averages over the members (ddof = 1), less their sampling error: what the
            uncertainty of the potential does to the observable.
        sampling_error: standard error of ``mean`` from the finite length of the trajectory, by blocks.
        member_sampling_errors: the same, of the difference of each member's average to their mean.
        spread: standard deviation over the frames of ``h = (V_m - V) / k_B T`` of each member.
        effective_frames: ``(Σ w)² / Σ w²`` of each member, between 1 and the number of frames.
        methods: how each member was reweighted.
    """

    averages: Float[ndarray, "members ..."]
    mean: ndarray
    model_std: ndarray
    sampling_error: ndarray
    member_sampling_errors: Float[ndarray, "members ..."]
    spread: Float[ndarray, " members"]
    effective_frames: Float[ndarray, " members"]
    methods: tuple[Method, ...]

    @property
    def hopeless(self) -> tuple[int, ...]:
        """Members that need a trajectory of their own: their h spreads by more than 2."""
        return tuple(np.flatnonzero(self.spread > HOPELESS_SPREAD).tolist())


def member_averages(
    observable: Shaped[ndarray, "frames ..."],
    member_energies: Float[ndarray, "members _"],
    temperature: float,
    *,
    energies: Float[ndarray, " _"] | None = None,
    method: Method | None = None,
    progress: Progress | None = None,
) -> MemberAverages:
    """Averages of an observable under each member, without a trajectory for each.

    With ``h = (V_m - V) / k_B T`` along a canonical trajectory of V: *direct*, ``Σ a w / Σ w`` with ``w = exp(-h)``,
    is exact for long trajectories, but few frames have all the weight if h spreads. *cumulant*, ``⟨a⟩ - ⟨ah⟩ +
    ⟨a⟩⟨h⟩``, is the first order in h, and robust. Direct is taken for members with sd(h) < 0.5 and an effective number
    of frames above half of them, cumulant for the others; where sd(h) > 2, neither is any good and a warning says so.

    Args:
        observable: of each frame; further axes are further observables, such as the bins of a histogram.
        member_energies: potential energy of each frame by each member, in eV.
        temperature: of the trajectory in K.
        energies: by the potential that the trajectory was made with, in eV; the mean of the members by default.
        method: for all members, in place of the rule.
        progress: where the warning goes.

    Raises:
        DataError: arrays that do not fit together, numbers that are not finite, too few frames or members.

    Reference: G. Imbalzano et al., J. Chem. Phys. 154, 074102 (2021), doi:10.1063/5.0036522.
    """
    sampled = member_energies.mean(0) if energies is None else energies
    _require_sense(observable, member_energies, sampled, temperature)
    columns = observable.reshape(len(observable), -1).astype(float)
    reduced = (member_energies - sampled) / (BOLTZMANN * temperature)
    weights = np.exp(-(reduced - reduced.min(1, keepdims=True)))
    weights /= weights.sum(1, keepdims=True)
    effective = 1 / np.square(weights).sum(1)
    spread = reduced.std(1, ddof=1)
    methods = tuple(method or _choice(*facts) for facts in zip(spread, effective / len(columns), strict=True))
    series = np.stack(
        [
            (_direct if how == "direct" else _cumulant)(columns, weights[index], reduced[index])
            for index, how in enumerate(methods)
        ]
    )
    found = _collect(columns, series, observable.shape[1:], spread, effective, methods)
    if found.hopeless:
        (progress or Silent()).warn(
            f"the energies of members {', '.join(map(str, found.hopeless))} spread by more than {HOPELESS_SPREAD:g} "
            "k_B T about the trajectory's: their averages mean little. Run a trajectory with each of them"
        )
    return found


def _choice(spread: float, share: float) -> Method:
    return "direct" if spread < DIRECT_SPREAD and share > DIRECT_SHARE else "cumulant"


def _direct(columns: ndarray, weights: ndarray, reduced: ndarray) -> ndarray:
    """A series whose mean is the reweighted average, and whose fluctuations are those of its estimate."""
    average = weights @ columns
    return average + len(columns) * weights[:, None] * (columns - average)


def _cumulant(columns: ndarray, weights: ndarray, reduced: ndarray) -> ndarray:
    products = (columns - columns.mean(0)) * (reduced - reduced.mean())[:, None]
    return columns - products


def _collect(
    columns: ndarray,
    series: Float[ndarray, "members frames flat"],
    shape: tuple[int, ...],
    spread: ndarray,
    effective: ndarray,
    methods: tuple[Method, ...],
) -> MemberAverages:
    averages = series.mean(1)
    differences = series - series.mean(0)
    errors = np.array([_errors(one) for one in differences])
    variance = (np.square(averages - averages.mean(0)) - np.square(errors)).sum(0) / (len(series) - 1)
    return MemberAverages(
        averages=averages.reshape(-1, *shape),
        mean=columns.mean(0).reshape(shape),
        model_std=np.sqrt(variance.clip(min=0)).reshape(shape),
        sampling_error=_errors(columns).reshape(shape),
        member_sampling_errors=errors.reshape(-1, *shape),
        spread=spread,
        effective_frames=effective,
        methods=methods,
    )


def _errors(columns: Float[ndarray, "frames flat"]) -> Float[ndarray, " flat"]:
    return np.array([blocking(column).error for column in columns.T])


def _require_sense(observable: ndarray, members: ndarray, sampled: ndarray, temperature: float) -> None:
    frames = len(observable)
    if members.shape[1] != frames or sampled.shape != (frames,):
        raise DataError(
            f"expected energies of the {frames} frames of the observable, found {members.shape[1]} of the members and "
            f"{len(sampled)} of the trajectory"
        )
    if len(members) < 2 or frames < 4:
        raise DataError(f"expected at least 2 members and 4 frames, found {len(members)} and {frames}")
    if not (np.isfinite(observable).all() and np.isfinite(members).all() and np.isfinite(sampled).all()):
        raise DataError("expected finite observables and energies, found NaN or infinity: leave those frames out")
    if not 0 < temperature < np.inf:
        raise DataError(f"expected a positive temperature in K, found {temperature}")
