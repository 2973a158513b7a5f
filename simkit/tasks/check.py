"""Compare a trajectory with a reference method along the way."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from simkit.continuation import require_same_run
from simkit.csv_tables import csv_row, read_table
from simkit.errors import DataError
from simkit.files import file_hash, write_json
from simkit.growing import GrowingFile
from simkit.progress import Progress, Silent
from simkit.tasks.frames import frame_name, read_frames
from simkit.tasks.labellers import label_frame, make_labeller
from simkit.tasks.settings import LABELLER

COLUMNS = (
    "time_fs", "model_energy_ev", "reference_energy_ev", "energy_error_mev_per_atom",
    "forces_mae_mev_per_ang", "forces_rmse_mev_per_ang",
)  # fmt: skip


def check_file(
    trajectory: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    labeller: str = LABELLER,
    every: int = 1,
    device: str = "cpu",
    dtype: str | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Label frames of a trajectory and compare with the energies and forces that it holds.

    Writes a CSV file with one row for each compared frame and a summary in the ``.json`` file beside it; continues
    after an interruption.

    Args:
        trajectory: file with energies and forces of a model, as :func:`simkit.tasks.dynamics.run_md` writes it.
        target: CSV file to write.
        labeller: see :func:`simkit.tasks.labellers.make_labeller`.
        every: compare each ``every``-th frame.
        device: torch device of a model that labels.
        dtype: floating-point type of a model that labels.
        progress: where progress is shown.

    Returns:
        Mean absolute and root-mean-square errors along the trajectory.

    Raises:
        DataError: a frame has no forces, or the method failed on it.
    """
    method = make_labeller(labeller, device=device, dtype=dtype)
    calculator = method.make_calculator()
    path = Path(target)
    identity = {"trajectory": file_hash(trajectory), "method": method.provenance, "every": every}
    frames = [(i, atoms) for i, atoms in enumerate(read_frames(trajectory)) if i % every == 0]
    done, length = _continued(path, identity)
    title = f"check with {method.method}"
    with GrowingFile(path, length) as table, (progress or Silent()).task(title, len(frames), done) as task:
        if length == 0:
            table.write(",".join(COLUMNS) + "\n")
        for index, atoms in frames[done:]:
            name = frame_name(trajectory, index, atoms)
            if atoms.calc is None or not {"energy", "forces"} <= atoms.calc.results.keys():
                raise DataError(f"{name}: expected energy and forces of a model in the trajectory, found none")
            reference = label_frame(atoms, calculator, method, name)
            energy, label = atoms.get_potential_energy(), reference.get_potential_energy()
            error = 1e3 * (atoms.get_forces(apply_constraint=False) - reference.get_forces(apply_constraint=False))
            mae, rmse = np.abs(error).mean(), np.sqrt(np.square(error).mean())
            row = (atoms.info.get("time_fs", index), energy, label, 1e3 * (energy - label) / len(atoms), mae, rmse)
            table.write(csv_row([float(value) for value in row]))
            task.advance(1, f"forces off by {mae:.1f} meV/Å")
        table.sync()
    summary = _summary(path, method.method, method.program) | {"citations": list(method.citations)}
    write_json(path.with_suffix(".json"), summary)
    return summary


def _continued(path: Path, identity: dict[str, Any]) -> tuple[int, int]:
    """Rows that are there already and their length in bytes; a last line that is not whole does not count."""
    marker = path.with_name(f".{path.name}.identity.json")
    if marker.exists() and path.exists():
        require_same_run(path.parent, json.loads(marker.read_text(encoding="utf-8")), identity)
        content = path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        return max(whole.count(b"\n") - 1, 0), len(whole)
    write_json(marker, identity)
    return 0, 0


def _summary(path: Path, method: str, program: str) -> dict[str, Any]:
    table = read_table(path)
    energy = table["energy_error_mev_per_atom"]
    return {
        "method": method,
        "program": program,
        "frames": len(energy),
        "energy_mae_mev_per_atom": float(np.abs(energy).mean()),
        "energy_rmse_mev_per_atom": float(np.sqrt(np.square(energy).mean())),
        "forces_mae_mev_per_ang": float(table["forces_mae_mev_per_ang"].mean()),
        "forces_rmse_mev_per_ang": float(np.sqrt(np.square(table["forces_rmse_mev_per_ang"]).mean())),
    }
