"""The whole table of metrics of a target, with error bars, beside baselines that cost nothing."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, astuple, dataclass, fields
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from simkit.uncertainty import metrics
from simkit.uncertainty.bootstrap import REPEATS, block_bootstrap
from simkit.uncertainty.calibration_fits import fit_power_law
from simkit.uncertainty.comparison import TARGET_UNITS, Comparison, Target
from simkit.uncertainty.intervals import StudentT
from simkit.uncertainty.residuals import Residuals

ROWS_PER_BIN = 5
"""Rows that a bin of the calibration error has at least; fewer bins are taken where there are few rows."""
EXPONENTS = (-2.0, 5.0)
"""Range of the exponent of baselines: more atoms may also mean smaller errors per atom."""


@dataclass(frozen=True)
class Metrics:
    """How good uncertainties are; NaN where something is not defined. Errors and σ are in the unit of the target.

    Attributes:
        rmse: root-mean-square error of components.
        mae: mean absolute error of components.
        nll: Gaussian negative log likelihood.
        crps: continuous ranked probability score.
        z_std: root mean square of error/σ; 1 when calibrated.
        coverage_50: share of the errors within intervals of 50 %.
        coverage_90: within 90 %.
        coverage_95: within 95 %.
        miscalibration_area: mean distance of coverage and level.
        ence: expected normalised calibration error in 20 bins, or as many as have five errors.
        spearman: rank correlation of error and σ.
        auroc: how well σ finds the largest 5 % of the errors.
        precision: share of these among the 1 % of largest σ.
        sharpness: root mean square of σ.
    """

    rmse: float
    mae: float
    nll: float
    crps: float
    z_std: float
    coverage_50: float
    coverage_90: float
    coverage_95: float
    miscalibration_area: float
    ence: float
    spearman: float
    auroc: float
    precision: float
    sharpness: float

    @classmethod
    def of(cls, residuals: Residuals, rule: StudentT | None = None) -> Metrics:
        """All metrics; coverage and miscalibration area by Student's intervals, if a ``rule`` says so."""
        rule = StudentT() if rule is None else rule
        covered = metrics.reliability(residuals, np.array([0.5, 0.9, 0.95]), rule.dof, rule.widening).tolist()
        bins = min(metrics.BINS, len(residuals.sigmas) // ROWS_PER_BIN)
        return cls(
            rmse=metrics.rmse(residuals),
            mae=metrics.mae(residuals),
            nll=metrics.nll(residuals),
            crps=metrics.crps(residuals),
            z_std=metrics.z_std(residuals),
            coverage_50=covered[0],
            coverage_90=covered[1],
            coverage_95=covered[2],
            miscalibration_area=metrics.miscalibration_area(residuals, rule.dof, rule.widening),
            ence=metrics.ence(residuals, bins) if bins else math.nan,
            spearman=metrics.spearman(residuals),
            auroc=metrics.large_error_auroc(residuals),
            precision=metrics.precision(residuals),
            sharpness=metrics.sharpness(residuals),
        )


@dataclass(frozen=True)
class Assessment:
    """One line of the table.

    Attributes:
        target: energy, forces, force-vectors, stress, or another name.
        unit: of errors and σ.
        domain: name of the data, such as a temperature.
        method: ``model``, or the baseline.
        rows: number of errors.
        groups: number of independent groups among them.
        values: the metrics.
        errors: their standard errors, by resampling groups; None where this was not asked for or there is one group.
        spearman_ceiling: the rank correlation that a perfect σ of this spread would have.
    """

    target: str
    unit: str
    domain: str
    method: str
    rows: int
    groups: int
    values: Metrics
    errors: Metrics | None
    spearman_ceiling: float

    def as_json(self) -> dict[str, Any]:
        """JSON-compatible: NaN is None."""
        return _without_nan(asdict(self))


def assess(
    comparison: Comparison,
    target: Target,
    *,
    calibration: Comparison | None = None,
    domain: str = "",
    rule: StudentT | None = None,
    repeats: int = REPEATS,
    seed: int = 0,
) -> list[Assessment]:
    """Metrics of the predicted uncertainties of one target, then those of the baselines.

    Baselines, and methods that only score, become standard deviations ``a s^b`` that are fitted to ``calibration``.

    Args:
        comparison: predictions with reference values.
        target: what is judged.
        calibration: the data that the model was calibrated on; baselines are fitted to ``comparison`` itself where it
            is absent, which flatters them.
        domain: name of the data.
        rule: intervals of the calibrated model, for coverage and miscalibration area; Gaussian by default.
        repeats: resamplings for error bars of the model's line; 0 for none.
        seed: of random numbers.

    Raises:
        CalibrationError: no labels or no uncertainty of the target.
    """
    fitted_on = comparison if calibration is None else calibration
    baselines = {}
    for name, scores in comparison.free_scores(target).items():
        others = fitted_on.free_scores(target).get(name)
        if others is not None:
            law = fit_power_law(fitted_on.without_uncertainty(target).with_sigmas(others), EXPONENTS)
            baselines[name] = comparison.without_uncertainty(target).with_sigmas(law(scores))
    return assess_residuals(
        _model(comparison, fitted_on, target), baselines, target=target, unit=TARGET_UNITS[target], domain=domain,
        rule=rule, repeats=repeats, seed=seed,
    )  # fmt: skip


def assess_residuals(
    residuals: Residuals,
    baselines: Mapping[str, Residuals] | None = None,
    *,
    target: str = "",
    unit: str = "",
    domain: str = "",
    rule: StudentT | None = None,
    repeats: int = REPEATS,
    seed: int = 0,
) -> list[Assessment]:
    """Metrics of any errors and deviations, such as those of fields, then those of baselines.

    Args:
        residuals: of the model.
        baselines: the same errors with other deviations, by name.
        target: name of the quantity.
        unit: of its errors.
        domain: name of the data.
        rule: intervals of the model; Gaussian by default.
        repeats: resamplings for error bars of the model's line; 0 for none.
        seed: of random numbers.
    """
    lines = {"model": residuals, **(baselines or {})}
    return [
        Assessment(
            target=target,
            unit=unit,
            domain=domain,
            method=name,
            rows=len(one.sigmas),
            groups=one.n_groups,
            values=Metrics.of(one, rule if name == "model" else None),
            errors=_errors(one, rule, repeats, seed) if name == "model" else None,
            spearman_ceiling=metrics.spearman_ceiling(one, seed=seed),
        )
        for name, one in lines.items()
    ]


def assess_domains(
    domains: Mapping[str, Comparison],
    targets: Iterable[Target],
    *,
    calibration: Comparison | None = None,
    rule: StudentT | None = None,
    repeats: int = REPEATS,
    seed: int = 0,
) -> list[Assessment]:
    """:func:`assess` for each target that a domain has labels and uncertainties of."""
    return [
        line
        for domain, comparison in domains.items()
        for target in targets
        if comparison.has(target) and comparison.sigmas(target) is not None
        for line in assess(
            comparison, target, calibration=calibration, domain=domain, rule=rule, repeats=repeats, seed=seed
        )
    ]


def _model(comparison: Comparison, fitted_on: Comparison, target: Target) -> Residuals:
    residuals = comparison.residuals(target)
    if comparison.score is None or comparison.forces_cov is not None:
        return residuals
    return residuals.with_sigmas(fit_power_law(fitted_on.residuals(target))(residuals.sigmas))


def _errors(residuals: Residuals, rule: StudentT | None, repeats: int, seed: int) -> Metrics | None:
    if repeats == 0 or residuals.n_groups < 2:
        return None
    thin = residuals.rows(np.arange(0, len(residuals.sigmas), 1 + len(residuals.sigmas) // metrics.MOST_ROWS))

    def statistics(rows: ndarray) -> Float[ndarray, " statistics"]:
        return np.array(astuple(Metrics.of(thin.rows(rows), rule)))

    found = block_bootstrap(statistics, thin.groups, repeats, seed).error
    names = [field.name for field in fields(Metrics)]
    return Metrics(**dict(zip(names, found.tolist(), strict=True)))


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nan(one) for name, one in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
