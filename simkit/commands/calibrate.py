"""``simkit calibrate``: the uncertainty of a model."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from simkit.commands.failures import require_file
from simkit.commands.one_step import planned, run_alone
from simkit.commands.options import Device, Head, OwnDtype, Reading, with_reading
from simkit.commands.tables import print_table
from simkit.errors import SimkitError

if TYPE_CHECKING:
    from simkit.workflow.document import Document

SHOWN = (
    ("rmse", "RMSE", True),
    ("sharpness", "RMS σ", True),
    ("z_std", "error/σ", False),
    ("coverage_90", "in 90 %", False),
    ("crps", "CRPS", True),
    ("miscalibration_area", "area", False),
    ("spearman", "Spearman", False),
    ("auroc", "AUROC", False),
)
"""Metrics of the table, its headings, and whether they have the unit of the errors."""


def calibrate(
    models: Annotated[
        list[Path], typer.Argument(help="Model file, or those of the members of an ensemble.", show_default=False)
    ],
    data: Annotated[
        Path, typer.Option(help="Labelled frames to calibrate on, of five trajectories at least.", show_default=False)
    ],
    test: Annotated[
        list[str] | None,
        typer.Option(metavar="[NAME=]FILE", help="Labelled frames to judge on; once for each domain."),
    ] = None,
    train: Annotated[Path | None, typer.Option(help="Frames that the model was trained on.")] = None,
    method: Annotated[
        str | None, typer.Option(help="What tells the uncertainty, e.g. llpr; by default the model, or an ensemble.")
    ] = None,
    conformal: Annotated[bool, typer.Option("--conformal", help="Add conformal intervals.")] = False,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the model and its judgement.")] = Path(
        "calibration"
    ),
    reading: Reading = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="PATH=VALUE", help="Change a setting: method.draws=16, calibration.map=crps"),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of random numbers.")] = 0,
    dtype: OwnDtype = None,
    device: Device = "auto",
    head: Head = None,
) -> None:
    """Give a model an uncertainty, scale it to errors on frames that it has not seen, and judge it.

    The folder receives model.simkit, which takes the model's place in every other command.
    """
    given: dict[str, Any] = {"models": [_path(model, "model") for model in models], "data": _path(data, "data")}
    given["test"] = _domains(test or [])
    options = {"train": None if train is None else _path(train, "train"), "dtype": dtype, "head": head}
    given |= {name: value for name, value in options.items() if value is not None}
    given |= ({"method": {"kind": method}} if method else {}) | ({"conformal": {}} if conformal else {})
    step = planned(_document(given, reading, settings or []), "calibrate", seed, output)
    run_alone(step, seed, device, output)
    print_judgement(json.loads((output / "calibration.json").read_text(encoding="utf-8")))
    for name in step.step.produces:
        print(output / name)


def print_judgement(summary: dict[str, Any]) -> None:
    """Print the table of metrics beside baselines, and the coverage of conformal intervals."""
    frames, groups = summary["calibration_frames"], summary["calibration_groups"]
    facts = [f"{summary['method']}, {frames} calibration frames in {groups} groups"]
    if "map" in summary:
        numbers = [f"{name} {value:.4g}" for name, value in summary["map"].items() if isinstance(value, float)]
        facts.append(f"{summary['map']['kind']} map, {', '.join(numbers)}")
    print("; ".join(facts))
    rows = [_row(line) for line in summary["assessments"]]
    headings = ["", "", "", *(heading for _, heading, _ in SHOWN), "unit"]
    if rows:
        print_table("", headings, rows, numbers=[heading for _, heading, _ in SHOWN])
    for domain, value in summary.get("told_from_first_domain_auroc", {}).items():
        print(f"frames of {domain} told from those of {next(iter(summary['frames']))} with an AUROC of {value:.2f}")
    if summary.get("thresholds"):
        low, high = (summary["thresholds"][f"{name}_above_ev_per_ang"] for name in ("collect", "stop"))
        print(f"for dynamics: --collect {low:.3g},{high:.3g} (eV/Å), --stop-above {high:.3g}")
    for domain, found in summary.get("conformal", {}).get("domains", {}).items():
        for name, one in found.items():
            low, high = one["band"]
            print(
                f"{domain}: {100 * one['coverage']:.1f} % of {one['draws']} {name} scores within conformal intervals "
                f"of 90 % ({100 * low:.0f} to {100 * high:.0f} % expected of frames like those of the calibration)"
            )


def _row(line: dict[str, Any]) -> list[str]:
    errors = line["errors"] or {}
    cells = [_cell(line["values"][name], errors.get(name), scaled) for name, _, scaled in SHOWN]
    own = line["method"] == "model"
    return [line["domain"] if own else "", line["target"] if own else "", "" if own else line["method"], *cells,
            f"m{line['unit']}"]  # fmt: skip


def _cell(value: float | None, error: float | None, scaled: bool) -> str:
    if value is None:
        return "–"
    factor = 1e3 if scaled else 1.0
    text = f"{factor * value:#.3g}"
    return text if error is None else f"{text} ± {float(f'{factor * error:.1g}'):g}"


def _path(path: Path, what: str) -> str:
    return str(require_file(path, what).absolute())


def _domains(words: list[str]) -> dict[str, str]:
    """Files by the names of their domains: those given, or those of the files without suffix."""
    domains: dict[str, str] = {}
    for word in words:
        name, equals, path = word.partition("=")
        file = Path(path if equals else word)
        domain = name if equals else file.stem
        if domain in domains:
            raise SimkitError(f"two test domains are called {domain}: name them, --test cold={file} --test hot=...")
        domains[domain] = _path(file, "test")
    return domains


def _document(given: dict[str, Any], reading: list[str] | None, settings: list[str]) -> Document:
    from simkit.workflow.document import Document, with_setting

    document = with_reading(Document(Path("command line"), given, {}), reading)
    for setting in settings:
        document = with_setting(document, setting)
    places = {(name,): f"--{name}" for name in given} | dict(document.places)
    return replace(document, places=places)
