"""Arrays of one molecule or box in NumPy files: MD17 and revised MD17 (npz), DeePMD-kit (folders of npy)."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from ase.data import atomic_numbers

from simkit.datasets.base import Dataset, Frame, Labels
from simkit.datasets.unit_names import energy_factor, force_factor
from simkit.errors import DataError
from simkit.system import System

NAMES = {
    "numbers": ("nuclear_charges", "z"),
    "positions": ("coords", "R"),
    "energy": ("energies", "E"),
    "forces": ("forces", "F"),
}
"""Names of the arrays in revised MD17 and in MD17 files."""


class ArrayDataset(Dataset):
    """Frames of the same atoms as arrays in memory, already in eV and Å.

    Attributes:
        name: prefix of the frames' names.
        numbers: atomic numbers, one for each atom.
        positions: in Å, shape (frames, atoms, 3).
        cell: lattice vectors as rows in Å, shape (frames, 3, 3), or None for molecules.
        energy, forces, virial: labels in eV and eV/Å; the virial is -∂E/∂ε in eV.
    """

    def __init__(
        self,
        files: tuple[Path, ...],
        numbers: np.ndarray,
        positions: np.ndarray,
        *,
        cell: np.ndarray | None = None,
        energy: np.ndarray | None = None,
        forces: np.ndarray | None = None,
        virial: np.ndarray | None = None,
        head: int | None = None,
        group: str = "",
        name: str | None = None,
    ) -> None:
        self._files = files
        self.name = files[0].name if name is None else name
        self.numbers = torch.as_tensor(numbers, dtype=torch.int64)
        self.positions = torch.as_tensor(positions, dtype=torch.float64)
        self.cell, self.energy, self.forces, self.virial = (
            None if values is None else torch.as_tensor(values, dtype=torch.float64)
            for values in (cell, energy, forces, virial)
        )
        self.head = head
        self.group = group
        self._check()

    def _check(self) -> None:
        frames, atoms = len(self.positions), len(self.numbers)
        expected = {
            "positions": (self.positions, (frames, atoms, 3)),
            "cell": (self.cell, (frames, 3, 3)),
            "energies": (self.energy, (frames,)),
            "forces": (self.forces, (frames, atoms, 3)),
            "virials": (self.virial, (frames, 3, 3)),
        }
        for name, (values, shape) in expected.items():
            if values is not None and tuple(values.shape) != shape:
                raise DataError(
                    f"{self._files[0]}: expected {name} of shape {shape} for {frames} frames of {atoms} atoms, "
                    f"found {tuple(values.shape)}"
                )
        if not frames:
            raise DataError(f"{self._files[0]} is empty: expected at least one frame")

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, index: int) -> Frame:
        if not 0 <= index < len(self):
            raise IndexError(index)
        name = f"{self.name}:{index}"
        if not bool(torch.isfinite(self.positions[index]).all()):
            raise DataError(f"{name}: expected finite positions, found NaN or infinity; remove the frame")
        periodic = self.cell is not None
        cell = self.cell[index : index + 1] if self.cell is not None else torch.zeros(1, 3, 3, dtype=torch.float64)
        system = System(
            positions=self.positions[index],
            numbers=self.numbers,
            cell=cell,
            pbc=torch.full((1, 3), periodic),
            batch=torch.zeros(len(self.numbers), dtype=torch.int64),
            head=None if self.head is None else torch.tensor([self.head]),
        )
        stress = None
        if self.virial is not None and periodic:
            stress = -self.virial[index : index + 1] / system.volume()[:, None, None]
        labels = Labels(
            energy=None if self.energy is None else self.energy[index : index + 1],
            forces=None if self.forces is None else self.forces[index],
            stress=stress,
        )
        return Frame(system, labels, name=name, group=self.group)

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that the arrays come from."""
        return self._files

    def atom_counts(self) -> np.ndarray:
        """Number of atoms of each frame."""
        return np.full(len(self), len(self.numbers))


