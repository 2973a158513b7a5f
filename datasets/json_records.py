"""JSON lists of records with pymatgen structures (mlearn), or with JARVIS atoms (ALIGNN's ``id_prop.json``)."""

from __future__ import annotations

import gzip
import json
import logging
import os
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.data import atomic_numbers

from simkit.datasets.ase_frames import LabelKeys, frame_from_atoms
from simkit.datasets.base import Frame
from simkit.datasets.combine import MemoryDataset
from simkit.errors import DataError
from simkit.units import KBAR

log = logging.getLogger("simkit.datasets")

ORDERS = ("xy yz zx", "xy zx yz")
"""Orders of the last three stress components that such files use: VASP's OUTCAR, and the upper triangle by columns."""

READY = LabelKeys(energy="energy", forces="forces", stress="")
"""Keys of the atoms built here; the stress is attached apart, for its order and sign are VASP's."""


class JsonRecords(MemoryDataset):
    """Frames of a JSON file, held in memory."""

    def __init__(self, path: Path, frames: list[Frame]) -> None:
        super().__init__(frames)
        self.path = path

    @property
    def files(self) -> tuple[Path, ...]:
        """The file."""
        return (self.path,)


def read_json(path: str | os.PathLike[str], *, head: int | None = None, stress_order: str | None = None) -> JsonRecords:
    """Frames of a JSON (or JSON.gz) list of records in one of two forms.

    - mlearn: ``structure`` (pymatgen), ``outputs.energy`` (eV), ``outputs.forces`` (eV/Å), ``outputs.virial_stress``,
      ``group``. Reference: Zuo et al., J. Phys. Chem. A 124, 731 (2020).
    - ALIGNN: ``atoms`` (JARVIS), ``total_energy`` (eV *per atom*), ``forces``, ``stresses``.

    Stresses are in kbar, compression positive: xx yy zz, then three shears in an order that differs between the
    elements of mlearn (``xy yz zx`` for Si and Li, ``xy zx yz`` for Cu and Mo).

    Args:
        path: the file.
        head: index of the level of theory given to every frame.
        stress_order: one of :data:`ORDERS`; None to tell it from sheared cubic cells in the file. If there are none,
            the stresses are left out, and the log says so.

    Raises:
        DataError: damaged JSON, or a record without what is expected: naming the record.
    """
    path = Path(path)
    records = load_json(path)
    if not isinstance(records, list) or not records:
        raise DataError(f"{path}: expected a JSON list of records, found {type(records).__name__}")
    if stress_order is not None and stress_order not in ORDERS:
        raise DataError(f"expected stress_order to be one of {', '.join(map(repr, ORDERS))}, found {stress_order!r}")
    frames = []
    for index, record in enumerate(records):
        name = f"{path.name}:{index}"
        try:
            if index == 0:
                stress_order = stress_order or _tell_order(records, path)
            frames.append(_frame(record, name, head, stress_order))
        except (KeyError, TypeError, AttributeError) as error:
            raise DataError(
                f"{path}: record {index}: expected structure and outputs (mlearn) or atoms, total_energy and forces "
                f"(ALIGNN), failed on {error!r}"
            ) from error
    return JsonRecords(path, frames)


def load_json(path: Path) -> Any:
    """The content of a JSON file, gzipped or not.

    Raises:
        DataError: it is damaged.
    """
    try:
        raw = path.read_bytes()
        return json.loads(gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw)
    except (ValueError, EOFError, OSError) as error:
        raise DataError(f"{path}: not JSON, damaged or truncated ({error})") from error


def _tell_order(records: list[dict[str, Any]], path: Path) -> str | None:
    """The order of shears, from frames where one shear strain of a cubic cell outweighs the others."""
    votes: Counter[str] = Counter()
    with_stress = 0
    for record in records:
        atoms, stress = _atoms(record), _stress_values(record)
        if stress is None or len(stress) != 6:
            continue
        with_stress += 1
        cell = atoms.cell.array
        strain = cell / np.cbrt(abs(np.linalg.det(cell))) - np.eye(3)
        shears = {"xy": abs(strain[0, 1] + strain[1, 0]), "yz": abs(strain[1, 2] + strain[2, 1])}
        shears["zx"] = abs(strain[0, 2] + strain[2, 0])
        names = sorted(shears, key=lambda name: shears[name])
        values = np.sort(np.abs(stress[3:]))
        clear = 6e-3 < shears[names[2]] > 5 * shears[names[1]] and values[2] > 5 * values[1]
        if clear and np.abs(strain).max() < 0.3 and names[2] != "xy":
            place = int(np.argmax(np.abs(stress[3:])))
            votes.update(order for order in ORDERS if order.split()[place] == names[2])
    if len(votes) == 1:
        (order,) = votes
        log.info("%s: order of shear stresses is %s, from %d sheared cells", path, order, votes[order])
        return order
    if with_stress:
        log.warning("%s: the order of shear stresses is unclear, they are left out; give stress_order=", path)
    return None


def _stress_values(record: dict[str, Any]) -> list[float] | None:
    return record["outputs"].get("virial_stress") if "structure" in record else record.get("stresses")


def _atoms(record: dict[str, Any]) -> Atoms:
    return _pymatgen_atoms(record["structure"]) if "structure" in record else _jarvis_atoms(record["atoms"])


def _frame(record: dict[str, Any], name: str, head: int | None, order: str | None) -> Frame:
    atoms, stress = _atoms(record), _stress_values(record)
    if "structure" in record:
        energy, forces = record["outputs"]["energy"], record["outputs"]["forces"]
        info: dict[str, Any] = {key: record[key] for key in ("group", "tag", "description") if key in record}
    else:
        energy, forces = record["total_energy"] * len(atoms), record["forces"]
        info = {"jid": record["jid"]} if "jid" in record else {}
    atoms.info.update(info, energy=energy)
    atoms.info["forces"] = forces
    frame = frame_from_atoms(atoms, replace(READY, head=head), name)
    if stress is None or order is None:
        return frame
    return replace(frame, labels=replace(frame.labels, stress=stress_from_kbar(stress, order, name)))


def stress_from_kbar(values: list[float], order: str, name: str) -> torch.Tensor:
    """Stress in eV/Å³, tension positive, from xx yy zz and shears in ``order``, in kbar, compression positive."""
    if np.shape(values) != (6,):
        raise DataError(f"{name}: expected 6 stress components, found shape {np.shape(values)}")
    found = dict(zip(["xx", "yy", "zz", *order.split()], (-KBAR * float(value) for value in values), strict=True))
    rows = [["xx", "xy", "zx"], ["xy", "yy", "yz"], ["zx", "yz", "zz"]]
    return torch.tensor([[[found[name] for name in row] for row in rows]], dtype=torch.float64)


def _pymatgen_atoms(structure: dict[str, Any]) -> Atoms:
    numbers = [atomic_numbers[site["species"][0]["element"]] for site in structure["sites"]]
    cell = structure["lattice"]["matrix"] if "lattice" in structure else None
    positions = [site["xyz"] for site in structure["sites"]]
    return Atoms(numbers=numbers, positions=positions, cell=cell, pbc=cell is not None)


def _jarvis_atoms(atoms: dict[str, Any]) -> Atoms:
    cell = np.array(atoms["lattice_mat"], dtype=float)
    coordinates = np.array(atoms["coords"], dtype=float)
    positions = coordinates if atoms.get("cartesian") else coordinates @ cell
    symbols = [symbol.strip() for symbol in atoms["elements"]]
    return Atoms(numbers=[atomic_numbers[symbol] for symbol in symbols], positions=positions, cell=cell, pbc=True)
