"""Frames sampled by molecular dynamics with a reference method."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from ase import Atoms
from ase.build import molecule as build_molecule
from ase.optimize import BFGS

from simkit.dynamics import CalculatorForces
from simkit.errors import DataError, SimkitError
from simkit.files import atomic_path, file_hash
from simkit.progress import Progress
from simkit.tasks.frames import attach, read_frame, read_frames, write_frames
from simkit.tasks.labellers import Labeller, label_frame
from simkit.tasks.propagation import propagate
from simkit.tasks.settings import Dynamics, Sampling


def relaxed_start(
    path: Path,
    molecule: str | None,
    structure: str | os.PathLike[str] | None,
    method: Labeller,
    progress: Progress,
) -> Atoms:
    """The structure relaxed with the method, from its file if that is there.

    Raises:
        SimkitError: not exactly one of molecule and structure.
        DataError: an unknown molecule.
    """
    if (molecule is None) == (structure is None):
        raise SimkitError("expected either the name of a molecule or a structure file; give exactly one of the two")
    if path.exists():
        return read_frame(path)
    if molecule is not None:
        try:
            atoms = build_molecule(molecule)
        except (KeyError, NotImplementedError) as error:
            raise DataError(
                f"ase.build.molecule does not know {molecule!r}: give one of its names, such as CH3CH2OH, or a file"
            ) from error
    else:
        assert structure is not None
        atoms = read_frame(structure)
    atoms.calc = method.make_calculator()
    progress.say(f"Relax {atoms.get_chemical_formula()} with {method.method}")
    BFGS(atoms, logfile=None).run(fmax=0.01, steps=300)
    relaxed = label_frame(atoms, method.make_calculator(), method, str(path.name))
    with atomic_path(path) as temporary:
        write_frames(temporary, [relaxed])
    return read_frame(path)


@dataclass(frozen=True)
class Trajectory:
    """Sampling at one temperature for one purpose; ``place`` counts several of them from 1."""

    folder: Path
    start: Atoms
    method: Labeller
    sampling: Sampling
    temperature: float
    purpose: str
    place: int = 0

    def frames(self, number: int, seed: int, progress: Progress) -> list[Atoms]:
        """Run dynamics, or what is left of it, and return its frames."""
        sampling = self.sampling
        name = f"{self.temperature:g}K-{self.purpose}{self.place or ''}"
        settings = Dynamics(
            ensemble="langevin",
            timestep=sampling.timestep,
            steps=sampling.equilibration + number * sampling.spacing,
            temperature=self.temperature,
            friction=sampling.friction,
            seed=seed,
            save_every=sampling.spacing,
            log_every=sampling.spacing,
            checkpoint_every=max(1, 200 // sampling.spacing) * sampling.spacing,
            precision="float64",
        )
        calculator = self.method.make_calculator()
        stressed = self.start.pbc.all() and "stress" in calculator.implemented_properties
        forces = CalculatorForces(calculator, [self.start], virial=bool(stressed))
        identity = {"method": self.method.provenance, "start": file_hash(self.folder / "start.xyz")}
        title = f"{self.method.method} {self.temperature:g} K, {self.purpose} {self.place or ''}".rstrip()
        path = self.folder / "sampling" / name
        summary = propagate([self.start], forces, path, settings, identity=identity, progress=progress, title=title)
        if summary["status"] != "finished":
            raise SimkitError(f"sampling at {self.temperature:g} K stopped. {summary['remedy']}")
        return [self._cleaned(frame, name) for frame in list(read_frames(path / "trajectory.h5"))[-number:]]

    def _cleaned(self, frame: Atoms, name: str) -> Atoms:
        """A frame without velocities, with its origin."""
        results = frame.calc.results
        atoms = frame.copy()
        del atoms.arrays["momenta"]
        atoms.info = {"group": name, "time_fs": frame.info["time_fs"], "temperature_k": self.temperature}
        atoms.info["labeller"] = self.method.provenance
        return attach(atoms, **{key: results.get(key) for key in ("energy", "forces", "stress")})
