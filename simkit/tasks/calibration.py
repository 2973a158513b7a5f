"""The parts of a calibration: the map, conformal intervals, and the judgement of both."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from simkit.errors import SimkitError, SimkitWarning
from simkit.potential import Potential
from simkit.tasks.calibration_data import TARGETS
from simkit.tasks.parity import Parity
from simkit.uncertainty.assessment import Assessment, assess_domains
from simkit.uncertainty.base import Committee, UncertainPotential
from simkit.uncertainty.bootstrap import REPEATS
from simkit.uncertainty.calibrated import Calibrated
from simkit.uncertainty.calibration_fits import fit_map
from simkit.uncertainty.calibration_maps import CalibrationMap
from simkit.uncertainty.comparison import Target
from simkit.uncertainty.conformal import coverage_band
from simkit.uncertainty.conformal_potential import Conformal
from simkit.uncertainty.conformal_scores import frame_scores
from simkit.uncertainty.metrics import auroc
from simkit.uncertainty.settings import CalibrationSettings, ConformalSettings
from simkit.uncertainty.stop_rule import thresholds

ENOUGH_FRAMES = 20
"""For a quantile of 95 %."""
LEVEL = 0.9
"""Of the conformal intervals whose coverage is told."""
NEEDED_DRAWS = 9
"""``LEVEL / (1 - LEVEL)``: with fewer, an interval that keeps the promise is infinite."""


def fitted_map(
    raw: UncertainPotential, parity: Parity, settings: CalibrationSettings
) -> tuple[CalibrationMap, list[str]]:
    """The calibration map, and warnings of too little data.

    Raises:
        CalibrationError: nothing can be fitted.
        SimkitError: a global map for a method that only scores.
    """
    scores = parity.forces_cov is None and parity.score is not None
    kind = settings.map or ("power-law" if scores else "nll")
    if scores and kind not in ("power-law", "isotonic"):
        raise SimkitError(
            f"the method {raw.provenance.method} gives scores, not deviations: use the map power-law or isotonic, "
            f"found {kind}"
        )
    comparison = parity.comparison()
    # the correction for few members counts the degrees of freedom of single components
    target: Target = "forces" if kind == "finite-committee" else "force-vectors"
    if settings.target == "energy" or (settings.target is None and not comparison.has("forces")):
        target = "energy"
    rows = comparison.residuals(target)
    members = raw.n_members if isinstance(raw, Committee) else None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", SimkitWarning)
        found = fit_map(kind, rows.errors, rows.sigmas[:, None], rows.groups, members=members)
    return found, _texts(caught)


def judged(
    calibrated: Calibrated, domains: Mapping[str, Parity], calibration: Parity, repeats: int = REPEATS, seed: int = 0
) -> list[Assessment]:
    """Metrics of every domain and target, with error bars, and those of the baselines."""
    rule = calibrated.calibration.rule(calibrated.provenance.dof)
    comparisons = {name: parity.comparison() for name, parity in domains.items()}
    return assess_domains(
        comparisons, TARGETS, calibration=calibration.comparison(), rule=rule, repeats=repeats, seed=seed
    )


def thresholds_of(raw: Parity, calibration: CalibrationMap) -> dict[str, float]:
    """Thresholds of the largest calibrated deviation of a frame's atoms, if there are frames enough to tell."""
    sigma = raw.score if raw.force_sigma is None else raw.force_sigma
    if sigma is None or len(raw.counts) < ENOUGH_FRAMES:
        return {}
    starts = np.cumsum([0, *raw.counts[:-1]])
    found = thresholds(np.maximum.reduceat(calibration(sigma), starts))
    return {"collect_above_ev_per_ang": float(found.low), "stop_above_ev_per_ang": float(found.high)}