def read_npz(
    path: str | os.PathLike[str],
    *,
    energy_unit: str = "kcal/mol",
    forces_unit: str | None = None,
    head: int | None = None,
) -> ArrayDataset:
    """Frames of a molecule as in revised MD17 (``nuclear_charges, coords, energies, forces``) or MD17 (``z, R, E, F``).

    Args:
        path: the npz file; coordinates in Å.
        energy_unit: both datasets are published in kcal/mol.
        forces_unit: None for ``energy_unit``/Å.
        head: index of the level of theory given to every frame.

    Raises:
        DataError: a damaged file, arrays missing or of wrong shape.
    """
    path = Path(path)
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zipfile.LargeZipFile) as error:
        raise DataError(f"{path}: damaged, truncated or unsafe npz file ({error}); copy it again") from error
    energy, forces = _pick(arrays, NAMES["energy"]), _pick(arrays, NAMES["forces"])
    return ArrayDataset(
        (path,),
        _require(arrays, NAMES["numbers"], path),
        _require(arrays, NAMES["positions"], path),
        energy=None if energy is None else energy.reshape(-1) * energy_factor(energy_unit),
        forces=None if forces is None else forces * force_factor(forces_unit or f"{energy_unit}/A"),
        head=head,
        group=path.stem,
    )


def _pick(arrays: Mapping[str, np.ndarray], names: tuple[str, ...]) -> np.ndarray | None:
    return next((arrays[name] for name in names if name in arrays), None)


def _require(arrays: Mapping[str, np.ndarray], names: tuple[str, ...], path: Path) -> np.ndarray:
    array = _pick(arrays, names)
    if array is None:
        raise DataError(f"{path}: expected an array named {' or '.join(names)}, found {', '.join(arrays)}")
    return array


def read_deepmd(folder: str | os.PathLike[str], *, head: int | None = None) -> list[ArrayDataset]:
    """One dataset for each ``set.*`` folder of a DeePMD-kit system (``type.raw``, ``coord.npy``, ``box.npy``, ...).

    Units are DeePMD-kit's: Å, eV, eV/Å; a file ``nopbc`` marks molecules.

    Raises:
        DataError: files missing, damaged or of wrong shape.
    """
    folder = Path(folder)
    types = _types(folder)
    parts = []
    for part in sorted(folder.glob("set.*")):
        positions = _load(part / "coord.npy")
        frames = len(positions)
        optional = {name: _load(part / f"{name}.npy") if (part / f"{name}.npy").exists() else None for name in LABELS}
        box = None if (folder / "nopbc").exists() else _load(part / "box.npy").reshape(frames, 3, 3)
        shaped = {LABELS[name]: None if values is None else values for name, values in optional.items()}
        energy, forces, virial = shaped["energy"], shaped["forces"], shaped["virial"]
        parts.append(
            ArrayDataset(
                (part / "coord.npy",),
                types,
                positions.reshape(frames, -1, 3),
                cell=box,
                energy=None if energy is None else energy.reshape(-1),
                forces=None if forces is None else forces.reshape(len(forces), -1, 3),
                virial=None if virial is None else virial.reshape(-1, 3, 3),
                head=head,
                group=folder.name,
                name=f"{folder.name}/{part.name}",
            )
        )
    if not parts:
        raise DataError(f"{folder}: expected folders set.000, set.001, ... beside type.raw, found none")
    return parts


LABELS = {"energy": "energy", "force": "forces", "virial": "virial"}
"""DeePMD-kit's names of labels."""


def _load(path: Path) -> np.ndarray:
    try:
        return np.asarray(np.load(path, allow_pickle=False), dtype=np.float64)
    except (ValueError, OSError, EOFError) as error:
        raise DataError(f"{path}: missing, damaged or truncated ({error})") from error


def _types(folder: Path) -> np.ndarray:
    try:
        symbols = (folder / "type_map.raw").read_text().split()
        types = np.loadtxt(folder / "type.raw", dtype=int, ndmin=1)
        return np.array([atomic_numbers[symbol] for symbol in symbols])[types]
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise DataError(f"{folder}: expected type_map.raw (symbols) and type.raw (indices): {error!r}") from error
