"""The report: results of several steps on one page."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import simkit
from simkit.files import write_text
from simkit.report import page
from simkit.report.active_section import active_section
from simkit.report.analysis_section import ANALYSES, analysis_section
from simkit.report.dynamics_section import md_section
from simkit.report.ensemble_section import ensemble_section
from simkit.report.molecule import draw_atoms
from simkit.report.results import Result, all_citations, find, read_results
from simkit.report.sections import (
    evaluate_section,
    headline,
    label_section,
    picture_of,
    predict_section,
    relax_section,
    train_section,
)
from simkit.report.uncertainty_section import uncertainty_section


def build_report(folders: Sequence[Path], target: str | os.PathLike[str], *, title: str = "Report") -> dict[str, Any]:
    """Write one HTML file about the results of several steps; it needs no network, no scripts and no other files.

    Args:
        folders: result folders of steps, in the order of the page.
        target: HTML file to write.
        title: heading of the page.

    Returns:
        Numbers of steps and bytes.

    Raises:
        WorkflowError: a folder holds no finished step.
        MissingExtraError: matplotlib is not installed.
    """
    results = read_results(folders)
    label = find(results, "label")
    method = str(label.summary["method"]) if label else "reference"
    parts = [page.numbers(headline(results))]
    parts += [_section(result, method) for result in results]
    parts += [_methods(results), _provenance(results)]
    drawn = next((atoms for atoms in map(picture_of, results) if atoms is not None), None)
    picture = draw_atoms(drawn) if drawn is not None else None
    foot = f"Made by simkit {simkit.__version__} on {datetime.now(UTC):%d %B %Y, %H:%M} UTC."
    html = page.page(title, _lead(results), picture, "\n".join(part for part in parts if part), foot)
    write_text(target, html)
    return {"steps": len(results), "bytes": len(html.encode())}


def _section(result: Result, method: str) -> str:
    if result.kind == "evaluate":
        return evaluate_section(result, method)
    if result.kind == "calibrate":
        return uncertainty_section(result, method)
    sections = {
        "label": label_section,
        "train": train_section,
        "ensemble": ensemble_section,
        "active_learning": active_section,
        "relax": relax_section,
        "md": md_section,
        "predict": predict_section,
    }
    if result.kind in ANALYSES:
        return analysis_section(result)
    return sections[result.kind](result) if result.kind in sections else ""


def _lead(results: list[Result]) -> str:
    words = {
        "label": "reference data", "train": "training", "evaluate": "errors on held-out frames",
        "ensemble": "training of an ensemble", "calibrate": "calibrated uncertainties",
        "active_learning": "active learning", "predict": "predictions", "relax": "relaxation",
        "md": "molecular dynamics",
    }  # fmt: skip
    words |= {kind: title[0].lower() + title[1:] for kind, (title, *_) in ANALYSES.items()}
    present = list(dict.fromkeys(words[result.kind] for result in results if result.kind in words))
    listed = ", ".join(present[:-1]) + (" and " if len(present) > 1 else "") + present[-1] if present else "results"
    return f"{listed[0].upper()}{listed[1:]}, with the numbers to judge them by."


def _methods(results: list[Result]) -> str:
    references = all_citations(results)
    if not references:
        return ""
    text = "These results rest on the following work; please cite it when you publish them."
    return page.section("Methods and citations", page.paragraph(text), page.citations(references))


def _provenance(results: list[Result]) -> str:
    rows = []
    for result in results:
        record = result.record
        rows.append(
            [
                result.name,
                result.kind,
                str(record["address"])[:12],
                str(record["seed"]),
                record["timings"]["started"].replace("T", " ").replace("+00:00", ""),
                record["timings"]["seconds"],
            ]
        )
    first = results[0].record
    versions = ", ".join(f"{name} {version}" for name, version in first["versions"].items())
    machine = first["machine"]
    return page.section(
        "Provenance",
        page.paragraph(f"{versions}; {machine['platform']}, device {machine['device']}."),
        page.table(("Step", "Kind", "Hash", "Seed", "Started (UTC)", "Seconds"), rows, code=("Hash",)),
        page.paragraph("The hash addresses settings and inputs; result.json in each step's folder has all of them."),
    )
