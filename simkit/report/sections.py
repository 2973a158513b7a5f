"""Parts of a report, one for each kind of step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from simkit.csv_tables import read_table
from simkit.report import page, plots
from simkit.report.figures import Figure
from simkit.report.molecule import LARGEST, draw_atoms
from simkit.report.results import Result
from simkit.report.uncertainty_section import calibration_headline
from simkit.tasks.frames import read_frame, read_frames
from simkit.tasks.parity import read_parity
from simkit.units import ERROR_UNITS

CURVES = (
    ("loss", "loss"),
    ("forces_mae_mev_per_ang", "MAE of the forces (meV/Å)"),
    ("energy_mae_mev_per_atom", "MAE of the energy (meV/atom)"),
    ("stress_mae_mev_per_ang3", "MAE of the stress (meV/Å³)"),
)


def label_section(result: Result) -> str:
    """Where the reference data come from."""
    summary = result.summary
    sampled = summary.get("temperatures_k")
    how = ""
    if sampled:
        degrees = " and ".join(f"{value:g} K" for value in sampled)
        apart = "test and calibration" if summary.get("calibration_frames") else "test"
        how = (
            f" The frames were sampled by Langevin dynamics with the same method at {degrees}, one frame every "
            f"{summary['spacing_fs']:g} fs; the {apart} frames come from separate trajectories."
        )
    text = f"Energies and forces of {summary['formula']} from {summary['method']} ({summary['program']}).{how}"
    rows = [[name, summary[f"{key}_frames"]] for name, key in _parts() if summary.get(f"{key}_frames")]
    atoms = [[symbol, float(energy)] for symbol, energy in summary["isolated_atom_energies_ev"].items()]
    return page.section(
        f"Reference data: {result.name}",
        page.paragraph(text),
        page.table(("Frames for", "Number"), rows),
        page.heading("Isolated atoms, the zero of the learned energies"),
        page.table(
            ("Element", "Energy (eV)"), [[symbol, f"{energy:.4f}".replace("-", "−")] for symbol, energy in atoms]
        ),
    )


def _parts() -> tuple[tuple[str, str], ...]:
    return (("training", "train"), ("validation", "valid"), ("test", "test"), ("calibration", "calibration"))


def train_section(result: Result) -> str:
    """Learning curves."""
    summary, table = result.summary, read_table(result.folder / "log.csv")
    later = table["epoch"][table["stage"] == 2] if "stage" in table else np.zeros(0)
    stage_two = int(later[0]) if len(later) else None
    pictures = [
        plots.learning_curve(table, name, label, stage_two, int(summary["best_epoch"]))
        for name, label in CURVES
        if f"validation_{name}" in table and np.isfinite(table[f"validation_{name}"]).any()
    ]
    settings = result.record["settings"]["architecture"]
    architecture = settings.get("potential", settings["kind"])
    text = (
        f"A {architecture.upper() if len(architecture) <= 4 else architecture} potential with {summary['parameters']} "
        f"parameters for {summary['elements']}, trained on {summary['training_frames']} frames for {summary['epochs']} "
        f"epochs; epoch {summary['best_epoch']} was best on {summary['validation_frames']} validation frames."
    )
    return page.section(f"Training: {result.name}", page.paragraph(text), page.figures(pictures))


def evaluate_section(result: Result, method: str) -> str:
    """Errors and parity plots."""
    summary, parity = result.summary, read_parity(result.folder / "errors.npz")
    rows = [
        [key.capitalize(), unit, summary[f"{key}_mae_{suffix}"], summary[f"{key}_rmse_{suffix}"]]
        for key, (suffix, unit) in ERROR_UNITS.items()
        if f"{key}_mae_{suffix}" in summary
    ]
    pictures = []
    if np.isfinite(parity.energy).all(1).sum() > 1:
        pictures.append(plots.energy_parity(parity.energy, parity.counts, method))
    if np.isfinite(parity.forces).all((1, 2)).any():
        pictures.append(plots.forces_parity(parity.forces, parity.numbers, method))
        pictures.append(plots.force_errors(parity.forces, parity.numbers))
    deviations = (
        f" This model tells its uncertainty ({summary['uncertainty']}): errors of forces are "
        f"{page.digits(summary['forces_z_rms'])} times as large as predicted."
        if "forces_z_rms" in summary
        else ""
    )
    elements = [
        [symbol, errors["mae_mev_per_ang"], errors["rmse_mev_per_ang"]]
        for symbol, errors in summary["forces_by_element"].items()
    ]
    worst = [
        [row["frame"], row.get("energy_error_mev_per_atom"), row.get("forces_rmse_mev_per_ang")]
        for row in summary["worst_frames"]
    ]
    return page.section(
        f"Errors on held-out frames: {result.name}",
        page.paragraph(
            f"{summary['frames']} frames with {summary['atoms']} atoms, compared with {method}.{deviations}"
        ),
        page.table(("Quantity", "Unit", "MAE", "RMSE"), rows),
        page.figures(pictures),
        page.heading("Forces by element"),
        page.table(("Element", "MAE (meV/Å)", "RMSE (meV/Å)"), elements),
        page.heading("Worst frames"),
        page.table(("Frame", "Energy error (meV/atom)", "Force RMSE (meV/Å)"), worst),
    )


def relax_section(result: Result) -> str:
    """Relaxation curves of the first structure that was not refused, and the outcome of all."""
    summary = result.summary
    shown = _first_relaxed(result)
    pictures = _relaxation_curves(result.folder / "relaxed-path.xyz", summary["fmax_ev_per_ang"])
    relaxed = read_frame(result.folder / "relaxed.xyz", shown)
    if len(relaxed) <= LARGEST:
        pictures.append(draw_atoms(relaxed, "The relaxed structure."))
    several = f" The figures show {summary['results'][shown]['frame']}." if summary["frames"] > 1 else ""
    rows = [
        [
            one["frame"],
            one["status"],
            one["steps"],
            one["fmax_ev_per_ang"],
            None if one["energy_ev"] is None else 1e3 * (one["energy_ev"] - one["energy_before_ev"]),
        ]
        for one in summary["results"][:20]
    ]
    remedies = {one["remedy"] for one in summary["results"] if "remedy" in one}
    return page.section(
        f"Relaxation: {result.name}",
        page.paragraph(
            f"{summary['converged']} of {summary['frames']} structures converged with {summary['optimiser']}." + several
        ),
        *(page.paragraph(f"Not converged: {remedy}.", "warning") for remedy in sorted(remedies)),
        page.figures(pictures),
        page.table(("Structure", "Status", "Steps", "Largest force (eV/Å)", "Energy change (meV)"), rows),
    )


def _first_relaxed(result: Result) -> int:
    """Index of the first structure that was not refused."""
    return next(index for index, one in enumerate(result.summary["results"]) if one["status"] != "refused")


def _relaxation_curves(path: Path, goal: float) -> list[Figure]:
    """Forces and energies of the first structure that moved along its path, if one was kept."""
    if not path.is_file():
        return []
    first = min((atoms.info["frame"] for atoms in read_frames(path)), default=0)
    frames = [atoms for atoms in read_frames(path) if atoms.info["frame"] == first]
    steps = np.array([atoms.info["step"] for atoms in frames])
    energies = np.array([atoms.get_potential_energy() for atoms in frames])
    above = 1e3 * (energies - energies.min()) / len(frames[0])
    largest = np.array([atoms.info["fmax"] for atoms in frames])
    curves = [plots.relaxation(steps, largest, "largest force (eV/Å)", goal)]
    if (above > 0).any():
        curves.append(plots.relaxation(steps, above, "energy above lowest (meV/atom)"))
    return curves


def predict_section(result: Result) -> str:
    """What was predicted."""
    summary = result.summary
    text = f"Energies and forces of {summary['frames']} structures with {summary['atoms']} atoms, in predicted.xyz."
    return page.section(f"Predictions: {result.name}", page.paragraph(text))


def picture_of(result: Result) -> Atoms | None:
    """The structure that a step is about, if it is small enough to be drawn."""
    names = {"label": "start.xyz", "relax": "relaxed.xyz", "md": "final.xyz"}
    if result.kind not in names:
        return None
    index = _first_relaxed(result) if result.kind == "relax" else 0
    atoms = read_frame(result.folder / names[result.kind], index)
    return atoms if len(atoms) <= LARGEST else None


def headline(results: list[Result]) -> list[page.Number]:
    """The numbers that people look for first."""
    found: list[page.Number] = []
    for result in results:
        values: dict[str, Any] = result.summary
        if result.kind == "evaluate":
            found.append(
                page.Number(values.get("energy_mae_mev_per_atom"), "meV/atom", "energy error (MAE), held-out frames")
            )
            found.append(
                page.Number(values.get("forces_mae_mev_per_ang"), "meV/Å", "force error (MAE), held-out frames")
            )
        elif result.kind == "calibrate":
            found += calibration_headline(result)
        elif result.kind == "md":
            drift = values.get("energy_drift_mev_per_atom_per_ps")
            found.append(page.Number(drift, "meV/atom/ps", f"energy drift, {result.name}"))
            found.append(page.Number(values.get("ns_per_day"), "ns/day", f"speed of {result.name}"))
            check = values.get("check") or {}
            label = f"force error (MAE) along {result.name}"
            found.append(page.Number(check.get("forces_mae_mev_per_ang"), "meV/Å", label))
    seconds = sum(result.record["timings"]["seconds"] for result in results)
    found.append(page.Number(seconds / 60, "min", "time of all steps"))
    return found
