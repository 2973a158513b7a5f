"""Crystals whose properties are computed: built or read, and relaxed with a model."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.formula import Formula

from simkit.analysis.minimum import minima
from simkit.errors import InvalidSystemError
from simkit.files import atomic_path
from simkit.potential import IgnoredConditions, Potential
from simkit.progress import Progress
from simkit.relaxation.cell import CellFilter
from simkit.relaxation.fire import Fire
from simkit.system import System
from simkit.tasks.frames import naming, read_frame, write_frames
from simkit.tasks.models import open_model, require_usable
from simkit.tasks.settings import PRECISION

Structure = Atoms | str | os.PathLike[str]
"""A crystal, or a file with one."""


@dataclass(frozen=True)
class Opening:
    """How a crystal and a model are opened.

    Attributes:
        frame: of a structure file; the last by default.
        relax: relax cell and atoms before anything is computed.
        fmax: largest force at the end of every relaxation, in eV/Å.
        max_steps: of every relaxation.
        device: torch device.
        dtype: ``float64`` or ``float32``; None for the model's own.
        head: level of theory, for models trained on several.
    """

    frame: int = -1
    relax: bool = True
    fmax: float = 1e-4
    max_steps: int = 1000
    device: str = "cpu"
    dtype: str | None = PRECISION
    head: str | None = None


DEFAULT = Opening()


def build_crystal(
    name: str,
    structure: str | None = None,
    *,
    a: float | None = None,
    b: float | None = None,
    c: float | None = None,
    u: float | None = None,
    cubic: bool = False,
    repeat: Sequence[int] = (1, 1, 1),
) -> Atoms:
    """A crystal as :func:`ase.build.bulk` makes it.

    Args:
        name: chemical symbol, or formula of a compound such as NaCl.
        structure: sc, fcc, bcc, hcp, diamond, zincblende, rocksalt, cesiumchloride, fluorite, wurtzite ...; None for
            the element's own.
        a, b, c: lengths of the lattice vectors in Å; None for the element's own.
        u: internal coordinate of wurtzite.
        cubic: the cubic cell instead of the primitive one.
        repeat: number of cells along each lattice vector.

    Raises:
        InvalidSystemError: an unknown element, or ASE does not know how to make the crystal.
    """
    _require_formula(name)
    try:
        atoms = bulk(name, structure, a=a, b=b, c=c, u=u, cubic=cubic)
    except (ValueError, KeyError, RuntimeError, NotImplementedError, AssertionError) as error:
        remedy = "" if structure and a else "; give structure and a, as in {name: NaCl, structure: rocksalt, a: 5.64}"
        raise InvalidSystemError(f"ASE cannot build this crystal of {name}: {error}{remedy}") from error
    return atoms.repeat(tuple(repeat))


def _require_formula(name: str) -> None:
    try:
        symbols = set(Formula(name, strict=True).count())
    except ValueError:
        symbols = set()
    if not symbols or "X" in symbols:
        raise InvalidSystemError(
            f"expected a chemical symbol or formula as the name of a crystal, such as Cu or NaCl; found {name!r}"
        )


def open_crystal(
    model: str | os.PathLike[str], structure: Structure, opening: Opening, folder: Path, progress: Progress
) -> tuple[Potential, System, Atoms]:
    """Load a model and a crystal, relax it, and write it as ``crystal.xyz``; warn of what the model ignores.

    Returns:
        The potential, the crystal, and the same crystal for ASE.

    Raises:
        InvalidSystemError: a structure that is not periodic along all axes.
        SimkitError: the relaxation did not converge.
    """
    atoms = structure.copy() if isinstance(structure, Atoms) else read_frame(structure, opening.frame)
    atoms = Atoms(numbers=atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=atoms.pbc, info=_state(atoms))
    formula = atoms.get_chemical_formula()
    name = formula if isinstance(structure, Atoms) else f"{Path(structure).name} ({formula})"
    potential = open_model(model, device=opening.device, dtype=opening.dtype, head=opening.head)
    require_usable(potential, atoms, name, IgnoredConditions(potential, progress))
    if not atoms.pbc.all():
        raise InvalidSystemError(f"{name}: expected a crystal that is periodic along all three axes, found {atoms.pbc}")
    with naming(name):
        system = System.from_ase(atoms, potential.dtype, potential.device)
    if opening.relax:
        # beyond the spinodal, as a first guess may be, quasi-Newton steps lead away from the minimum
        (system,) = minima(
            potential,
            [system],
            fmax=opening.fmax,
            max_steps=opening.max_steps,
            cell=CellFilter(),
            optimiser=Fire(),
        )
    (relaxed,) = system.to_ase()
    with atomic_path(folder / "crystal.xyz") as temporary:
        write_frames(temporary, [relaxed])
    return potential, system, relaxed


def _state(atoms: Atoms) -> dict[str, float]:
    return {key: atoms.info[key] for key in ("charge", "spin") if key in atoms.info}


def facts(atoms: Atoms, potential: Potential, opening: Opening) -> dict[str, object]:
    """What every summary says about the crystal and the model."""
    lengths = [float(value) for value in atoms.cell.lengths()]
    return {
        "formula": atoms.get_chemical_formula(),
        "atoms": len(atoms),
        "relaxed_before": opening.relax,
        "cell_lengths_ang": lengths,
        "cell_angles_deg": [float(value) for value in np.round(atoms.cell.angles(), 9)],
        "volume_ang3_per_atom": float(atoms.get_volume() / len(atoms)),
        "dtype": str(potential.dtype).removeprefix("torch."),
        "citations": list(potential.capabilities.citations),
    }
