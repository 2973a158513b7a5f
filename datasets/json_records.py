"""JSON lists of records with pymatgen structures (mlearn), or with JARVIS atoms (ALIGNN's ``id_prop.json``)."""

from __future__ import annotations

import gzip
import json
import os
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


def read_json(path: str | os.PathLike[str], *, head: int | None = None) -> JsonRecords:
    """Frames of a JSON (or JSON.gz) list of records in one of two forms.

    - mlearn: ``structure`` (pymatgen), ``outputs.energy`` (eV), ``outputs.forces`` (eV/Å), ``outputs.virial_stress``,
      ``group``. Reference: Zuo et al., J. Phys. Chem. A 124, 731 (2020).
    - ALIGNN: ``atoms`` (JARVIS), ``total_energy`` (eV *per atom*), ``forces``, ``stresses``.

    Stresses are VASP's: kbar, compression positive, in the order xx yy zz xy yz zx.

    Raises:
        DataError: damaged JSON, or a record without what is expected: naming the record.
    """
    path = Path(path)
    records = load_json(path)
    if not isinstance(records, list) or not records:
        raise DataError(f"{path}: expected a JSON list of records, found {type(records).__name__}")
    frames = []
    for index, record in enumerate(records):
        name = f"{path.name}:{index}"
        try:
            frames.append(_frame(record, name, head))
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


def _frame(record: dict[str, Any], name: str, head: int | None) -> Frame:
    if "structure" in record:
        atoms = _pymatgen_atoms(record["structure"])
        outputs = record["outputs"]
        energy, stress = outputs["energy"], outputs.get("virial_stress")
        forces = outputs["forces"]
        info: dict[str, Any] = {key: record[key] for key in ("group", "tag", "description") if key in record}
    else:
        atoms = _jarvis_atoms(record["atoms"])
        energy, stress = record["total_energy"] * len(atoms), record.get("stresses")
        forces = record["forces"]
        info = {"jid": record["jid"]} if "jid" in record else {}
    atoms.info.update(info, energy=energy)
    atoms.info["forces"] = forces
    frame = frame_from_atoms(atoms, replace(READY, head=head), name)
    if stress is None:
        return frame
    return replace(frame, labels=replace(frame.labels, stress=vasp_stress(stress, name)))


def vasp_stress(values: list[float], name: str) -> torch.Tensor:
    """Stress in eV/Å³, tension positive, from VASP's xx yy zz xy yz zx in kbar, compression positive."""
    if np.shape(values) != (6,):
        raise DataError(f"{name}: expected 6 stress components, found shape {np.shape(values)}")
    xx, yy, zz, xy, yz, zx = (-KBAR * float(value) for value in values)
    return torch.tensor([[[xx, xy, zx], [xy, yy, yz], [zx, yz, zz]]], dtype=torch.float64)


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
