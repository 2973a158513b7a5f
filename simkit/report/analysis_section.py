"""Parts of a report for the steps of analysis: their main numbers and their plots."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from simkit.csv_tables import read_table
from simkit.report import crystal_plots, page, trajectory_plots
from simkit.report.figures import Figure
from simkit.report.results import Result

Rows = list[list[page.Cell]]
COLUMNS = ("Quantity", "Value", "Standard error", "Unit")


def analysis_section(result: Result) -> str:
    """The section of a step whose kind is in :data:`ANALYSES`."""
    title, rows, pictures = ANALYSES[result.kind]
    return page.section(
        f"{title}: {result.name}", page.table(COLUMNS, rows(result.summary)), page.figures(pictures(result))
    )


def _rdf(summary: Mapping[str, Any]) -> Rows:
    pairs = summary["pairs"].items()
    return [
        [f"highest peak of {pair} (g = {page.digits(one['peak_g'])})", one["peak_ang"], None, "Å"]
        for pair, one in pairs
    ]


def _diffusion(summary: Mapping[str, Any]) -> Rows:
    rows: Rows = []
    for symbol, one in summary["elements"].items():
        doubt = "" if one["diffusive"] else ", without meaning: the displacement does not grow in proportion to time"
        rows.append([f"diffusion coefficient of {symbol}{doubt}", one["d_m2_per_s"], one["d_error_m2_per_s"], "m²/s"])
        if "d_infinite_m2_per_s" in one:
            rows.append([f"the same in an infinite box ({symbol})", one["d_infinite_m2_per_s"], None, "m²/s"])
        rows.append([f"exponent of the displacement in time ({symbol}; 1 for diffusion)", one["exponent"], None, ""])
    return rows


def _spectrum(summary: Mapping[str, Any]) -> Rows:
    return [
        ["highest peak", summary["peak_thz"], None, "THz"],
        ["highest peak", summary["peak_per_cm"], None, "1/cm"],
        ["resolution", summary["resolution_thz"], None, "THz"],
    ]


def _averages(summary: Mapping[str, Any]) -> Rows:
    rows: Rows = []
    for name, one in summary["columns"].items():
        unsure = "" if one["converged"] else ", too short a log: error too small"
        rows.append([f"{name}{unsure}", one["mean"], one["error"], "as named"])
    return rows


def _equation_of_state(summary: Mapping[str, Any]) -> Rows:
    return [
        ["bulk modulus", summary["bulk_modulus_gpa"], summary["bulk_modulus_error_gpa"], "GPa"],
        ["its derivative", summary["bulk_modulus_derivative"], summary["bulk_modulus_derivative_error"], ""],
        ["volume", summary["v0_ang3_per_atom"], summary["v0_error_ang3_per_atom"], "Å³/atom"],
        ["energy", summary["e0_ev_per_atom"], summary["e0_error_ev_per_atom"], "eV/atom"],
        ["deviation from the fit", summary["deviation_mev_per_atom"], None, "meV/atom"],
    ]


def _elastic(summary: Mapping[str, Any]) -> Rows:
    values, errors = (np.array(summary[f"elastic_constants{name}_gpa"]) for name in ("", "_error"))
    shown = [(i, j) for i, j in np.ndindex(6, 6) if i <= j and abs(values[i, j]) > 1e-3 * np.abs(values).max()]
    rows: Rows = [[f"C{i + 1}{j + 1}", float(values[i, j]), float(errors[i, j]), "GPa"] for i, j in shown]
    found = summary["moduli"] or {}
    names = {"bulk_gpa": "bulk modulus (Hill)", "shear_gpa": "shear modulus (Hill)", "young_gpa": "Young's modulus"}
    rows += [[label, found[name], None, "GPa"] for name, label in names.items() if name in found]
    rows += [["Poisson's ratio", found["poisson"], None, ""]] if found else []
    largest = max(summary["stress_without_strain_gpa"], key=abs)
    return [*rows, ["largest stress without strain", largest, None, "GPa"]]


def _phonons(summary: Mapping[str, Any]) -> Rows:
    return [
        ["highest frequency", summary["highest_thz"], None, "THz"],
        ["highest frequency", summary["highest_per_cm"], None, "1/cm"],
        [
            "lowest frequency" + ("" if summary["stable"] else " (imaginary: unstable)"),
            summary["lowest_thz"],
            None,
            "THz",
        ],
        ["zero-point energy of a primitive cell", summary["zero_point_kj_per_mol"], None, "kJ/mol"],
        [f"heat capacity at {summary['temperature_k']:g} K", summary["heat_capacity_j_per_k_mol"], None, "J/(K mol)"],
    ]


def _neb(summary: Mapping[str, Any]) -> Rows:
    return [
        ["barrier", summary["barrier_ev"], None, "eV"],
        ["barrier of the way back", summary["reverse_barrier_ev"], None, "eV"],
        ["reaction energy", summary["reaction_energy_ev"], None, "eV"],
        [f"largest force on the band ({summary['status']})", summary["fmax_ev_per_ang"], None, "eV/Å"],
    ]


def _one(draw: Callable[..., Figure], table: str) -> Callable[[Result], list[Figure]]:
    return lambda result: [draw(read_table(result.folder / table), result.summary)]


def _draw_elastic(result: Result) -> list[Figure]:
    return [crystal_plots.elastic(result.summary)]


def _draw_phonons(result: Result) -> list[Figure]:
    bands, dos, heat = (read_table(result.folder / name) for name in ("bands.csv", "dos.csv", "thermal.csv"))
    return [crystal_plots.phonons(bands, dos, result.summary), crystal_plots.thermal(heat, result.summary)]


Analysis = tuple[str, Callable[[Mapping[str, Any]], Rows], Callable[[Result], list[Figure]]]

ANALYSES: Mapping[str, Analysis] = {
    "rdf": ("Radial distribution", _rdf, _one(trajectory_plots.radial_distribution, "rdf.csv")),
    "diffusion": ("Diffusion", _diffusion, _one(trajectory_plots.mean_squared_displacement, "diffusion.csv")),
    "spectrum": ("Vibrational spectrum", _spectrum, _one(trajectory_plots.spectrum, "spectrum.csv")),
    "averages": ("Averages", _averages, _one(trajectory_plots.block_errors, "blocking.csv")),
    "equation_of_state": (
        "Equation of state", _equation_of_state, _one(crystal_plots.equation_of_state, "equation_of_state.csv"),
    ),
    "elastic": ("Elastic constants", _elastic, _draw_elastic),
    "phonons": ("Phonons", _phonons, _draw_phonons),
    "neb": ("Reaction path", _neb, _one(crystal_plots.reaction_path, "path.csv")),
}  # fmt: skip
"""Title, rows of numbers and figures of each kind of step."""
