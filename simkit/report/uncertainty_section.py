"""The part of a report on the uncertainty of a model: what it promises, and whether it holds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from simkit.report import page, uncertainty_plots
from simkit.report.figures import Figure
from simkit.report.results import Result
from simkit.tasks.calibration_data import read_residuals, read_size_baselines
from simkit.uncertainty.intervals import StudentT

QUANTITIES = {
    "force-vectors": ("forces", "meV/Å"),
    "energy": ("energies per atom", "meV/atom"),
    "stress": ("stresses", "meV/Å³"),
}
"""Names of the targets, and the units they are shown in, in the order of the section."""
METRICS = (
    ("root-mean-square error ({unit})", "rmse", 1e3),
    ("predicted deviation, root mean square ({unit})", "sharpness", 1e3),
    ("error in units of its deviation (1 is calibrated)", "z_std", 1.0),
    ("within intervals of 90 % (%)", "coverage_90", 100.0),
    ("negative log likelihood", "nll", 1.0),
    ("CRPS ({unit})", "crps", 1e3),
    ("miscalibration area", "miscalibration_area", 1.0),
    ("expected normalised calibration error", "ence", 1.0),
    ("rank correlation of error and deviation (Spearman)", "spearman", 1.0),
    ("finding the largest 5 % of the errors (AUROC)", "auroc", 1.0),
)
"""Name of each row, metric and factor."""


def uncertainty_section(result: Result, method: str) -> str:
    """Reliability, errors over deviations, sparsification, and the metrics of every domain beside the baselines."""
    summary = result.summary
    pictures = _pictures(result, summary) if summary["assessments"] else []
    parts = [page.paragraph(_words(summary, method))]
    parts += [page.paragraph(text[0].upper() + text[1:] + ".", "warning") for text in summary["warnings"]]
    parts.append(page.figures(pictures))
    for target in QUANTITIES:
        parts += _tables([line for line in summary["assessments"] if line["target"] == target], target)
    if summary["assessments"]:
        parts.append(page.paragraph(_reading(summary)))
    parts += [
        page.paragraph(
            f"The predicted uncertainty tells frames of {name} from those of {next(iter(summary['frames']))} with an "
            f"AUROC of {page.digits(value)} (0.5: not at all, 1: always)."
        )
        for name, value in summary.get("told_from_first_domain_auroc", {}).items()
    ]
    found = summary.get("thresholds")
    if found:
        low, high = (page.digits(found[f"{name}_above_ev_per_ang"]) for name in ("collect", "stop"))
        parts.append(
            page.paragraph(
                f"Frames where the deviation of the force on an atom is above {low} eV/Å are worth labelling (the 95 % "
                f"quantile of the calibration frames); dynamics should stop above {high} eV/Å (five times that)."
            )
        )
    return page.section(f"Uncertainty: {result.name}", *parts, _conformal(summary))


def calibration_headline(result: Result) -> list[page.Number]:
    """Errors of the forces in units of predicted deviations, in the first domain."""
    for line in result.summary["assessments"]:
        if line["target"] == "force-vectors" and line["method"] == "model":
            label = f"force error over predicted deviation, {result.name}"
            return [page.Number(line["values"]["z_std"], "σ", label)]
    return []


def _words(summary: Mapping[str, Any], method: str) -> str:
    frames, groups = summary["calibration_frames"], summary["calibration_groups"]
    calibrated = f"{frames} frames of {groups} independent groups (trajectories) labelled with {method}"
    cost = f"A prediction with forces costs about {page.digits(float(summary['cost']))} times that of one model."
    if "map" not in summary:
        return f"Intervals by {summary['method']}, from {calibrated}. {cost}"
    kinds = {
        "global": "one factor for all deviations, {alpha}",
        "power-law": "{prefactor} times the raw value to the power of {exponent}",
        "isotonic": "a non-decreasing curve",
    }
    numbers = {name: page.digits(value) for name, value in summary["map"].items() if isinstance(value, float)}
    how = kinds[summary["map"]["kind"]].format(**numbers)
    judged = "" if summary["in_sample"] else " It is judged on other frames below."
    return f"Uncertainties by {summary['method']}, calibrated on {calibrated}: {how}.{judged} {cost}"


def _reading(summary: Mapping[str, Any]) -> str:
    own = " These are the calibration frames themselves, so the numbers flatter." if summary["in_sample"] else ""
    return (
        "Likelihood (of errors in eV), CRPS, area and calibration error are better when smaller, rank correlation and "
        "AUROC when larger; perfect deviations of this spread have the rank correlation in brackets. What costs "
        f"nothing is fitted to the calibration frames. Error bars are from drawing whole trajectories again.{own}"
    )


def _tables(lines: Sequence[Mapping[str, Any]], target: str) -> list[str]:
    """For each domain a table: metrics in rows, the predicted deviations and the baselines in columns."""
    name, unit = QUANTITIES[target]
    parts = []
    for domain in dict.fromkeys(line["domain"] for line in lines):
        own = [line for line in lines if line["domain"] == domain]
        columns = ["predicted" if line["method"] == "model" else line["method"] for line in own]
        rows = [
            [row.format(unit=unit), *(_metric(line, metric, factor) for line in own)] for row, metric, factor in METRICS
        ]
        parts += [page.heading(f"{name[0].upper()}{name[1:]}, {domain}"), page.table(("", *columns), rows)]
    return parts


def _metric(line: Mapping[str, Any], metric: str, factor: float) -> page.Cell:
    cell = _cell(line["values"][metric], (line["errors"] or {}).get(metric), factor)
    if metric == "spearman" and line["method"] == "model" and line["spearman_ceiling"] is not None and cell is not None:
        return f"{page.digits(cell)} ({page.digits(line['spearman_ceiling'], 2)})"
    return cell


def _cell(value: float | None, error: float | None, factor: float) -> page.Cell:
    """A number with its standard error, which has as many decimal places."""
    if value is None or error is None:
        return None if value is None else factor * value
    if error <= 0:
        return page.digits(factor * value)
    places = max(0, -math.floor(math.log10(factor * error)))
    return f"{factor * value:.{places}f} ± {factor * error:.{places}f}".replace("-", "−")


def _pictures(result: Result, summary: Mapping[str, Any]) -> list[Figure]:
    rows = read_residuals(result.folder / "calibration.npz")
    free = read_size_baselines(result.folder / "calibration.npz")
    rule = summary["interval_rule"]
    student = StudentT(math.inf if rule["dof"] is None else rule["dof"], rule["widening"])
    pictures = []
    for target, (name, unit) in QUANTITIES.items():
        domains = {domain: found for (domain, kind), found in rows.items() if kind == target}
        if not domains or target == "stress":
            continue
        pictures.append(uncertainty_plots.reliability(domains, name, student))
        pictures.append(uncertainty_plots.errors_over_deviations(domains, name, unit, 1e3))
        if target == "force-vectors":
            first = next(iter(domains))
            pictures.append(uncertainty_plots.sparsification(domains, name, {"size of the force": free[first]}))
    return pictures


def _conformal(summary: Mapping[str, Any]) -> str:
    """Quantiles and coverage of conformal intervals, if there are any."""
    found = summary.get("conformal")
    if not found:
        return ""
    level = f"{100 * found['level']:g} %"
    rows: list[list[page.Cell]] = []
    for domain, quantities in found["domains"].items():
        for name, one in quantities.items():
            scores = found["scores"][name]
            band = " to ".join(page.digits(100 * end) for end in one["band"])
            rows.append([domain, name, scores["quantile"], scores["draws"], 100 * one["coverage"], band, one["draws"]])
    headings = (
        "Data", "Quantity", "Quantile", "Calibration scores", f"Within {level} (%)", "Expected (%)", "Test scores"
    )  # fmt: skip
    return page.heading(f"Conformal intervals of {level}") + page.table(headings, rows)
