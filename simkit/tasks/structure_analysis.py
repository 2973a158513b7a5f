"""Structure and motion of the atoms of trajectories: radial distribution, diffusion, vibrational spectrum."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from ase.data import chemical_symbols

from simkit.analysis.diffusion import M2_PER_S, Diffusion, diffusion, finite_size_correction
from simkit.analysis.radial_distribution import radial_distribution
from simkit.analysis.spectrum import PER_CM, vibrational_spectrum
from simkit.analysis.trajectory import Trajectory
from simkit.csv_tables import write_table
from simkit.errors import DataError
from simkit.files import write_json
from simkit.tasks.trajectories import Sources, read_trajectories

DIFFUSIVE = 0.2
"""Largest distance of the exponent of the displacement in time from 1 at which a slope counts as diffusion."""


def rdf_files(
    sources: Sources,
    folder: str | os.PathLike[str],
    *,
    r_max: float | None = None,
    bins: int = 200,
    blocks: int = 5,
    system: int | None = None,
    skip: int = 0,
    every: int = 1,
) -> dict[str, Any]:
    """Radial distribution functions of trajectories; see :func:`simkit.analysis.radial_distribution`.

    Writes ``rdf.csv`` (distance in Å; g, its standard error and the running number of neighbours of each pair of
    elements) and ``rdf.json``.

    Returns:
        Number of frames and, for each pair, the position and height of the first peak.

    Raises:
        DataError: what the files or ``r_max`` do not allow.
    """
    # the order of frames does not matter to a distribution, so they need no times
    trajectories = read_trajectories(sources, system=system, skip=skip, every=every, spacing=1.0)
    found = radial_distribution(trajectories, r_max=r_max, bins=bins, blocks=blocks)
    columns = {"r_ang": found.r}
    pairs = {}
    for row, (a, b) in enumerate(found.pairs):
        name = f"{chemical_symbols[a]}-{chemical_symbols[b]}"
        columns |= {
            f"g_{name}": found.g[row],
            f"g_error_{name}": found.error[row],
            f"neighbours_{name}": found.coordination[row],
        }
        peak = int(found.g[row].argmax())
        pairs[name] = {"peak_ang": float(found.r[peak]), "peak_g": float(found.g[row, peak])}
    write_table(Path(folder) / "rdf.csv", columns)
    summary = _facts(trajectories) | {"r_max_ang": float(found.r[-1] + found.r[0]), "blocks": blocks, "pairs": pairs}
    write_json(Path(folder) / "rdf.json", summary)
    return summary


def diffusion_files(
    sources: Sources,
    folder: str | os.PathLike[str],
    *,
    blocks: int = 5,
    fit: tuple[float, float] = (0.1, 0.5),
    remove_drift: bool = True,
    viscosity: float | None = None,
    temperature: float | None = None,
    system: int | None = None,
    skip: int = 0,
    every: int = 1,
    spacing: float | None = None,
) -> dict[str, Any]:
    """Mean squared displacement and diffusion coefficient of each element; see :func:`simkit.analysis.diffusion`.

    Writes ``diffusion.csv`` (lag in fs; mean squared displacement of each element in Å² with its standard error) and
    ``diffusion.json``.

    Args:
        sources: trajectories of the same atoms.
        folder: where results go.
        blocks, fit, remove_drift: as for :func:`simkit.analysis.diffusion.diffusion`.
        viscosity: shear viscosity in mPa·s; with it and the temperature, the result for an infinite box is given too.
        temperature: in K, for that.
        system, skip, every, spacing: as for :func:`simkit.tasks.trajectories.read_trajectories`.

    Returns:
        For each element D and its error in m²/s, the exponent of the displacement in time and whether it is near enough
        to 1, and the window of the fit.

    Raises:
        DataError: what the files do not allow.
    """
    if (viscosity is None) != (temperature is None):
        raise DataError("the correction for the size of the box needs both the viscosity and the temperature")
    trajectories = read_trajectories(sources, system=system, skip=skip, every=every, spacing=spacing)
    length = None if viscosity is None else _cube(trajectories)
    columns: dict[str, np.ndarray] = {}
    elements: dict[str, Any] = {}
    numbers = trajectories[0].numbers
    for number in np.unique(numbers):
        found = diffusion(trajectories, numbers == number, blocks=blocks, fit=fit, remove_drift=remove_drift)
        symbol = chemical_symbols[number]
        columns |= {"time_fs": found.time, f"msd_ang2_{symbol}": found.msd, f"msd_error_ang2_{symbol}": found.msd_error}
        elements[symbol] = _coefficients(found)
        if viscosity is not None and temperature is not None and length is not None:
            correction = finite_size_correction(temperature, viscosity, length) * M2_PER_S
            elements[symbol]["d_infinite_m2_per_s"] = elements[symbol]["d_m2_per_s"] + correction
    write_table(Path(folder) / "diffusion.csv", columns)
    summary = _facts(trajectories) | {"blocks": blocks * len(trajectories), "elements": elements}
    write_json(Path(folder) / "diffusion.json", summary)
    return summary


def spectrum_files(
    sources: Sources,
    folder: str | os.PathLike[str],
    *,
    resolution: float = 0.5,
    blocks: int = 5,
    remove_drift: bool = True,
    system: int | None = None,
    skip: int = 0,
    every: int = 1,
    spacing: float | None = None,
) -> dict[str, Any]:
    """Velocity autocorrelation and vibrational spectrum; see :func:`simkit.analysis.spectrum`.

    Writes ``autocorrelation.csv`` (lag in fs), ``spectrum.csv`` (frequency in THz and 1/cm; density in 1/THz with its
    standard error, and the part of each element) and ``spectrum.json``.

    Returns:
        Resolution, highest frequency and the frequency of the highest peak.

    Raises:
        DataError: what the files do not allow.
    """
    trajectories = read_trajectories(sources, system=system, skip=skip, every=every, spacing=spacing)
    found = vibrational_spectrum(trajectories, resolution=resolution, blocks=blocks, remove_drift=remove_drift)
    write_table(
        Path(folder) / "autocorrelation.csv",
        {"time_fs": found.time, "correlation": found.correlation, "correlation_error": found.correlation_error},
    )
    parts = {f"density_{chemical_symbols[number]}_per_thz": part for number, part in found.partial.items()}
    columns = {
        "frequency_thz": found.frequency,
        "frequency_per_cm": found.frequency * PER_CM,
        "density_per_thz": found.density,
        "density_error_per_thz": found.density_error,
    }
    write_table(Path(folder) / "spectrum.csv", columns | parts)
    peak = float(found.frequency[found.density.argmax()])
    summary = _facts(trajectories) | {
        "resolution_thz": resolution,
        "highest_thz": float(found.frequency[-1]),
        "peak_thz": peak,
        "peak_per_cm": peak * PER_CM,
        "blocks": blocks * len(trajectories),
    }
    write_json(Path(folder) / "spectrum.json", summary)
    return summary


def _coefficients(found: Diffusion) -> dict[str, Any]:
    return {
        "d_m2_per_s": found.coefficient * M2_PER_S,
        "d_error_m2_per_s": None if np.isnan(found.error) else found.error * M2_PER_S,
        "diffusive": bool(abs(found.exponent - 1) < DIFFUSIVE),
        "exponent": None if np.isnan(found.exponent) else found.exponent,
        "fit_from_fs": found.window[0],
        "fit_to_fs": found.window[1],
    }


def _facts(trajectories: list[Trajectory]) -> dict[str, Any]:
    return {
        "trajectories": len(trajectories),
        "frames": sum(one.n_frames for one in trajectories),
        "atoms": len(trajectories[0].numbers),
    }


def _cube(trajectories: list[Trajectory]) -> float:
    """Edge of the cubic box of all trajectories, in Å."""
    cells = np.concatenate([one.cells for one in trajectories])
    edge = float(np.cbrt(np.abs(np.linalg.det(cells))).mean())
    gram = cells @ cells.swapaxes(1, 2)
    if edge == 0 or np.abs(gram - np.eye(3) * gram[:, :1, :1]).max() > 1e-3 * edge**2:
        raise DataError("the correction for the size of the box is that of a cubic box; leave out the viscosity")
    return edge
