"""The plots of properties of crystals and of reaction paths."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy import ndarray
from scipy.interpolate import CubicHermiteSpline

from simkit.analysis.equation_of_state import FORMS
from simkit.report.figures import BLUE, GREEN, GREY, VERMILLION, Figure, as_svg, canvas
from simkit.report.page import digits
from simkit.units import GPA

Table = Mapping[str, ndarray]
WIDE = (4.6, 3.0)


def equation_of_state(table: Table, summary: Mapping[str, Any]) -> Figure:
    """Energies over volume, and the fitted curve."""
    names = ("e0_ev_per_atom", "v0_ang3_per_atom", "bulk_modulus_gpa", "bulk_modulus_derivative")
    low, volume, modulus, derivative = (summary[name] for name in names)
    volumes, energies = table["volume_ang3_per_atom"], table["energy_ev_per_atom"]
    fine = np.linspace(volumes.min(), volumes.max(), 200)
    curve = FORMS[summary["equation"]](fine, low, volume, modulus * GPA, derivative)
    with canvas(WIDE) as (figure, axes):
        axes.plot(fine, 1e3 * (curve - low), color=BLUE, label=summary["equation"].title())
        axes.plot(volumes, 1e3 * (energies - low), "o", color=VERMILLION, markersize=4, label="model")
        axes.axvline(summary["v0_ang3_per_atom"], color=GREY, linewidth=0.8, linestyle=":")
        axes.set_xlabel("volume (Å³/atom)")
        axes.set_ylabel("energy above minimum (meV/atom)")
        axes.legend(
            title=f"B₀ = {summary['bulk_modulus_gpa']:.4g} GPa, B₀' = {summary['bulk_modulus_derivative']:.3g}\n"
            f"V₀ = {summary['v0_ang3_per_atom']:.5g} Å³/atom",
            loc="upper center",
            frameon=True,
            framealpha=1,
            edgecolor="none",
        )
        svg = as_svg(figure)
    words = f"bulk modulus {digits(summary['bulk_modulus_gpa'])} GPa at {digits(summary['v0_ang3_per_atom'])} Å³/atom"
    return Figure(svg, f"Energy over volume: {words}.", f"Equation of state of {summary['formula']}: {words}.")


def elastic(summary: Mapping[str, Any]) -> Figure:
    """Elastic constants as a map of numbers."""
    matrix, names = np.array(summary["elastic_constants_gpa"]), summary["order"]
    limit = np.abs(matrix).max()
    with canvas((4.2, 3.6)) as (figure, axes):
        image = axes.imshow(matrix, cmap="RdBu", vmin=-limit, vmax=limit)
        for (i, j), value in np.ndenumerate(matrix):
            colour = "white" if abs(value) > 0.6 * limit else "black"
            text = f"{value:.1f}".replace("-", "−") if abs(value) > 0.05 else "0"
            axes.text(j, i, text, ha="center", va="center", fontsize=8, color=colour)
        axes.set_xticks(range(6), names)
        axes.set_yticks(range(6), names)
        axes.set_xlabel("strain")
        axes.set_ylabel("stress")
        axes.grid(visible=False)
        figure.colorbar(image, ax=axes, label="C (GPa)", shrink=0.85)
        svg = as_svg(figure)
    words = "mechanically stable" if summary["stable"] else "mechanically unstable"
    return Figure(svg, f"Elastic constants in GPa; {words}.", f"Elastic constants of {summary['formula']}; {words}.")


def phonons(bands: Table, dos: Table, summary: Mapping[str, Any]) -> Figure:
    """Band structure and, beside it, the density of states."""
    names = [name for name in bands if name.startswith("band_")]
    with canvas((5.4, 3.2)) as (figure, axes):
        side = axes.inset_axes((1.05, 0, 0.28, 1), sharey=axes)
        for name in names:
            axes.plot(bands["distance_per_ang"], bands[name], color=BLUE, linewidth=1.1)
        for _, tick in summary["path"]:
            axes.axvline(tick, color=GREY, linewidth=0.6)
        axes.axhline(0, color="black", linewidth=0.6)
        axes.set_xticks([tick for _, tick in summary["path"]], [label for label, _ in summary["path"]])
        axes.set_xlim(0, bands["distance_per_ang"][-1])
        axes.set_ylabel("frequency (THz)")
        axes.grid(visible=False, axis="x")
        side.fill_betweenx(dos["frequency_thz"], 0, dos["density_per_thz"], color=BLUE, alpha=0.25, linewidth=0)
        side.plot(dos["density_per_thz"], dos["frequency_thz"], color=BLUE, linewidth=1)
        side.set_xlim(left=0)
        side.set_xticks([tick for tick in side.get_xticks() if 0 < tick <= side.get_xlim()[1]])
        side.set_xlabel("density (1/THz)")
        side.tick_params(labelleft=False)
        top = 1.06 * max(bands[name].max() for name in names)
        low = min(bands[name].min() for name in names)
        axes.set_ylim(1.1 * low if low < -0.05 else 0, top)
        svg = as_svg(figure)
    words = "no imaginary frequency" if summary["stable"] else "imaginary frequencies, drawn below zero"
    return Figure(svg, f"Phonon bands and density of states; {words}.", f"Phonons of {summary['formula']}; {words}.")


def thermal(table: Table, summary: Mapping[str, Any]) -> Figure:
    """Heat capacity, entropy and free energy over temperature."""
    with canvas(WIDE) as (figure, axes):
        temperature = table["temperature_k"]
        axes.plot(temperature, table["heat_capacity_j_per_k_mol"], color=BLUE, label="heat capacity (J/K/mol)")
        axes.plot(temperature, table["entropy_j_per_k_mol"], color=GREEN, label="entropy (J/K/mol)")
        axes.plot(temperature, table["free_energy_kj_per_mol"], color=VERMILLION, label="free energy (kJ/mol)")
        axes.set_xlabel("temperature (K)")
        axes.set_ylabel("of one primitive cell")
        axes.set_xlim(0, temperature[-1])
        axes.legend()
        svg = as_svg(figure)
    words = f"{summary['primitive_atoms']} atoms in the primitive cell"
    return Figure(svg, f"Harmonic thermal properties; {words}.", f"Harmonic vibrations at constant volume; {words}.")


def reaction_path(table: Table, summary: Mapping[str, Any]) -> Figure:
    """Energy along a path, with the curve that has the true slope at each image."""
    distance, energy = table["distance_ang"], table["energy_ev"]
    fine = np.linspace(0, distance[-1], 400)
    curve = CubicHermiteSpline(distance, energy, table["slope_ev_per_ang"])(fine)
    with canvas(WIDE) as (figure, axes):
        axes.plot(fine, curve, color=BLUE)
        axes.plot(distance, energy, "o", color=VERMILLION, markersize=4.5)
        axes.axhline(0, color=GREY, linewidth=0.8, linestyle=":")
        axes.set_xlabel("length of the path (Å)")
        axes.set_ylabel("energy (eV)")
        svg = as_svg(figure)
    words = f"barrier {digits(summary['barrier_ev'])} eV, back {digits(summary['reverse_barrier_ev'])} eV"
    return Figure(svg, f"Energy along the path: {words}.", f"Path of least energy, {summary['status']}: {words}.")
