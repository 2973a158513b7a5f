"""Relax the structures of a file to the nearest minimum of a model's energy."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS, FIRE, LBFGS
from ase.optimize.optimize import Optimizer

from simkit.errors import SimkitError
from simkit.files import atomic_path, file_hash, write_json
from simkit.growing import GrowingFile
from simkit.progress import Progress, Silent, Task
from simkit.tasks.frames import (
    attach,
    extxyz_text,
    frame_name,
    keep_references,
    naming,
    read_frame,
    read_frames,
    require_extxyz,
    write_frames,
)
from simkit.tasks.models import model_calculator, require_usable
from simkit.tasks.settings import PRECISION, OptimiserName, Relaxation

OPTIMISERS: dict[str, Callable[..., Optimizer]] = {"BFGS": BFGS, "LBFGS": LBFGS, "FIRE": FIRE}
REMEDY = "raise max_steps, or try FIRE, which is the safest far from a minimum; the results hold the last geometry"


def relax_file(
    model: str | os.PathLike[str],
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    fmax: float = Relaxation.fmax,
    max_steps: int = Relaxation.max_steps,
    optimiser: OptimiserName = Relaxation.optimiser,
    relax_cell: bool = Relaxation.relax_cell,
    frame: int | None = None,
    device: str = "cpu",
    dtype: str | None = PRECISION,
    head: str | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Relax every structure of a file with a model, and write the results with energies, forces and stress.

    Beside the target go ``<name>-path.xyz`` with the geometry of every step and ``<name>.json`` with the summary.
    Called again after an interruption with the same settings, it continues from the last geometry.

    Args:
        model: own model file or one of mace-torch.
        source: structures in any format that ASE reads; constraints are respected.
        target: file to write, ``.xyz`` or ``.extxyz``; it appears when all frames are done.
        fmax: largest force on any atom of a relaxed structure, in eV/Å.
        max_steps: of each structure.
        optimiser: BFGS, LBFGS or FIRE.
        relax_cell: also relax the cell, to zero stress; for periodic structures.
        frame: relax only this one; all by default.
        device: torch device.
        dtype: ``float64`` or ``float32``; None for the model's own.
        head: level of theory, for models trained on several.
        progress: where progress is shown.

    Returns:
        For each frame: status (``converged`` or ``not converged`` with a remedy), steps, largest force, energies in eV.

    Raises:
        DataError: the source cannot be read, or the target does not end in .xyz.
        SimkitError: ``relax_cell`` for a structure that is not periodic.
    """
    if optimiser not in OPTIMISERS:
        raise SimkitError(f"expected an optimiser among {', '.join(OPTIMISERS)}, found {optimiser}")
    if not fmax > 0:
        raise SimkitError(f"expected a positive fmax in eV/Å, found {fmax}")
    path = require_extxyz(target)
    identity = {
        "model": file_hash(model), "source": file_hash(source), "fmax": fmax, "max_steps": max_steps,
        "optimiser": optimiser, "relax_cell": relax_cell, "frame": frame, "dtype": dtype, "head": head,
    }  # fmt: skip
    calculator = model_calculator(model, device=device, dtype=dtype, head=head)
    structures = list(_chosen(source, frame))
    for name, atoms in structures:
        require_usable(calculator.potential, atoms, name)
        if relax_cell and not atoms.pbc.all():
            raise SimkitError(f"{name} is not periodic along all axes: leave out relax_cell, or set its pbc and cell")
    journal = _Journal(path, identity)
    done: list[Atoms] = []
    with (
        (progress or Silent()).task("relax", len(structures), len(journal.finished)) as task,
        journal.open() as steps_file,
    ):
        for index, (name, atoms) in enumerate(structures):
            keep_references(atoms)
            atoms.calc = calculator
            if index < len(journal.finished):
                journal.restore(atoms, journal.finished[index]["state"])
            else:
                relaxation = _Relaxation(atoms, name, journal, steps_file, task)
                with naming(name):
                    relaxation.run(OPTIMISERS[optimiser], fmax, max_steps, relax_cell)
            done.append(_result(atoms))
    with atomic_path(path) as temporary:
        write_frames(temporary, done)
    summary = _summary(journal.finished, identity)
    write_json(path.with_suffix(".json"), summary)
    journal.path.unlink()
    return summary


def _chosen(source: str | os.PathLike[str], frame: int | None) -> Iterator[tuple[str, Atoms]]:
    """Names and structures to relax."""
    frames = read_frames(source) if frame is None else [read_frame(source, frame)]
    for index, atoms in enumerate(frames):
        yield frame_name(source, index if frame is None else frame, atoms), atoms


