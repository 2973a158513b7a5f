"""The plots of the analysis of trajectories and logs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from simkit.report.figures import BLUE, GREY, PALETTE, Figure, as_svg, canvas
from simkit.report.page import digits

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Table = Mapping[str, ndarray]
WIDE = (4.6, 3.0)


def radial_distribution(table: Table, summary: Mapping[str, Any]) -> Figure:
    """Radial distribution functions of all pairs, with bands of one standard error."""
    with canvas(WIDE) as (figure, axes):
        axes.axhline(1, color=GREY, linewidth=0.8, linestyle=":")
        for index, pair in enumerate(summary["pairs"]):
            values, colour = table[f"g_{pair}"], PALETTE[index % len(PALETTE)]
            style = ("-", "--", ":")[index // len(PALETTE) % 3]
            axes.plot(table["r_ang"], values, style, color=colour, label=pair)
            _band(axes, table["r_ang"], values, table[f"g_error_{pair}"], colour)
        axes.set_xlabel("distance (Å)")
        axes.set_ylabel("radial distribution g")
        axes.set_xlim(0, summary["r_max_ang"])
        axes.set_ylim(bottom=0)
        axes.legend()
        svg = as_svg(figure)
    peaks = ", ".join(f"{pair} {digits(peak['peak_ang'])} Å" for pair, peak in summary["pairs"].items())
    return Figure(svg, f"Radial distribution functions; highest peaks: {peaks}.", "Radial distribution functions.")


def mean_squared_displacement(table: Table, summary: Mapping[str, Any]) -> Figure:
    """Mean squared displacement of each element over time, with the lines that give D."""
    with canvas(WIDE) as (figure, axes):
        time = table["time_fs"] * 1e-3
        for colour, (symbol, found) in zip(PALETTE * 20, summary["elements"].items(), strict=False):
            values = table[f"msd_ang2_{symbol}"]
            _band(axes, time, values, table[f"msd_error_ang2_{symbol}"], colour)
            label = f"D = {_coefficient(found)}" if found["diffusive"] else _not_diffusive(found)
            axes.plot(time, values, color=colour, label=f"{symbol}: {label}")
            window = (table["time_fs"] >= found["fit_from_fs"]) & (table["time_fs"] <= found["fit_to_fs"])
            line = 6 * found["d_m2_per_s"] * 1e8 * (time - time[window].mean()) + values[window].mean()  # m²/s to Å²/ps
            axes.plot(time[window], line[window], color="black", linewidth=1, linestyle="--")
        axes.set_xlabel("time (ps)")
        axes.set_ylabel("mean squared displacement (Å²)")
        axes.set_xlim(0, time[-1])
        low, high = axes.get_ylim()
        axes.set_ylim(min(low, 0), high + 0.1 * len(summary["elements"]) * (high - low))
        axes.legend(loc="upper left")
        svg = as_svg(figure)
    words = "; ".join(
        f"{symbol} {_coefficient(found) if found['diffusive'] else _not_diffusive(found)}"
        for symbol, found in summary["elements"].items()
    )
    return Figure(svg, f"Mean squared displacement over time: {words}.", "Dashed: the lines that give D.")


def _not_diffusive(found: Mapping[str, Any]) -> str:
    return f"no diffusion, exponent {digits(found['exponent'])}"


def _coefficient(found: Mapping[str, Any]) -> str:
    value, error = found["d_m2_per_s"] * 1e9, found["d_error_m2_per_s"]
    if error is None:
        return f"{digits(value)}·10⁻⁹ m²/s"
    places = max(0, 1 - int(np.floor(np.log10(max(error * 1e9, 1e-6)))))
    return f"({value:.{places}f} ± {error * 1e9:.{places}f})·10⁻⁹ m²/s".replace("-", "−")


def spectrum(table: Table, summary: Mapping[str, Any]) -> Figure:
    """Vibrational spectrum with the parts of the elements; THz below, 1/cm above."""
    names = [name for name in table if name.startswith("density_") and name not in _WHOLE]
    with canvas(WIDE) as (figure, axes):
        frequency = table["frequency_thz"]
        shown = _shown(frequency, table["density_per_thz"])
        if len(names) > 1:
            for colour, name in zip(PALETTE[1:] * 20, names, strict=False):
                symbol = name.removeprefix("density_").removesuffix("_per_thz")
                axes.plot(frequency[shown], table[name][shown], color=colour, linewidth=1, label=symbol)
        axes.plot(
            frequency[shown], table["density_per_thz"][shown], color=BLUE, label="all" if len(names) > 1 else None
        )
        _band(axes, frequency[shown], table["density_per_thz"][shown], table["density_error_per_thz"][shown], BLUE)
        axes.set_xlabel("frequency (THz)")
        axes.set_ylabel("density (1/THz)")
        axes.set_xlim(0, frequency[shown][-1])
        axes.set_ylim(bottom=0)
        factor = table["frequency_per_cm"][1] / frequency[1]
        second = axes.secondary_xaxis("top", functions=(lambda x: x * factor, lambda x: x / factor))
        second.set_xlabel("wave number (1/cm)")
        if len(names) > 1:
            axes.legend()
        svg = as_svg(figure)
    words = f"highest peak at {digits(summary['peak_thz'])} THz, {digits(summary['peak_per_cm'])} 1/cm"
    return Figure(svg, f"Vibrational spectrum: {words}.", "Mass-weighted spectrum of the velocities.")


_WHOLE = ("density_per_thz", "density_error_per_thz")


def _shown(frequency: Float[ndarray, " rows"], density: Float[ndarray, " rows"]) -> slice:
    """Up to a little beyond where the spectrum has ended."""
    last = int(np.flatnonzero(density > 5e-3 * density.max())[-1])
    return slice(0, min(len(frequency), int(1.1 * last) + 2))


def block_errors(table: Table, summary: Mapping[str, Any]) -> Figure:
    """Standard error of each column that changes over the size of blocks, relative to that of the chosen size."""
    columns = {name: found for name, found in summary["columns"].items() if found["error"] > 0}
    with canvas((5.4, 3.0)) as (figure, axes):
        axes.axhline(1, color=GREY, linewidth=0.8, linestyle=":")
        for colour, (name, found) in zip(PALETTE * 20, columns.items(), strict=False):
            unit = found["error"]
            values, spread = table[f"error_{name}"] / unit, table[f"uncertainty_{name}"] / unit
            axes.errorbar(
                table["block_size"], values, spread, color=colour, marker=".", linewidth=1, capsize=1.5, label=name
            )
            chosen = table["block_size"] == found["block_size"]
            axes.plot(table["block_size"][chosen], values[chosen], "o", color=colour, markersize=6, fillstyle="none")
        axes.set_xscale("log", base=2)
        axes.set_xlabel("rows in a block")
        axes.set_ylabel("error of the mean / chosen")
        axes.set_ylim(bottom=0)
        if columns:
            axes.legend(loc="upper left", bbox_to_anchor=(1, 1))
        svg = as_svg(figure)
    unsure = [name for name, found in summary["columns"].items() if not found["converged"]]
    words = f"too short for {', '.join(unsure)}" if unsure else "all converged"
    return Figure(
        svg, f"Standard errors over the size of blocks: {words}.", "Circles: chosen. A plateau is a converged error."
    )


def _band(axes: Axes, x: ndarray, values: ndarray, error: ndarray, colour: str) -> None:
    if np.isfinite(error).any():
        axes.fill_between(x, values - error, values + error, color=colour, alpha=0.25, linewidth=0)
