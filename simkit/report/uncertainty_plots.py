"""The plots of uncertainties: coverage, errors over deviations, errors left without the most uncertain."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from simkit.report.figures import GREY, PALETTE, Figure, as_svg, canvas
from simkit.report.page import digits
from simkit.report.plots import SQUARE
from simkit.uncertainty import metrics
from simkit.uncertainty.intervals import StudentT
from simkit.uncertainty.residuals import Residuals

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Domains = Mapping[str, Residuals]
"""Errors beside calibrated deviations, by the name of the data."""

MOST_POINTS = 4000
"""Points of each domain; more are thinned out evenly."""
LEVELS = np.linspace(0, 1, 201)
FRACTIONS = np.linspace(0, 0.99, 100)


def reliability(domains: Domains, label: str, rule: StudentT | None = None) -> Figure:
    """Share of the errors within their intervals over the level of these; calibrated is the diagonal.

    Args:
        domains: what to show.
        label: of what the errors are, such as ``forces``.
        rule: how intervals follow from deviations; Gaussian by default.
    """
    rule = StudentT() if rule is None else rule
    notes = []
    with canvas(SQUARE) as (figure, axes):
        axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.9, zorder=1)
        for colour, (name, residuals) in zip(_colours(domains), domains.items(), strict=True):
            covered = metrics.reliability(residuals, LEVELS, rule.dof, rule.widening)
            axes.plot(LEVELS, covered, color=colour, label=name)
            area = metrics.miscalibration_area(residuals, rule.dof, rule.widening)
            at_90 = metrics.coverage(residuals, 0.9, rule.dof, rule.widening)
            notes.append(f"{name}: {100 * at_90:.0f} % within intervals of 90 %, miscalibration area {area:.3f}")
        axes.text(0.96, 0.05, "too confident", transform=axes.transAxes, ha="right", fontsize=8.5, color=GREY)
        axes.text(0.04, 0.95, "too cautious", transform=axes.transAxes, va="top", fontsize=8.5, color=GREY)
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1)
        axes.set_aspect("equal")
        axes.set_xlabel("level of the intervals")
        axes.set_ylabel("share of the errors within")
        _legend(axes, domains, loc="upper left", bbox_to_anchor=(0, 0.93))
        svg = as_svg(figure)
    words = f"Reliability of the {label}. {'; '.join(notes)}."
    return Figure(svg, words, words)


def errors_over_deviations(domains: Domains, label: str, unit: str, factor: float = 1.0) -> Figure:
    """Root-mean-square errors in bins of equal counts over the predicted deviations, above the single errors.

    Args:
        domains: what to show.
        label: of what the errors are.
        unit: of the axes.
        factor: from the unit of the residuals to that of the axes.
    """
    notes = []
    with canvas(SQUARE) as (figure, axes):
        limits = _log_limits(domains, factor)
        axes.plot(limits, limits, color=GREY, linewidth=0.9, zorder=1)
        for index, (colour, (name, residuals)) in enumerate(zip(_colours(domains), domains.items(), strict=True)):
            thin = residuals.rows(np.arange(0, len(residuals.sigmas), 1 + len(residuals.sigmas) // MOST_POINTS))
            sizes = thin.norms / np.sqrt(thin.components)
            axes.plot(
                factor * thin.sigmas, factor * np.maximum(sizes, 1e-12), ".", color=colour, markersize=2.5,
                alpha=max(0.06, 0.25 - 0.05 * len(domains)), markeredgewidth=0, rasterized=True, zorder=2,
            )  # fmt: skip
            bins = min(metrics.BINS, max(1, len(residuals.sigmas) // 5))
            predicted, found = metrics.calibration_bins(residuals, bins)
            axes.plot(
                factor * predicted, factor * found, "o-", color=colour, markersize=4, linewidth=1.1, label=name,
                markeredgecolor="white", markeredgewidth=0.5, zorder=4 + index,
            )  # fmt: skip
            notes.append(f"{name}: errors are {digits(metrics.z_std(residuals))} times the deviations")
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlim(_log_span(factor * np.concatenate([one.sigmas for one in domains.values()])))
        axes.set_ylim(limits)
        _plain_numbers(axes)
        axes.set_xlabel(f"predicted deviation ({unit})")
        axes.set_ylabel(f"error ({unit})")
        _legend(axes, domains, loc="lower right", handletextpad=0.4)
        svg = as_svg(figure)
    words = f"Errors of the {label} over their predicted deviations, root mean squares in bins of equal counts"
    return Figure(svg, f"{words}. {'; '.join(notes)}.", f"{words}; dots are single errors. {'; '.join(notes)}.")


def sparsification(domains: Domains, label: str, baselines: Domains | None = None) -> Figure:
    """Error of what is left without the most uncertain rows, relative to that of all; dashed without the worst.

    Args:
        domains: what to show.
        label: of what the errors are.
        baselines: the same errors with what costs nothing in place of deviations, for the first domain.
    """
    with canvas(SQUARE) as (figure, axes):
        axes.axhline(1, color=GREY, linewidth=0.9, zorder=1)
        axes.text(0.98, 1.02, "at random", ha="right", fontsize=8.5, color=GREY)
        for colour, (name, residuals) in zip(_colours(domains), domains.items(), strict=True):
            left, oracle = (curve / metrics.rmse(residuals) for curve in metrics.sparsification(residuals, FRACTIONS))
            axes.plot(FRACTIONS, left, color=colour, label=name)
            axes.plot(FRACTIONS, oracle, color=colour, linewidth=0.9, linestyle="--")
        for style, (name, residuals) in zip((":", "-."), (baselines or {}).items(), strict=False):
            left, _ = metrics.sparsification(residuals, FRACTIONS)
            axes.plot(FRACTIONS, left / metrics.rmse(residuals), color=GREY, linewidth=1.2, linestyle=style, label=name)
        axes.set_xlim(0, 1)
        axes.set_ylim(0, max(1.15, axes.get_ylim()[1]))
        axes.set_xlabel("share of the most uncertain taken away")
        axes.set_ylabel("error of the rest / error of all")
        _legend(axes, {**domains, **(baselines or {})}, loc="lower left")
        svg = as_svg(figure)
    words = (
        f"Root-mean-square error of the {label} without those of the largest predicted deviations; dashed without "
        "those of the largest errors, the best there is."
    )
    return Figure(svg, words, words)


def _colours(domains: Domains) -> list[str]:
    return [PALETTE[index % len(PALETTE)] for index in range(len(domains))]


def _legend(axes: Axes, shown: Mapping[str, object], **where: object) -> None:
    """Only where there is something to tell apart."""
    if len(shown) > 1:
        axes.legend(**where)


def _log_span(values: Float[ndarray, " values"]) -> tuple[float, float]:
    """From the smallest to the largest value with a margin, but for the outermost 0.1 %."""
    low, high = np.quantile(values, [0.001, 0.999]).tolist()
    margin = max(1.1, (high / low) ** 0.05)
    return low / margin, high * margin


def _log_limits(domains: Domains, factor: float) -> tuple[float, float]:
    """Of the errors: two decades below the smallest bin hold nearly all."""
    sizes = np.concatenate([one.norms / np.sqrt(one.components) for one in domains.values()])
    sigmas = np.concatenate([one.sigmas for one in domains.values()])
    high = max(np.quantile(sizes, 0.9995), np.quantile(sigmas, 0.999))
    low = min(np.quantile(sizes, 0.02), np.quantile(sigmas, 0.001))
    return factor * max(float(low), 1e-4 * float(high)) / 1.1, factor * float(high) * 1.2


def _plain_numbers(axes: Axes) -> None:
    """Numbers such as 0.1 and 20 on both axes; between powers of ten where fewer than two decades are shown."""
    from matplotlib.ticker import LogLocator, NullFormatter

    for axis, (low, high) in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
        axis.set_major_formatter(lambda value, _: f"{value:g}")
        axis.set_minor_locator(LogLocator(subs=(2.0, 5.0)))
        few = np.log10(high / low) < 2
        axis.set_minor_formatter((lambda value, _: f"{value:g}") if few else NullFormatter())
    axes.tick_params(which="minor", labelsize=7.5)