def _result(atoms: Atoms) -> Atoms:
    copy = atoms.copy()
    stress = atoms.get_stress(apply_constraint=False) if atoms.pbc.all() else None
    energy, forces = atoms.get_potential_energy(), atoms.get_forces(apply_constraint=False)
    return attach(copy, energy=energy, forces=forces, stress=stress)


class _Journal:
    """What has been done, on disk: finished frames, and the present geometry of the one in work."""

    def __init__(self, target: Path, identity: dict[str, Any]) -> None:
        self.path = target.with_name(f".{target.stem}-unfinished.json")
        self.steps_path = target.with_name(f"{target.stem}-path.xyz")
        self.identity = identity
        self.finished: list[dict[str, Any]] = []
        self.current: dict[str, Any] | None = None
        self.length = 0
        if self.path.exists():
            content = json.loads(self.path.read_text(encoding="utf-8"))
            if content["identity"] == identity:
                self.finished, self.current = content["finished"], content["current"]
                self.length = content["length"]

    def open(self) -> GrowingFile:
        return GrowingFile(self.steps_path, self.length)

    def save(self, length: int) -> None:
        self.length = length
        content = {
            "identity": self.identity, "finished": self.finished, "current": self.current, "length": length
        }  # fmt: skip
        write_json(self.path, content)

    @staticmethod
    def restore(atoms: Atoms, state: dict[str, Any]) -> None:
        atoms.set_cell(state["cell"])
        atoms.positions[:] = state["positions"]

    @staticmethod
    def state(atoms: Atoms) -> dict[str, Any]:
        return {"positions": atoms.positions.tolist(), "cell": atoms.cell.array.tolist()}


class _Relaxation:
    """One structure on its way down."""

    def __init__(self, atoms: Atoms, name: str, journal: _Journal, steps_file: GrowingFile, task: Task) -> None:
        self.atoms, self.name, self.journal, self.file, self.task = atoms, name, journal, steps_file, task
        self.first = 0
        self.energy_before = 0.0
        self.target: Atoms | FrechetCellFilter = atoms

    def run(self, make: Callable[..., Optimizer], fmax: float, max_steps: int, relax_cell: bool) -> None:
        """Relax, leaving the last geometry in the atoms and the outcome in the journal."""
        before = self.journal.current
        self.energy_before = self.atoms.get_potential_energy() if before is None else before["energy_before_ev"]
        if before is not None:
            self.journal.restore(self.atoms, before["state"])
            self.first = before["steps"]
        self.target = FrechetCellFilter(self.atoms) if relax_cell else self.atoms
        optimiser = make(self.target, logfile=None)
        optimiser.attach(self._record, 1, optimiser)
        converged = bool(optimiser.run(fmax=fmax, steps=max(max_steps - self.first, 0)))
        self._finish(converged, self.first + optimiser.nsteps)

    def _record(self, optimiser: Optimizer) -> None:
        step = self.first + optimiser.nsteps
        if step > self.first or self.journal.current is None:
            frame = _result(self.atoms)
            frame.info |= {"frame": len(self.journal.finished), "step": step, "fmax": self._largest()}
            self.file.write(extxyz_text(frame))
        self.journal.current = {
            "state": self.journal.state(self.atoms), "steps": step, "energy_before_ev": self.energy_before
        }  # fmt: skip
        self.journal.save(self.file.sync())
        self.task.advance(0, f"step {step}  fmax={self._largest():.3f} eV/Å")

    def _largest(self) -> float:
        """Largest force that the optimiser sees, in eV/Å; with a cell filter it includes the stress."""
        return float(np.linalg.norm(self.target.get_forces(), axis=1).max())

    def _finish(self, converged: bool, steps: int) -> None:
        outcome = {
            "frame": self.name,
            "status": "converged" if converged else "not converged",
            "steps": steps,
            "fmax_ev_per_ang": self._largest(),
            "energy_before_ev": float(self.energy_before),
            "energy_ev": float(self.atoms.get_potential_energy()),
            "state": self.journal.state(self.atoms),
        }
        if not converged:
            outcome["remedy"] = REMEDY
        self.journal.finished.append(outcome)
        self.journal.current = None
        self.journal.save(self.file.sync())
        self.task.advance(1)


def _summary(finished: list[dict[str, Any]], identity: dict[str, Any]) -> dict[str, Any]:
    frames = [{name: value for name, value in outcome.items() if name != "state"} for outcome in finished]
    return {
        "frames": len(frames),
        "converged": sum(frame["status"] == "converged" for frame in frames),
        "fmax_ev_per_ang": identity["fmax"],
        "optimiser": identity["optimiser"],
        "relax_cell": identity["relax_cell"],
        "model_sha256": identity["model"],
        "results": frames,
    }