def told_apart(domains: Mapping[str, Parity]) -> dict[str, float]:
    """How well the mean deviation of the forces in a frame, or its mean score, tells other domains from the first.

    AUROC, the probability that a frame of the other domain has the larger one: 1/2 if not at all, 1 if always.
    """
    first, *others = domains
    inside = _frame_means(domains[first])
    found = {}
    for name in others:
        outside = _frame_means(domains[name])
        if inside is not None and outside is not None:
            positive = np.arange(len(inside) + len(outside)) >= len(inside)
            found[name] = auroc(positive, np.concatenate([inside, outside]))
    return found


def _frame_means(parity: Parity) -> Float[ndarray, " frames"] | None:
    values = parity.force_sigma if parity.score is None else parity.score
    if values is None:
        return None
    frames = np.repeat(np.arange(len(parity.counts)), parity.counts)
    return np.bincount(frames, weights=values) / parity.counts


def with_intervals(
    potential: Potential, parity: Parity, settings: ConformalSettings, seed: int = 0
) -> tuple[Conformal, list[str]]:
    """The potential with conformal intervals, and warnings of too little data.

    Args:
        potential: any; errors are divided by its deviations if it tells them.
        parity: its own predictions for the calibration frames.
        settings: what the intervals promise.
        seed: of random choices.

    Raises:
        CalibrationError: nothing to score.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", SimkitWarning)
        found = Conformal.fit(
            potential,
            parity.comparison(),
            over_atoms=settings.over_atoms,
            unit=settings.unit,
            numbers=parity.numbers if settings.by_element else None,
            seed=seed,
        )
    return found, [*_texts(caught), *_infinite_intervals(found, settings)]


def _infinite_intervals(conformal: Conformal, settings: ConformalSettings) -> list[str]:
    """A warning of scores that are too few for intervals of 90 %."""
    counts = {name: len(values) for name, values in conformal.scores.named_buffers()}
    few = {name: count for name, count in counts.items() if np.isinf(conformal.quantile(name, LEVEL))}
    if not few:
        return []
    least, units = min(few.values()), "frames" if settings.unit == "frame" else "trajectories"
    return [
        f"conformal intervals of {LEVEL:.0%} are infinite for {', '.join(few)}: they need at least {NEEDED_DRAWS} "
        f"calibration {units}, found {least}. Give more, or ask for a level of {least / (least + 1):.0%} at most"
    ]


def conformal_summary(
    conformal: Conformal, settings: ConformalSettings, domains: Mapping[str, Parity], seed: int = 0
) -> dict[str, Any]:
    """Quantiles of the scores, and the share of frames within intervals of 90 % in each domain.

    ``band`` is where the coverage lies in nine of ten calibrations with so many frames, if test and calibration are
    exchangeable; that of a domain is wider than that of the scores, because its frames are not infinitely many.
    """
    scores = {name: values.cpu().numpy() for name, values in conformal.scores.named_buffers()}
    quantiles = {name: conformal.quantile(name, LEVEL) for name in scores}
    coverage: dict[str, Any] = {}
    for domain, parity in domains.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SimkitWarning)  # about too few trajectories to calibrate on, not to test
            found = frame_scores(
                parity.comparison(),
                relative=conformal.relative,
                over_atoms=settings.over_atoms,
                unit=settings.unit,
                numbers=parity.numbers if settings.by_element else None,
                seed=seed,
            )
        coverage[domain] = {
            name: {
                "draws": len(values),
                "coverage": float(np.mean(values <= quantiles[name])),
                "band": list(coverage_band(len(scores[name]), LEVEL, tested=len(values))),
            }
            for name, values in found.items()
            if name in quantiles
        }
    known = {
        name: {
            "draws": len(values),
            "quantile": _finite(quantiles[name]),
            "band": list(coverage_band(len(values), LEVEL)),
        }
        for name, values in scores.items()
    }
    return {"level": LEVEL, **settings.model_dump(mode="json"), "scores": known, "domains": coverage}


def _texts(caught: list[warnings.WarningMessage]) -> list[str]:
    return [str(one.message) for one in caught if issubclass(one.category, SimkitWarning)]


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
