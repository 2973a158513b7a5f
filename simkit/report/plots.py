"""The plots of a report, from tables of numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from ase.data import chemical_symbols
from jaxtyping import Float, Int
from numpy import ndarray

from simkit.report.figures import BLUE, GREY, ORANGE, PALETTE, VERMILLION, Figure, as_svg, canvas
from simkit.report.page import digits

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Table = Mapping[str, ndarray]
SQUARE = (3.5, 3.2)
MOST_POINTS = 20_000
"""Points of a scatter plot; more are thinned out evenly."""


def learning_curve(table: Table, quantity: str, label: str, stage_two: int | None, best: int | None) -> Figure:
    """Training and validation values of one quantity of a training log over the epochs, on a logarithmic scale."""
    with canvas() as (figure, axes):
        for name, title, colour in (("train", "training", ORANGE), ("validation", "validation", BLUE)):
            values = table.get(f"{name}_{quantity}")
            if values is None:
                continue
            known = np.isfinite(values) & (values > 0)
            axes.semilogy(table["epoch"][known], values[known], color=colour, label=title)
        if stage_two is not None:
            axes.axvline(stage_two, color=GREY, linewidth=0.9, linestyle=":", label="stage two")
        validation = table.get(f"validation_{quantity}")
        if best is not None and validation is not None:
            at = table["epoch"] == best
            axes.plot(best, validation[at][0], "o", color=BLUE, markersize=5, label=f"best epoch ({best})")
        _plain_ticks(axes)
        axes.set_xlabel("epoch")
        axes.set_ylabel(label)
        axes.legend()
        svg = as_svg(figure)
    return Figure(svg, f"Learning curve: {label} of training and validation frames over the epochs.")


def several_curves(curves: Mapping[str, tuple[ndarray, ndarray]], label: str) -> Figure:
    """A quantity of several trainings over the epochs, on a logarithmic scale.

    Args:
        curves: epochs and values, by name.
        label: of the quantity.
    """
    with canvas() as (figure, axes):
        for index, (name, (epochs, values)) in enumerate(curves.items()):
            known = np.isfinite(values) & (values > 0)
            axes.semilogy(epochs[known], values[known], color=PALETTE[index % len(PALETTE)], linewidth=1, label=name)
        _plain_ticks(axes)
        axes.set_xlabel("epoch")
        axes.set_ylabel(label)
        if 1 < len(curves) <= 2 * len(PALETTE):
            axes.legend()
        svg = as_svg(figure)
    return Figure(svg, f"{label} of {', '.join(curves)} over the epochs.", "Validation frames.")


def energy_parity(energy: Float[ndarray, "frames 2"], counts: Int[ndarray, " frames"], method: str) -> Figure:
    """Predicted over reference energies per atom, relative to the mean reference."""
    known = np.isfinite(energy).all(1)
    values = 1e3 * energy[known] / counts[known, None]
    values = values - values[:, 0].mean()
    unit, factor = ("meV", 1.0) if np.ptp(values) < 5e3 else ("eV", 1e-3)
    errors = values[:, 1] - values[:, 0]
    with canvas(SQUARE) as (figure, axes):
        _diagonal(axes, values * factor)
        axes.plot(*(values.T * factor), ".", color=BLUE, markersize=5, alpha=0.6, rasterized=len(values) > 2000)
        axes.set_xlabel(f"{method} energy ({unit}/atom)")
        axes.set_ylabel(f"predicted energy ({unit}/atom)")
        _note_errors(axes, errors, "meV/atom")
        svg = as_svg(figure)
    return Figure(
        svg,
        f"Parity plot of energies per atom of {len(values)} frames. {_errors_in_words(errors, 'meV/atom')}.",
        "Energies per atom, relative to the mean of the reference.",
    )


def forces_parity(forces: Float[ndarray, "atoms 3 2"], numbers: Int[ndarray, " atoms"], method: str) -> Figure:
    """Predicted over reference components of the forces, by element."""
    known = np.isfinite(forces).all((1, 2))
    forces, numbers = forces[known], numbers[known]
    errors = 1e3 * (forces[..., 1] - forces[..., 0]).ravel()
    with canvas(SQUARE) as (figure, axes):
        _diagonal(axes, forces.reshape(-1, 2))
        for colour, number in zip(PALETTE, _by_abundance(numbers), strict=False):
            pairs = forces[numbers == number].reshape(-1, 2)
            pairs = pairs[:: 1 + len(pairs) // MOST_POINTS]
            axes.plot(
                *pairs.T, ".", color=colour, markersize=3, alpha=0.5, rasterized=True, label=chemical_symbols[number]
            )
        axes.set_xlabel(f"{method} force (eV/Å)")
        axes.set_ylabel("predicted force (eV/Å)")
        axes.legend(loc="lower right", markerscale=3, handletextpad=0.1)
        _note_errors(axes, errors, "meV/Å")
        svg = as_svg(figure)
    return Figure(
        svg,
        f"Parity plot of {errors.size} force components by element. {_errors_in_words(errors, 'meV/Å')}.",
        "Cartesian components of the forces.",
    )


def force_errors(forces: Float[ndarray, "atoms 3 2"], numbers: Int[ndarray, " atoms"]) -> Figure:
    """Distribution of the errors of force components, by element."""
    known = np.isfinite(forces).all((1, 2))
    errors = 1e3 * (forces[known, :, 1] - forces[known, :, 0])
    limit = float(np.quantile(np.abs(errors), 0.995)) or 1.0
    bins = np.linspace(-limit, limit, 61).tolist()
    with canvas(SQUARE) as (figure, axes):
        for colour, number in zip(PALETTE, _by_abundance(numbers[known]), strict=False):
            values = errors[numbers[known] == number].ravel()
            axes.hist(
                values, bins, density=True, histtype="step", color=colour, linewidth=1.5, label=chemical_symbols[number]
            )
        axes.set_xlim(-limit, limit)
        axes.set_yticks([])
        axes.set_xlabel("error of a force component (meV/Å)")
        axes.set_ylabel("density")
        axes.legend()
        svg = as_svg(figure)
    return Figure(
        svg,
        f"Histograms of force errors by element; 99.5 % lie within ±{limit:.0f} meV/Å.",
        f"Errors of the forces by element; 99.5 % lie within ±{limit:.0f} meV/Å.",
    )


def relaxation(steps: ndarray, values: ndarray, label: str, goal: float | None = None) -> Figure:
    """A quantity over the steps of a relaxation, on a logarithmic scale; zeros are open circles at its lower end."""
    from matplotlib.ticker import MaxNLocator

    positive = values > 0
    lowest = values[positive].min() if positive.any() else 1.0
    with canvas() as (figure, axes):
        axes.semilogy(steps, np.where(positive, values, 0.5 * lowest), "-", color=BLUE)
        axes.semilogy(steps[positive], values[positive], ".", color=BLUE, markersize=5)
        if not positive.all():
            zeros = np.full((~positive).sum(), 0.5 * lowest)
            axes.semilogy(steps[~positive], zeros, "o", color=BLUE, markersize=4, fillstyle="none", label="0")
            axes.legend()
        if goal is not None:
            axes.axhline(goal, color=VERMILLION, linestyle="--", linewidth=1.1, label=f"goal {goal:g}")
            axes.legend()
        _plain_ticks(axes)
        axes.set_xlabel("step")
        axes.set_ylabel(label)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        svg = as_svg(figure)
    return Figure(svg, f"Relaxation: {label} over {int(steps.max())} steps.")


def _by_abundance(numbers: Int[ndarray, " atoms"]) -> list[int]:
    """Elements with the most common first, so that rare ones are drawn on top."""
    elements, counts = np.unique(numbers, return_counts=True)
    return [int(elements[index]) for index in np.argsort(-counts, kind="stable")]


def _plain_ticks(axes: Axes) -> None:
    """Numbers such as 0.1 and 20 on a logarithmic axis; between powers of ten only where few decades are shown."""
    from matplotlib.ticker import LogLocator

    low, high = axes.get_ylim()
    decades = np.log10(high / low)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    between = (1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0) if decades < 0.7 else (2.0, 5.0)
    shown = decades < 2.5
    axes.yaxis.set_minor_locator(LogLocator(subs=between))
    axes.yaxis.set_minor_formatter((lambda value, _: f"{value:g}") if shown else (lambda value, _: ""))
    axes.tick_params(axis="y", which="minor", labelsize=7.5)


def _diagonal(axes: Axes, values: Float[ndarray, "points 2"]) -> None:
    low, high = float(values.min()), float(values.max())
    margin = 0.05 * (high - low) or 1.0
    limits = (low - margin, high + margin)
    axes.plot(limits, limits, color=GREY, linewidth=0.9, zorder=1)
    axes.set_xlim(limits)
    axes.set_ylim(limits)
    axes.set_aspect("equal")


def _errors_in_words(errors: ndarray, unit: str) -> str:
    mae, rmse = np.abs(errors).mean(), np.sqrt(np.square(errors).mean())
    return f"MAE {digits(float(mae))} {unit}, RMSE {digits(float(rmse))} {unit}"


def _note_errors(axes: Axes, errors: ndarray, unit: str) -> None:
    axes.text(
        0.04, 0.96, _errors_in_words(errors, unit).replace(", ", "\n"), transform=axes.transAxes, va="top",
        fontsize=8.5, bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 2},
    )  # fmt: skip
