"""The part of a report on molecular dynamics."""

from __future__ import annotations

from typing import Any

from simkit.csv_tables import read_table
from simkit.report import dynamics_plots, page
from simkit.report.figures import Figure
from simkit.report.results import Result
from simkit.tasks.md_log import of_system
from simkit.tasks.settings import numbers

NAMES = {
    "nve": "NVE",
    "langevin": "NVT, Langevin",
    "bussi": "NVT, velocity rescaling",
    "nose_hoover": "NVT, Nosé-Hoover chain",
    "npt": "NPT, stochastic cell rescaling",
    "npt_flexible": "NPT, stochastic cell rescaling of all cell parameters",
    "mtk": "NPT, Martyna-Tobias-Klein",
    "mtk_flexible": "NPT, Martyna-Tobias-Klein with all cell parameters",
}
ROWS = 20
"""Systems that the table lists."""


def md_section(result: Result) -> str:
    """Energies, temperature, pressure and, if there is one, the comparison along the trajectory."""
    summary = result.summary
    systems = summary.get("systems", [summary])
    first = systems[0]
    text = (
        f"{NAMES[summary['ensemble']]}: {first['time_fs'] * 1e-3:.3g} ps in steps of {first['timestep_fs']:g} fs, "
        f"{first['atoms']} atoms."
    )
    if len(systems) > 1:
        text = f"{len(systems)} systems side by side, {summary['status']}. The first, shown below: {text}"
    if summary.get("ns_per_day"):
        text += f" Speed: {page.digits(summary['ns_per_day'])} ns/day."
    parts = [page.paragraph(text)]
    parts += [page.paragraph(one["remedy"], "warning") for one in systems[:ROWS] if "remedy" in one]
    pictures = _pictures(result, summary, first)
    if "collected_frames" in summary:
        parts.append(page.paragraph(f"{summary['collected_frames']} uncertain frames were kept to be labelled."))
    check = summary.get("check")
    if check:
        table, method = read_table(result.folder / "check.csv"), check["method"]
        pictures += [dynamics_plots.check_energy(table, method), dynamics_plots.check_forces(table, method)]
        parts.append(page.paragraph(f"{check['frames']} frames along the way were computed again with {method}."))
    overview = [_table(systems)] if len(systems) > 1 else []
    return page.section(f"Molecular dynamics: {result.name}", *parts, page.figures(pictures), *overview)


def _pictures(result: Result, summary: dict[str, Any], first: dict[str, Any]) -> list[Figure]:
    ensemble = summary["ensemble"]
    log = of_system(read_table(result.folder / "log.csv"), 0)
    if len(log["step"]) <= 2:
        return []
    pictures = []
    if ensemble == "nve":
        pictures.append(dynamics_plots.energy_exchange(log, first["atoms"]))
    pictures.append(dynamics_plots.energy_conservation(log, first["atoms"]))
    pictures.append(dynamics_plots.temperature(log, first["thermostat_temperature_k"]))
    if ensemble.startswith(("npt", "mtk")):
        target = numbers(result.record["settings"].get("pressure", 0.0))[0]
        pictures += [dynamics_plots.pressure(log, target), dynamics_plots.volume(log, first["atoms"])]
    if "force_sigma_max_ev_per_ang" in log:
        watching = result.record["settings"].get("uncertainty") or {}
        pictures.append(dynamics_plots.uncertainty(log, watching.get("stop_above"), summary["uncertainty"]))
    return pictures


def _table(systems: list[dict[str, Any]]) -> str:
    rows = [
        [
            index,
            one["formula"],
            one["atoms"],
            one["status"],
            one["time_fs"] * 1e-3,
            one.get("mean_temperature_k"),
            one.get("energy_drift_mev_per_atom_per_ps"),
        ]
        for index, one in enumerate(systems[:ROWS])
    ]
    names = ("System", "Formula", "Atoms", "Status", "Time (ps)", "Temperature (K)", "Energy drift (meV/atom/ps)")
    return page.table(names, rows)
