"""ASE atoms to frames and back: which entries are labels, in which units, and what else is kept."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.stress import voigt_6_to_full_3x3_stress

from simkit.datasets.base import Frame, Labels
from simkit.datasets.unit_names import energy_factor, force_factor, normalised, stress_factor
from simkit.errors import DataError, InvalidSystemError
from simkit.system import System

log = logging.getLogger("simkit.datasets")

CANDIDATES = {
    "energy": ("REF_energy", "ref_energy", "dft_energy", "DFT_energy", "energy", "total_energy", "free_energy"),
    "forces": ("REF_forces", "ref_forces", "dft_forces", "DFT_forces", "dft_force", "forces", "force"),
    "stress": (
        *("REF_stress", "ref_stress", "dft_stress", "DFT_stress", "stress"),
        *("REF_virials", "REF_virial", "ref_virial", "dft_virial", "DFT_virial", "virials", "virial"),
    ),
}
"""Keys that are taken as labels, the first one present wins; those with ``virial`` hold -∂E/∂ε in eV."""

LABELS = ("energy", "forces", "stress")
SYSTEM_KEYS = ("charge", "spin")
OWN_ARRAYS = ("numbers", "positions", "tags")


@dataclass(frozen=True)
class LabelKeys:
    """Where the labels of ASE atoms are, and their units.

    Attributes:
        energy, forces, stress: key in the calculator's results, ``info`` or ``arrays``; None to take the first of
            :data:`CANDIDATES` that is present, an empty string to read none.
        group: key in ``info`` of the frame's group; None for ``group``, then ``config_type``.
        head: index of the level of theory that is given to every frame.
        energy_unit, forces_unit, stress_unit: of the file; None for what a frame declares in ``info['energy_unit']``
            and so on, else eV, eV/Å, eV/Å³.
    """

    energy: str | None = None
    forces: str | None = None
    stress: str | None = None
    group: str | None = None
    head: int | None = None
    energy_unit: str | None = None
    forces_unit: str | None = None
    stress_unit: str | None = None


def detect_keys(keys: LabelKeys, frames: Iterable[Atoms], source: str) -> LabelKeys:
    """Fill in the keys that are None from the first frames; what was picked is logged.

    Raises:
        DataError: a key was given that no frame has.
    """
    present: set[str] = set()
    for atoms in frames:
        present |= {*atoms.info, *atoms.arrays, *(atoms.calc.results if atoms.calc else ())}
    picked: dict[str, Any] = {}
    for label, candidates in CANDIDATES.items():
        asked = getattr(keys, label)
        found = [name for name in candidates if name in present]
        if asked and asked not in present:
            raise DataError(f"{source}: expected the key {asked!r} for the {label}, found only {_listed(present)}")
        if asked is None and len(set(found) - {"free_energy"}) > 1:
            log.warning("%s: %s read from %r; also present: %s", source, label, found[0], ", ".join(found[1:]))
        picked[label] = asked if asked is not None else (found[0] if found else "")
    log.info("%s: labels %s", source, picked)
    if not any(picked.values()) and any("energ" in name.lower() or "forc" in name.lower() for name in present):
        log.warning("%s: no label keys recognised among %s; give energy_key=, forces_key=", source, _listed(present))
    return replace(keys, **picked)


def frame_from_atoms(atoms: Atoms, keys: LabelKeys, name: str) -> Frame:
    """One frame; ``keys`` must come from :func:`detect_keys`.

    Raises:
        DataError: naming the frame, if a label has a wrong shape or unit, or the structure is invalid.
    """
    try:
        system = System.from_ase(atoms)
    except InvalidSystemError as error:
        raise DataError(f"{name}: {str(error).removeprefix('frame 0 ')}") from error
    if keys.head is not None:
        system = replace(system, head=torch.tensor([keys.head]))
    labels = Labels(
        energy=_energy(atoms, keys, name), forces=_forces(atoms, keys, name), stress=_stress(atoms, keys, name)
    )
    used = {keys.energy, keys.forces, keys.stress, *SYSTEM_KEYS, "energy_unit", "forces_unit", "stress_unit"}
    group = atoms.info.get(keys.group) if keys.group else atoms.info.get("group", atoms.info.get("config_type", ""))
    if group is None:
        raise DataError(f"{name}: expected info[{keys.group!r}] for the group, found only {_listed(atoms.info)}")
    info, arrays = _other_data(atoms, used)
    return Frame(
        system=system,
        labels=labels,
        name=name,
        group=str(group),
        weight=float(atoms.info.get("config_weight", 1.0)),
        info=info,
        arrays=arrays,
    )


def _other_data(atoms: Atoms, used: set[str | None]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What is not read as structure or label; other results of the calculator (magnetic moments) belong to it."""
    info = {key: value for key, value in atoms.info.items() if key not in used}
    arrays = {key: value for key, value in atoms.arrays.items() if key not in used and key not in OWN_ARRAYS}
    for key, value in (atoms.calc.results if atoms.calc else {}).items():
        if key in used or key in LABELS:
            continue
        if np.shape(value)[:1] == (len(atoms),):
            arrays.setdefault(key, np.asarray(value))
        else:
            info.setdefault(key, value)
    return info, arrays


