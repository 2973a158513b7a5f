"""Atoms in space: the one description of a system that every part of simkit shares."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from ase import Atoms
from ase.constraints import FixAtoms
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from simkit.errors import InvalidSystemError

if TYPE_CHECKING:
    from pymatgen.core import Molecule, Structure

PER_ATOM = ("positions", "numbers", "batch", "tags", "fixed")


@dataclass(frozen=True)
class System:
    """One or many systems of atoms, always batched and flat.

    Attributes:
        positions: Cartesian coordinates in Å.
        numbers: atomic numbers.
        cell: lattice vectors as *rows*, in Å; rows of non-periodic axes have no effect on any result.
        pbc: which lattice vectors are periodic.
        batch: index of the system that each atom belongs to, non-decreasing.
        charge: total charge in e.
        spin: multiplicity 2S+1.
        head: index of the level of theory, for potentials that were trained on several.
        tags: ASE tags (OC20: 0 bulk, 1 surface, 2 adsorbate).
        fixed: atoms that integrators and optimisers must not move.
    """

    positions: Float[Tensor, "atoms 3"]
    numbers: Int[Tensor, " atoms"]
    cell: Float[Tensor, "systems 3 3"]
    pbc: Bool[Tensor, "systems 3"]
    batch: Int[Tensor, " atoms"]
    charge: Float[Tensor, " systems"] | None = None
    spin: Float[Tensor, " systems"] | None = None
    head: Int[Tensor, " systems"] | None = None
    tags: Int[Tensor, " atoms"] | None = None
    fixed: Bool[Tensor, " atoms"] | None = None

    @property
    def n_atoms(self) -> int:
        """Number of atoms of all systems together."""
        return self.positions.shape[0]

    @property
    def n_systems(self) -> int:
        """Number of systems."""
        return self.cell.shape[0]

    @property
    def counts(self) -> Int[Tensor, " systems"]:
        """Number of atoms of each system."""
        counts = torch.zeros(self.n_systems, dtype=torch.int64, device=self.batch.device)
        return counts.index_add(0, self.batch, torch.ones_like(self.batch))

    @property
    def dtype(self) -> torch.dtype:
        """Floating-point type of the coordinates."""
        return self.positions.dtype

    @property
    def device(self) -> torch.device:
        """Device that holds the tensors."""
        return self.positions.device

    @property
    def lattice(self) -> Float[Tensor, "systems 3 3"]:
        """The cell with the rows of non-periodic axes set to zero, in Å."""
        return torch.where(self.pbc[:, :, None], self.cell, 0)

    def volume(self) -> Float[Tensor, " systems"]:
        """Volume ``|det(cell)|`` in Å³ of systems that are periodic along all three axes, NaN for all others."""
        volume = torch.linalg.det(self.cell).abs()
        return torch.where(self.pbc.all(1), volume, torch.nan)

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> System:
        """The same systems on another device and/or with coordinates of another floating-point type."""

        def move(value: Tensor) -> Tensor:
            return value.to(device=device, dtype=dtype if value.is_floating_point() else None)

        return self._mapped(move)

    def _mapped(self, function: Callable[[Tensor], Tensor]) -> System:
        values: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        mapped = {name: None if value is None else function(value) for name, value in values.items()}
        return System(**mapped)  # type: ignore[arg-type]

    @classmethod
    def from_ase(
        cls,
        atoms: Atoms | Sequence[Atoms],
        dtype: torch.dtype = torch.float64,
        device: torch.device | str = "cpu",
    ) -> System:
        """Systems from ASE: ``info['charge']``, ``info['spin']``, tags and FixAtoms constraints are kept.

        Raises:
            InvalidSystemError: NaN or infinite coordinates, or a periodic axis without a lattice vector.
        """
        frames = [atoms] if isinstance(atoms, Atoms) else list(atoms)
        for index, frame in enumerate(frames):
            _check_frame(frame, index)
        lengths = [len(frame) for frame in frames]

        def joined(arrays: list[np.ndarray], kind: torch.dtype) -> Tensor:
            return torch.as_tensor(np.concatenate(arrays), dtype=kind, device=device)

        def per_system(key: str, default: float) -> Tensor | None:
            if not any(key in frame.info for frame in frames):
                return None
            values = [float(frame.info.get(key, default)) for frame in frames]
            return torch.tensor(values, dtype=dtype, device=device)

        fixed = [_fixed_mask(frame) for frame in frames]
        return cls(
            positions=joined([frame.positions for frame in frames] or [np.zeros((0, 3))], dtype),
            numbers=joined([frame.numbers for frame in frames] or [np.zeros(0)], torch.int64),
            cell=torch.as_tensor(
                np.array([f.cell.array for f in frames]).reshape(-1, 3, 3), dtype=dtype, device=device
            ),
            pbc=torch.as_tensor(np.array([f.pbc for f in frames]).reshape(-1, 3), dtype=torch.bool, device=device),
            batch=torch.as_tensor(np.repeat(np.arange(len(frames)), lengths), dtype=torch.int64, device=device),
            charge=per_system("charge", 0.0),
            spin=per_system("spin", 1.0),
            tags=joined([f.get_tags() for f in frames], torch.int64) if any(f.has("tags") for f in frames) else None,
            fixed=joined(fixed, torch.bool) if any(mask.any() for mask in fixed) else None,
        )

    def to_ase(self) -> list[Atoms]:
        """One ASE object for each system, with charge, spin, tags and fixed atoms."""
        frames = []
        for index, one in enumerate(self.split()):
            frame = Atoms(
                numbers=one.numbers.cpu().numpy(),
                positions=one.positions.detach().cpu().numpy().astype(float),
                cell=self.cell[index].detach().cpu().numpy().astype(float),
                pbc=self.pbc[index].cpu().numpy(),
            )
            if one.tags is not None:
                frame.set_tags(one.tags.cpu().numpy())
            if one.fixed is not None and bool(one.fixed.any()):
                frame.set_constraint(FixAtoms(mask=one.fixed.cpu().numpy()))
            if one.charge is not None:
                frame.info["charge"] = float(one.charge[0])
            if one.spin is not None:
                frame.info["spin"] = float(one.spin[0])
            frames.append(frame)
        return frames

    @classmethod
    def from_pymatgen(
        cls,
        structure: Structure | Molecule | Sequence[Structure | Molecule],
        dtype: torch.dtype = torch.float64,
        device: torch.device | str = "cpu",
    ) -> System:
        """Systems from pymatgen structures (periodic) and molecules; charge and spin multiplicity are kept.

        Raises:
            InvalidSystemError: a disordered structure, or what :meth:`from_ase` refuses.
        """
        from simkit.pymatgen_border import to_atoms

        return cls.from_ase(to_atoms(structure), dtype, device)

    def to_pymatgen(self) -> list[Structure | Molecule]:
        """One pymatgen Structure (any periodic axis) or Molecule (none) for each system, with its charge and spin."""
        from simkit.pymatgen_border import from_atoms

        return [from_atoms(frame) for frame in self.to_ase()]

    def select(self, kept: Int[Tensor, " kept"]) -> System:
        """The systems with the indices ``kept``, in that order."""
        counts = self.counts
        sizes = counts[kept]
        rows = concatenated_ranges((counts.cumsum(0) - counts)[kept], sizes)
        values: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            values[field.name] = None if value is None else value[rows if field.name in PER_ATOM else kept]
        values["batch"] = torch.repeat_interleave(torch.arange(len(kept), device=self.device), sizes)
        return System(**values)

    def split(self) -> list[System]:
        """The systems one by one."""
        counts = self.counts.tolist()
        systems, first = [], 0
        for index, count in enumerate(counts):
            values: dict[str, Any] = {}
            for field in fields(self):
                value = getattr(self, field.name)
                rows = slice(first, first + count) if field.name in PER_ATOM else slice(index, index + 1)
                values[field.name] = None if value is None else value[rows]
            values["batch"] = torch.zeros_like(self.batch[first : first + count])
            systems.append(System(**values))
            first += count
        return systems


def concatenated_ranges(first: Int[Tensor, " ranges"], counts: Int[Tensor, " ranges"]) -> Int[Tensor, " total"]:
    """``first[0], ..., first[0] + counts[0] - 1, first[1], ...``: rows of many systems in flat tensors."""
    ends = counts.cumsum(0)
    steps = torch.repeat_interleave(first - ends + counts, counts)
    return steps + torch.arange(steps.shape[0], device=steps.device)


def replaced_rows(
    mine: Shaped[Tensor, "rows ..."], theirs: Shaped[Tensor, "rows ..."], taken: Bool[Tensor, " rows"]
) -> Shaped[Tensor, "rows ..."]:
    """The rows of one tensor, with those that are ``taken`` from another."""
    return torch.where(taken.view(-1, *(1,) * (mine.dim() - 1)), theirs, mine)


def concatenate(systems: Sequence[System]) -> System:
    """One batch of many systems; an optional attribute that only some have is filled with its neutral value."""
    if not systems:
        raise InvalidSystemError("expected at least one system to concatenate, found none")
    neutral = {"charge": 0, "spin": 1, "head": 0, "tags": 0, "fixed": False}
    values: dict[str, Tensor | None] = {}
    for name in ("positions", "numbers", "cell", "pbc"):
        values[name] = torch.cat([getattr(system, name) for system in systems])
    for name, fill in neutral.items():
        present = [getattr(system, name) for system in systems]
        known = next((value for value in present if value is not None), None)
        if known is None:
            continue
        sizes = [system.n_atoms if name in PER_ATOM else system.n_systems for system in systems]
        filled = [known.new_full((n,), fill) if v is None else v for v, n in zip(present, sizes, strict=True)]
        values[name] = torch.cat(filled)
    offsets = np.cumsum([0] + [system.n_systems for system in systems[:-1]])
    batch = torch.cat([s.batch + int(offset) for s, offset in zip(systems, offsets, strict=True)])
    return System(batch=batch, **values)  # type: ignore[arg-type]


def _fixed_mask(frame: Atoms) -> np.ndarray:
    mask = np.zeros(len(frame), dtype=bool)
    for constraint in frame.constraints:
        if isinstance(constraint, FixAtoms):
            mask[constraint.index] = True
    return mask


def _name(frame: Atoms, index: int) -> str:
    return f"frame {index} ({frame.get_chemical_formula()})"


def _check_frame(frame: Atoms, index: int) -> None:
    for key in ("charge", "spin"):
        value = frame.info.get(key, 0)
        try:
            usable = np.isfinite(float(value))
        except (TypeError, ValueError):
            usable = False
        if not usable:
            raise InvalidSystemError(f"{_name(frame, index)}: expected a number as info['{key}'], found {value!s:.40}")
    if not np.isfinite(frame.positions).all():
        broken = np.flatnonzero(~np.isfinite(frame.positions).all(1))[:5].tolist()
        raise InvalidSystemError(
            f"{_name(frame, index)}: expected finite positions, found NaN or infinity at atoms {broken}"
        )
    if not np.isfinite(frame.cell.array).all():
        raise InvalidSystemError(f"{_name(frame, index)}: expected a finite cell, found {frame.cell.array}")
    missing = [axis for axis in range(3) if frame.pbc[axis] and not frame.cell.array[axis].any()]
    if missing:
        raise InvalidSystemError(
            f"{_name(frame, index)}: axes {missing} are periodic but have no lattice vector; "
            "set the cell, or pbc=False along them"
        )
    if np.linalg.matrix_rank(frame.cell.array[frame.pbc], tol=1e-8) < frame.pbc.sum():
        raise InvalidSystemError(
            f"{_name(frame, index)}: the lattice vectors of the periodic axes are linearly dependent; "
            f"set a cell that spans them, found {frame.cell.array.tolist()}"
        )


torch.utils._pytree.register_dataclass(System)
