"""The loop of molecular dynamics: integrator, trajectory, log and checkpoint."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.md.bussi import Bussi
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import Stationary, ZeroRotation
from ase.md.verlet import VelocityVerlet

from simkit.csv_tables import csv_row
from simkit.errors import SimkitError
from simkit.files import atomic_path, write_json
from simkit.growing import GrowingFile
from simkit.progress import Progress, Task
from simkit.tasks.checkpoint import Checkpoint
from simkit.tasks.frames import attach, extxyz_text, write_frames
from simkit.tasks.md_log import summarise_log
from simkit.tasks.settings import Dynamics, Ensemble

COLUMNS = ("step", "time_fs", "potential_ev", "kinetic_ev", "total_ev", "temperature_k")


def propagate(
    atoms: Atoms, folder: Path, settings: Dynamics, *, identity: dict[str, Any], progress: Progress, title: str = ""
) -> dict[str, Any]:
    """Run dynamics of atoms that have a calculator; files and summary as in :func:`run_md`.

    Args:
        atoms: changed by the run.
        folder: where results go.
        settings: of the dynamics.
        identity: JSON-compatible facts that must be the same for a run to be continued.
        progress: where progress is shown.
        title: of the progress bar.

    Returns:
        What ``md.json`` holds. A run that had to stop has the status ``exploded`` and a ``remedy``; its files end with
        the last good frame.

    Raises:
        SimkitError: settings that make no sense, a folder that holds a run with other settings, or a start whose
            energy, forces or temperature are out of bounds.
    """
    settings.require_sense()
    identity = identity | {name: value for name, value in asdict(settings).items() if name != "steps"}
    rng = np.random.default_rng(settings.seed)
    checkpoint = Checkpoint(folder / "checkpoint.npz", identity)
    fresh = not checkpoint.path.exists()
    if fresh:
        draw_velocities(atoms, settings.temperature, rng)
    first, lengths = (0, (0, 0)) if fresh else checkpoint.restore(atoms, rng)
    title = title or f"MD {settings.ensemble} {settings.temperature:g} K"
    with (
        GrowingFile(folder / "trajectory.xyz", lengths[0]) as trajectory,
        GrowingFile(folder / "log.csv", lengths[1]) as log,
        progress.task(title, settings.steps, first) as task,
    ):
        run = _Run(atoms, settings, rng, trajectory, log, checkpoint, task)
        problem = run.advance(first, fresh)
    with atomic_path(folder / "final.xyz") as temporary:
        write_frames(temporary, [run.last_good()])
    summary = summarise_log(folder / "log.csv", len(atoms), settings) | {
        "status": "exploded" if problem else "finished",
        "ns_per_day": run.speed,
    }
    if problem:
        summary["remedy"] = problem
    write_json(folder / "md.json", summary)
    return summary


def draw_velocities(atoms: Atoms, temperature: float, rng: np.random.Generator) -> None:
    """Give free atoms momenta of a temperature (K), without drift and, outside periodic cells, without rotation."""
    widths = np.sqrt(atoms.get_masses() * units.kB * temperature)
    atoms.set_momenta(widths[:, None] * rng.standard_normal((len(atoms), 3)))
    remove_drift(atoms)


def remove_drift(atoms: Atoms) -> None:
    """Take out the momenta that do not count (:func:`degrees_of_freedom`): translation and, of molecules, rotation.

    Rescaling of velocities needs it at every step. What rounding leaves of these momenta is rescaled too, but nothing
    takes it back: it grows exponentially until all kinetic energy is in them (S. C. Harvey, R. K.-Z. Tan, T. E.
    Cheatham, J. Comput. Chem. 19, 726 (1998), the flying ice cube).
    """
    if atoms.constraints or len(atoms) == 1:
        return
    Stationary(atoms, preserve_temperature=False)
    if not atoms.pbc.any() and len(atoms) > 2:
        ZeroRotation(atoms, preserve_temperature=False)


class _Run:
    """The loop over steps and what is written on the way."""

    def __init__(
        self,
        atoms: Atoms,
        settings: Dynamics,
        rng: np.random.Generator,
        trajectory: GrowingFile,
        log: GrowingFile,
        checkpoint: Checkpoint,
        task: Task,
    ) -> None:
        self.atoms, self.settings, self.rng = atoms, settings, rng
        self.trajectory, self.log, self.checkpoint, self.task = trajectory, log, checkpoint, task
        self._good: tuple[np.ndarray, ...] = ()
        self._results: dict[str, Any] = {}
        self.speed: float | None = None

    def advance(self, first: int, fresh: bool) -> str | None:
        """Run from step ``first`` to the end; the reason if it had to stop."""
        if fresh:
            self._require_good_start()
            self.log.write(",".join(COLUMNS) + "\n")
            self._write(0)
        self._remember()
        dynamics = make_integrator(self.atoms, self.settings, self.rng)
        start = time.perf_counter()
        for step in range(first + 1, self.settings.steps + 1):
            try:
                dynamics.step()
                if self.settings.ensemble == "bussi":
                    remove_drift(self.atoms)
            except SimkitError as error:
                return f"At step {step}: {error}. {REMEDY}"
            if problem := self._problem(step):
                return problem
            self._remember()
            self._write(step)
            elapsed = (time.perf_counter() - start) / 86400
            self.speed = (step - first) * self.settings.timestep * 1e-6 / elapsed
            self.task.advance(1, self._note())
        return None

    def last_good(self) -> Atoms:
        """The last state with finite energy and forces, or the start if there was none."""
        atoms = self.atoms.copy()
        if self._good:
            atoms.positions[:] = self._good[0]
            atoms.set_momenta(self._good[1], apply_constraint=False)
        return attach(atoms, **{name: self._results.get(name) for name in ("energy", "forces", "stress")})

    def _remember(self) -> None:
        self._good = (self.atoms.get_positions(), self.atoms.get_momenta())
        self._results = dict(self.atoms.calc.results)

    def _snapshot(self) -> Atoms:
        atoms = self.atoms
        stressed = atoms.pbc.all() and "stress" in atoms.calc.implemented_properties
        stress = atoms.get_stress(apply_constraint=False) if stressed else None
        energy, forces = atoms.get_potential_energy(), atoms.get_forces(apply_constraint=False)
        return attach(atoms.copy(), energy=energy, forces=forces, stress=stress)

    def _write(self, step: int) -> None:
        settings, atoms = self.settings, self.atoms
        if step % settings.log_every == 0:
            potential, kinetic = float(atoms.get_potential_energy()), float(atoms.get_kinetic_energy())
            row = (
                step,
                step * settings.timestep,
                potential,
                kinetic,
                potential + kinetic,
                temperature(atoms, settings.ensemble),
            )
            self.log.write(csv_row(row))
        if step % settings.save_every == 0:
            frame = self._snapshot()
            frame.info |= {"step": step, "time_fs": step * settings.timestep}
            self.trajectory.write(extxyz_text(frame))
        if step % settings.checkpoint_every == 0 or step == settings.steps:
            self.checkpoint.save(atoms, self.rng, step, (self.trajectory.sync(), self.log.sync()))

    def _require_good_start(self) -> None:
        if not self._finite():
            raise SimkitError(
                "the energy or a force of the first frame is not a finite number: check its distances and cell, and "
                "whether the model was made for such structures"
            )
        now, limit = temperature(self.atoms, self.settings.ensemble), self.settings.max_temperature
        if now > limit:
            raise SimkitError(
                f"the first frame has a temperature of {now:.0f} K, expected at most max_temperature, {limit:g} K: "
                "lower the temperature or raise max_temperature"
            )

    def _problem(self, step: int) -> str | None:
        if not self._finite():
            return f"At step {step} the energy or a force is not a finite number. {REMEDY}"
        now, limit = temperature(self.atoms, self.settings.ensemble), self.settings.max_temperature
        if now > limit:
            return f"At step {step} the temperature reached {now:.0f} K, max_temperature is {limit:g} K. {REMEDY}"
        return None

    def _finite(self) -> bool:
        return bool(np.isfinite(self.atoms.get_potential_energy()) and np.isfinite(self.atoms.get_forces()).all())

    def _note(self) -> str:
        now = temperature(self.atoms, self.settings.ensemble)
        return f"T={now:.0f} K  E={self.atoms.get_potential_energy():.4f} eV  {self.speed:.2f} ns/day"


REMEDY = (
    "final.xyz holds the last good frame. Use a shorter time step, relax the structure first, or train the model on "
    "frames like that one"
)


def make_integrator(atoms: Atoms, settings: Dynamics, rng: np.random.Generator) -> VelocityVerlet | Langevin:
    """ASE's integrator of an ensemble; units are converted here and nowhere else."""
    timestep = settings.timestep * units.fs
    if settings.ensemble == "nve":
        return VelocityVerlet(atoms, timestep)
    if settings.ensemble == "bussi":
        constant = settings.time_constant * units.fs
        bussi = Bussi(atoms, timestep, temperature_K=settings.temperature, taut=constant, rng=rng)
        bussi.ndof = degrees_of_freedom(atoms, "bussi")
        bussi.target_kinetic_energy = 0.5 * bussi.temp * bussi.ndof
        return bussi
    friction = settings.friction / units.fs
    return Langevin(atoms, timestep, temperature_K=settings.temperature, friction=friction, rng=rng, fixcm=False)


def degrees_of_freedom(atoms: Atoms, ensemble: Ensemble) -> int:
    """Number of free components of the momenta: 3N less the constrained ones.

    Without Langevin's noise, the total momentum and (of molecules) the angular momentum do not count either: they are
    conserved, and zero from the start.
    """
    free = int(atoms.get_number_of_degrees_of_freedom())
    if ensemble == "langevin" or atoms.constraints or len(atoms) == 1:
        return free
    return free - 3 if atoms.pbc.any() or len(atoms) == 2 else free - 6


def temperature(atoms: Atoms, ensemble: Ensemble) -> float:
    """Kinetic temperature ``2 K / (f k_B)`` in K, with the f of :func:`degrees_of_freedom`."""
    return float(2 * atoms.get_kinetic_energy() / (degrees_of_freedom(atoms, ensemble) * units.kB))