def atoms_from_frame(frame: Frame) -> Atoms:
    """ASE atoms with the labels as a calculator's results (ASE's own keys) and the frame's other data."""
    (atoms,) = frame.system.to_ase()
    atoms.info.update(frame.info)
    if frame.system.head is not None:
        atoms.info["head"] = int(frame.system.head[0])
    if frame.group:
        atoms.info.setdefault("group", frame.group)
    for key, value in frame.arrays.items():
        atoms.set_array(key, np.asarray(value))
    results: dict[str, Any] = {}
    if frame.labels.energy is not None:
        results["energy"] = float(frame.labels.energy[0])
    if frame.labels.forces is not None:
        results["forces"] = frame.labels.forces.numpy()
    if frame.labels.stress is not None:
        matrix = frame.labels.stress[0].numpy()
        results["stress"] = matrix[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
    if results:
        atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


def _value(atoms: Atoms, key: str | None) -> Any:
    if not key:
        return None
    results = atoms.calc.results if atoms.calc else {}
    for place in (results, atoms.info, atoms.arrays):
        if place.get(key) is not None:
            return place[key]
    return None


def _number(value: Any, key: str | None, name: str) -> np.ndarray:
    try:
        return np.asarray(value, dtype=float)
    except (TypeError, ValueError) as error:
        raise DataError(f"{name}: expected numbers in {key!r}, found {str(value)[:60]!r}") from error


def _unit(atoms: Atoms, asked: str | None, label: str, default: str, name: str) -> str:
    declared = atoms.info.get(f"{label}_unit")
    if declared is None:
        return asked or default
    if asked is not None and normalised(asked) != normalised(str(declared)):
        raise DataError(f"{name}: the {label} is declared in {declared}, but {label}_unit={asked!r} was given")
    return str(declared)


def _energy(atoms: Atoms, keys: LabelKeys, name: str) -> torch.Tensor | None:
    value = _value(atoms, keys.energy)
    if value is None:
        return None
    number = _number(value, keys.energy, name)
    if number.size != 1:
        raise DataError(f"{name}: expected one energy in {keys.energy!r}, found an array of shape {number.shape}")
    factor = energy_factor(_unit(atoms, keys.energy_unit, "energy", "eV", name))
    return torch.tensor([float(number.reshape(())) * factor], dtype=torch.float64)


def _forces(atoms: Atoms, keys: LabelKeys, name: str) -> torch.Tensor | None:
    value = _value(atoms, keys.forces)
    if value is None:
        return None
    array = _number(value, keys.forces, name)
    if array.shape != (len(atoms), 3):
        raise DataError(f"{name}: expected forces of shape ({len(atoms)}, 3) in {keys.forces!r}, found {array.shape}")
    return torch.tensor(array * force_factor(_unit(atoms, keys.forces_unit, "forces", "eV/A", name)))


def _stress(atoms: Atoms, keys: LabelKeys, name: str) -> torch.Tensor | None:
    """In eV/Å³; None where the stress is not defined: systems that are not periodic along all three axes."""
    value = _value(atoms, keys.stress)
    if value is None or not atoms.pbc.all():
        return None
    array = _number(value, keys.stress, name)
    if array.size == 6:
        array = voigt_6_to_full_3x3_stress(array.reshape(6))
    if array.size != 9:
        raise DataError(f"{name}: expected 6 (Voigt) or 3x3 numbers in {keys.stress!r}, found shape {array.shape}")
    array = array.reshape(3, 3)
    if keys.stress and "virial" in keys.stress.lower():
        array = -array * energy_factor(_unit(atoms, keys.stress_unit, "virial", "eV", name)) / atoms.get_volume()
    else:
        array = array * stress_factor(_unit(atoms, keys.stress_unit, "stress", "eV/A^3", name))
    return torch.tensor(0.5 * (array + array.T)[None])


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(map(str, names))) or "nothing"
