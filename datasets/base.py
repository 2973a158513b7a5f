"""What every dataset yields, and how frames become a batch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from simkit.errors import DataError
from simkit.neighbours import Neighbours, build_neighbours, concatenate_neighbours
from simkit.system import System, concatenate


@dataclass(frozen=True)
class Labels:
    """Reference values of one frame or a batch; what is not known is None.

    Attributes:
        energy: total energy in eV, float64.
        forces: in eV/Å, in the type of the positions.
        stress: in eV/Å³, tension positive, in the type of the positions.
    """

    energy: Float[Tensor, " systems"] | None = None
    forces: Float[Tensor, "atoms 3"] | None = None
    stress: Float[Tensor, "systems 3 3"] | None = None


@dataclass(frozen=True)
class Frame:
    """One labelled structure.

    Attributes:
        system: a batch of exactly one system, on the CPU.
        labels: its reference values.
        name: where it comes from, e.g. ``train.xyz:12``, for messages and reports.
        group: frames of one group (a trajectory, a composition) stay together when a dataset is split by group.
        weight: factor on this frame's loss.
        neighbours: cached pairs, if the dataset stores them.
        info: the frame's other data, by name, as in ASE's ``atoms.info``.
        arrays: other data per atom, by name, as in ASE's ``atoms.arrays``.
    """

    system: System
    labels: Labels
    name: str = ""
    group: str = ""
    weight: float = 1.0
    neighbours: Neighbours | None = None
    info: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def is_isolated_atom(self) -> bool:
        """Whether this is one atom alone: marked ``config_type=IsolatedAtom``, or single and not periodic."""
        if self.system.n_atoms != 1:
            return False
        marked = str(self.info.get("config_type", "")).lower() == "isolatedatom"
        return marked or not bool(self.system.pbc.any())


class Dataset(torch.utils.data.Dataset[Frame], ABC):
    """A sequence of frames; reading one must not need the others in memory."""

    @abstractmethod
    def __len__(self) -> int:
        """Number of frames."""

    @abstractmethod
    def __getitem__(self, index: int) -> Frame:
        """Frame ``index``, from 0 to ``len - 1``."""

    def __iter__(self) -> Iterator[Frame]:
        """The frames one after the other."""
        return (self[index] for index in range(len(self)))

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that the frames come from."""
        return ()

    def atom_counts(self) -> np.ndarray:
        """Number of atoms of each frame; reads every frame unless the format knows better."""
        return np.array([frame.system.n_atoms for frame in self], dtype=np.int64)


@dataclass(frozen=True)
class Batch:
    """Frames joined for one evaluation.

    Labels that a frame lacks are NaN in ``labels``, and False in the masks; a label that no frame has is None.
    """

    system: System
    neighbours: Neighbours
    labels: Labels
    has_energy: Bool[Tensor, " systems"]
    has_forces: Bool[Tensor, " systems"]
    has_stress: Bool[Tensor, " systems"]
    weight: Float[Tensor, " systems"]

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on another device."""

        def move(value: Tensor | None) -> Tensor | None:
            return None if value is None else value.to(device, non_blocking=True)

        return Batch(
            system=self.system.to(device),
            neighbours=self.neighbours.to(device),
            labels=Labels(move(self.labels.energy), move(self.labels.forces), move(self.labels.stress)),
            has_energy=self.has_energy.to(device),
            has_forces=self.has_forces.to(device),
            has_stress=self.has_stress.to(device),
            weight=self.weight.to(device),
        )


def collate(frames: Sequence[Frame], cutoff: float, dtype: torch.dtype | None = None) -> Batch:
    """Join frames into a batch with neighbours complete up to ``cutoff`` (Å), from the frames' caches if they suffice.

    Raises:
        DataError: no frames, or a label that is NaN or infinite.
    """
    if not frames:
        raise DataError("expected at least one frame in a batch, found none")
    for frame in frames:
        require_finite_labels(frame)
    systems = [frame.system.to(dtype=dtype) for frame in frames]
    system = concatenate(systems)
    lists = [
        frame.neighbours
        if frame.neighbours is not None and frame.neighbours.cutoff >= cutoff
        else build_neighbours(frame.system, cutoff)
        for frame in frames
    ]
    neighbours = concatenate_neighbours(lists, [one.n_atoms for one in systems]).to(dtype=system.dtype)
    labels, masks = _joined_labels(frames, systems)
    weight = torch.tensor([frame.weight for frame in frames], dtype=system.dtype)
    has_energy, has_forces, has_stress = masks
    return Batch(system, neighbours, labels, has_energy, has_forces, has_stress, weight)


def require_finite_labels(frame: Frame) -> None:
    """Check that no label is NaN or infinite.

    Raises:
        DataError: naming the frame, the label and the first atoms concerned.
    """
    for name in ("energy", "forces", "stress"):
        value = getattr(frame.labels, name)
        if value is None or bool(torch.isfinite(value).all()):
            continue
        where = ""
        if name == "forces":
            where = f" at atoms {torch.nonzero(~torch.isfinite(value).all(1))[:5, 0].tolist()}"
        raise DataError(
            f"{frame.name or 'a frame'}: expected finite {name}, found NaN or infinity{where}; "
            f"remove the frame, or this label of it, and look for others with simkit.datasets.audit"
        )


def _joined_labels(frames: Sequence[Frame], systems: Sequence[System]) -> tuple[Labels, list[Tensor]]:
    joined: dict[str, Tensor | None] = {}
    masks = []
    for name in ("energy", "forces", "stress"):
        values = [getattr(frame.labels, name) for frame in frames]
        masks.append(torch.tensor([value is not None for value in values], dtype=torch.bool))
        if not masks[-1].any():
            joined[name] = None
            continue
        shapes = {"energy": lambda s: (1,), "forces": lambda s: (s.n_atoms, 3), "stress": lambda s: (1, 3, 3)}
        kind = torch.float64 if name == "energy" else systems[0].dtype
        filled = [
            torch.full(shapes[name](system), torch.nan, dtype=kind) if value is None else value.to(kind)
            for value, system in zip(values, systems, strict=True)
        ]
        joined[name] = torch.cat(filled)
    return Labels(**joined), masks


def with_neighbours(frame: Frame, cutoff: float) -> Frame:
    """The frame with its pairs stored."""
    return replace(frame, neighbours=build_neighbours(frame.system, cutoff))
