"""The frames of a file that is relaxed, before, on the way and after."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from ase import Atoms
from ase.constraints import FixAtoms

from simkit.ase_border import ase_stress
from simkit.errors import InvalidSystemError
from simkit.potential import IgnoredConditions
from simkit.relaxation import Outcome, Round, Status
from simkit.relaxation.outcome import refused
from simkit.system import System
from simkit.tasks.frames import attach, extxyz_text, frame_name, keep_references, naming, read_frame, read_frames


class Structures:
    """The frames of a file, their names, and those that are systems; ``places`` has the frame of each system."""

    def __init__(self, source: str | os.PathLike[str], frame: int | None) -> None:
        self.frames = list(read_frames(source)) if frame is None else [read_frame(source, frame)]
        first = 0 if frame is None else frame
        self.names = [frame_name(source, first + k, atoms) for k, atoms in enumerate(self.frames)]
        self.systems: list[System] = []
        self.places: list[int] = []
        self.refused: list[Outcome] = []
        for place, atoms in enumerate(self.frames):
            keep_references(atoms)
            try:
                with naming(""):
                    system = _system(atoms)
            except InvalidSystemError as error:
                self.refused.append(refused(place, EMPTY, str(error).removeprefix(": ")))
                continue
            self.systems.append(system)
            self.places.append(place)

    def look_at(self, ignored: IgnoredConditions) -> None:
        """Warn of charges and spins that a potential ignores."""
        for place, system in zip(self.places, self.systems, strict=True):
            ignored.look_at(system, self.names[place])

    def result(self, place: int, facts: dict[str, Any]) -> Atoms:
        """The relaxed frame; one that was refused as it came."""
        atoms = self.frames[place].copy()
        atoms.info["relaxation"] = facts["status"]
        if "forces" in facts:
            virial = np.array(facts["virial"]) if "virial" in facts else None
            _place(atoms, np.array(facts["positions"]), np.array(facts["cell"]))
            _attach(atoms, facts["energy"], np.array(facts["forces"]), virial)
        return atoms

    def path_text(self, found: Round) -> str:
        """The geometries of a round as extended XYZ."""
        batch = found.batch
        if batch is None:
            return ""
        counts = batch.system.counts.tolist()
        record = batch.record
        positions, forces = (value.cpu().split(counts) for value in (record.positions, record.forces))
        cells, virials = record.cell.cpu().numpy(), record.virial.cpu().numpy()
        columns = (batch.index, batch.steps, record.energy, record.largest, found.status)
        texts = []
        for k, row in enumerate(zip(*(column.tolist() for column in columns), strict=True)):
            index, step, energy, largest, status = row
            if status in (Status.EXPLODED, Status.REFUSED):
                continue
            atoms = self.frames[self.places[index]].copy()
            _place(atoms, positions[k].numpy(), cells[k])
            _attach(atoms, energy, forces[k].numpy(), virials[k] if found.strained else None)
            atoms.info |= {"frame": self.places[index], "step": step, "fmax": largest}
            texts.append(extxyz_text(atoms))
        return "".join(texts)

    def none_usable(self, finished: dict[int, dict[str, Any]]) -> InvalidSystemError:
        """What to say if all were refused."""
        others = f"; none of the other {len(finished) - 1} can be relaxed either" if len(finished) > 1 else ""
        return InvalidSystemError(f"{self.names[0]}: {finished[0]['remedy']}{others}")


EMPTY = System.from_ase(Atoms())


def _system(atoms: Atoms) -> System:
    others = sorted({type(one).__name__ for one in atoms.constraints if not isinstance(one, FixAtoms)})
    if others:
        raise InvalidSystemError(
            f"expected no constraints but FixAtoms, found {', '.join(others)}: remove them, or relax it with ASE and "
            "simkit.Calculator"
        )
    return System.from_ase(atoms)


def _place(atoms: Atoms, positions: np.ndarray, cell: np.ndarray) -> None:
    atoms.set_cell(cell)
    atoms.positions[:] = positions


def _attach(atoms: Atoms, energy: float, forces: np.ndarray, virial: np.ndarray | None) -> None:
    stress = ase_stress(virial, atoms) if virial is not None and atoms.pbc.all() else None
    attach(atoms, energy=energy, forces=forces, stress=stress)
