"""Facts, errors and findings, printed for people."""

from __future__ import annotations

import re
from typing import Any

from simkit.commands.tables import print_table
from simkit.training.sources import CONCERN_READING, HOW_TO_READ
from simkit.units import ERROR_UNITS

UNIT_WORDS = {
    "mev_per_atom_per_ps": "meV/atom/ps",
    "mev_per_atom": "meV/atom",
    "mev_per_ang3": "meV/Å³",
    "mev_per_ang": "meV/Å",
    "ev_per_ang3": "eV/Å³",
    "ev_per_ang": "eV/Å",
    "ev": "eV",
    "ang3": "Å³",
    "ang": "Å",
    "gpa": "GPa",
    "fs": "fs",
    "k": "K",
}
"""Units as they end the names of facts."""


def print_facts(title: str, facts: dict[str, Any]) -> None:
    """Print facts by name; lists and nested facts are spelt out."""
    rows = [_with_unit(name, text) for name, text in _rows("", facts)]
    if title:
        print(title)
    print_table("", ("", ""), rows)


def print_errors(errors: dict[str, Any], title: str) -> None:
    """Print MAE and RMSE of each property and of the forces on each element."""
    rows = []
    for name, (key, unit) in ERROR_UNITS.items():
        if f"{name}_mae_{key}" in errors:
            rows.append((name, *_number_cells(errors[f"{name}_mae_{key}"], errors[f"{name}_rmse_{key}"]), unit))
    for symbol, values in errors.get("forces_by_element", {}).items():
        cells = _number_cells(values["mae_mev_per_ang"], values["rmse_mev_per_ang"])
        rows.append((f"  forces on {symbol}", *cells, "meV/Å"))
    print_table(title, ("", "MAE", "RMSE", "unit"), rows, numbers=("MAE", "RMSE"))
    for name, (key, unit) in ERROR_UNITS.items():
        if f"{name}_z_rms" in errors:
            sigma, z = _number_cells(errors[f"{name}_sigma_{key}"], errors[f"{name}_z_rms"])
            print(f"predicted deviation of {name}: {sigma} {unit}; errors are {z} times as large, both as RMS")


def print_findings(findings: list[dict[str, Any]]) -> None:
    """Print what an audit of data found."""
    print("audit: nothing suspicious" if not findings else "audit:")
    for finding in findings:
        print(f"  {finding['severity']}: {finding['message']}")
        if finding["frames"]:
            print(f"    {finding['count']} frames: {', '.join(finding['frames'])}")
        print(f"    what to do: {finding['remedy']}")
    if any(finding["kind"] in CONCERN_READING for finding in findings):
        print(f"  {HOW_TO_READ}")


def _number_cells(*values: float) -> tuple[str, ...]:
    return tuple(f"{value:#.3g}" if abs(value) < 100 else f"{value:.1f}" for value in values)


def _rows(prefix: str, value: Any) -> list[tuple[str, str]]:
    if isinstance(value, dict):
        return [row for key, inner in value.items() for row in _rows(f"{prefix}.{key}".lstrip("."), inner)]
    if isinstance(value, list) and value and all(isinstance(one, str) and len(one) > 20 for one in value):
        return [(prefix, "\n".join(value))]
    if isinstance(value, list) and value:
        text = ", ".join(_short(one) for one in value[:40])
        return [(prefix, text + (f", ... ({len(value)} in all)" if len(value) > 40 else ""))]
    return [] if value in (None, "", []) else [(prefix, _short(value))]


def _with_unit(name: str, text: str) -> tuple[str, str]:
    """``forces_mae_mev_per_ang``, ``2`` becomes ``forces mae``, ``2 meV/Å``."""
    for key, unit in UNIT_WORDS.items():
        found = re.search(rf"_{key}(?=$|[_.][A-Z])", name)
        if found:
            return (name[: found.start()] + name[found.end() :]).replace("_", " "), f"{text} {unit}"
    return name.replace("_", " "), text


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_short(inner)}" for key, inner in value.items()) + "}"
    return str(value).replace("[", r"\[")
