"""The plots of molecular dynamics: energies, temperature, comparison with a reference."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy import ndarray

from simkit.report.figures import BLUE, GREEN, ORANGE, VERMILLION, Figure, as_svg, canvas
from simkit.report.page import digits
from simkit.tasks.md_log import linear_drift

Table = Mapping[str, ndarray]


def energy_exchange(log: Table, n_atoms: int) -> Figure:
    """Potential, kinetic and total energy along molecular dynamics, relative to the first total energy."""
    start = log["total_ev"][0]
    kinetic = log["kinetic_ev"]
    with canvas() as (figure, axes):
        time = log["time_fs"] * 1e-3
        rows = (
            (log["potential_ev"] - start + kinetic[0], "potential", ORANGE),
            (kinetic, "kinetic", BLUE),
            (log["total_ev"] - start + kinetic[0], "total", "black"),
        )
        for values, label, colour in rows:
            axes.plot(
                time, 1e3 * values / n_atoms, color=colour, label=label, linewidth=1.6 if label == "total" else 0.8
            )
        axes.set_xlabel("time (ps)")
        axes.set_ylabel("energy (meV/atom)")
        low, high = axes.get_ylim()
        axes.set_ylim(low, high + 0.22 * (high - low))
        axes.legend(ncols=3, loc="upper center", columnspacing=1.2, handlelength=1.4)
        svg = as_svg(figure)
    return Figure(
        svg, "Potential, kinetic and total energy over time.", "Energies, zero at the initial potential energy."
    )


def energy_conservation(log: Table, n_atoms: int) -> Figure:
    """Deviation of the energy, less the heat of thermostats and barostats, from its first value, with its drift."""
    time = log["time_fs"] * 1e-3
    change = 1e3 * (log["conserved_ev"] - log["conserved_ev"][0]) / n_atoms
    slope, fluctuation = linear_drift(time, change)
    with canvas() as (figure, axes):
        axes.plot(time, change, color=BLUE, linewidth=0.7)
        line = change.mean() + slope * (time - time.mean())
        axes.plot(time, line, color=VERMILLION, label=f"drift {digits(slope)} meV/atom/ps")
        axes.set_xlabel("time (ps)")
        axes.set_ylabel("Δ conserved energy (meV/atom)")
        low, high = axes.get_ylim()
        axes.set_ylim(low, high + 0.2 * (high - low))
        axes.legend(loc="upper right")
        svg = as_svg(figure)
    words = f"drift {digits(slope)} meV/atom/ps, fluctuation {digits(fluctuation)} meV/atom"
    return Figure(svg, f"Conserved energy over time: {words}.", f"Conservation of energy: {words}.")


def temperature(log: Table, target: float | None) -> Figure:
    """Temperature over time, with its running mean and the thermostat's temperature."""
    values = log["temperature_k"]
    svg = _with_running_mean(log, values, target, "temperature", "K", (0, 1.25 * values.max()))
    half = values[len(values) // 2 :].mean()
    return Figure(svg, f"Temperature over time; mean of the second half {half:.0f} K.", "Kinetic temperature.")


def pressure(log: Table, target: float | None) -> Figure:
    """Pressure over time, with its running mean and the barostat's pressure."""
    values = log["pressure_gpa"]
    svg = _with_running_mean(log, values, target, "pressure", "GPa", None)
    half = digits(float(values[len(values) // 2 :].mean()))
    return Figure(svg, f"Pressure over time; mean of the second half {half} GPa.", "Pressure, kinetic part included.")


def _with_running_mean(
    log: Table, values: ndarray, target: float | None, name: str, unit: str, limits: tuple[float, float] | None
) -> bytes:
    """A quantity over time, with its running mean and the value that it is held at."""
    time = log["time_fs"] * 1e-3
    mean = np.cumsum(values) / np.arange(1, len(values) + 1)
    with canvas() as (figure, axes):
        axes.plot(time, values, color=BLUE, linewidth=0.6, alpha=0.55)
        axes.plot(time, mean, color=VERMILLION, label="running mean")
        if target is not None:
            axes.axhline(target, color="black", linestyle="--", linewidth=1, label=f"target {target:g} {unit}")
        axes.set_xlabel("time (ps)")
        axes.set_ylabel(f"{name} ({unit})")
        if limits is not None:
            axes.set_ylim(*limits)
        axes.legend(loc="upper right", ncols=2, columnspacing=1.2)
        return as_svg(figure)


def volume(log: Table, n_atoms: int) -> Figure:
    """Volume per atom over time."""
    with canvas() as (figure, axes):
        axes.plot(log["time_fs"] * 1e-3, log["volume_ang3"] / n_atoms, color=GREEN, linewidth=0.9)
        axes.set_xlabel("time (ps)")
        axes.set_ylabel("volume (Å³/atom)")
        svg = as_svg(figure)
    half = digits(float(log["volume_ang3"][len(log["time_fs"]) // 2 :].mean() / n_atoms))
    return Figure(svg, f"Volume over time; mean of the second half {half} Å³ per atom.", "Volume of the cell per atom.")


def uncertainty(log: Table, threshold: float | None, words: str) -> Figure:
    """Largest deviation of the force on an atom over time, with the threshold where the run was to stop."""
    values = log["force_sigma_max_ev_per_ang"]
    with canvas() as (figure, axes):
        axes.plot(log["time_fs"] * 1e-3, 1e3 * values, color=BLUE, linewidth=0.8)
        if threshold is not None:
            axes.axhline(1e3 * threshold, color="black", linestyle="--", linewidth=1, label="threshold")
            axes.legend(loc="upper left")
        axes.set_xlabel("time (ps)")
        axes.set_ylabel("largest force σ (meV/Å)")
        axes.set_ylim(0, 1e3 * max(values.max() * 1.25, threshold or 0.0, 1e-6))
        svg = as_svg(figure)
    known = digits(float(1e3 * np.median(values)))
    return Figure(
        svg,
        f"Predicted deviation of the force on the atom where it is largest; median {known} meV/Å ({words}).",
        "Uncertainty of the forces along the way.",
    )


def check_energy(table: Table, method: str) -> Figure:
    """Energy error of the model along its own trajectory."""
    with canvas() as (figure, axes):
        axes.plot(
            table["time_fs"] * 1e-3, table["energy_error_mev_per_atom"], ".-", color=BLUE, markersize=3.5, linewidth=0.8
        )
        axes.axhline(0, color="black", linewidth=0.8)
        axes.set_xlabel("time (ps)")
        axes.set_ylabel("error of the energy (meV/atom)")
        svg = as_svg(figure)
    mae = np.abs(table["energy_error_mev_per_atom"]).mean()
    words = f"Energy of the model minus {method}, along the model's own trajectory: MAE {digits(float(mae))} meV/atom."
    return Figure(svg, words, words)


def check_forces(table: Table, method: str) -> Figure:
    """Force errors of the model along its own trajectory."""
    with canvas() as (figure, axes):
        for name, label, colour in (("rmse", "RMSE", VERMILLION), ("mae", "MAE", GREEN)):
            values = table[f"forces_{name}_mev_per_ang"]
            axes.plot(table["time_fs"] * 1e-3, values, ".-", color=colour, label=label, markersize=3.5, linewidth=0.8)
        axes.set_xlabel("time (ps)")
        axes.set_ylabel("error of the forces (meV/Å)")
        low, high = axes.get_ylim()
        axes.set_ylim(0, high + 0.18 * (high - low))
        axes.legend(ncols=2, loc="upper right")
        svg = as_svg(figure)
    mae = table["forces_mae_mev_per_ang"].mean()
    words = f"Forces of the model against {method} along the trajectory: MAE {digits(float(mae))} meV/Å."
    return Figure(svg, words, words)
