"""Trajectories as arrays, and atoms followed across periodic boundaries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from ase import units
from ase.data import atomic_masses
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from simkit.datasets.base import Frame
from simkit.datasets.trajectory import TrajectoryDataset
from simkit.errors import DataError

TIME_KEYS = ("time_fs", "time")
"""Entries of ``info`` that hold the time of a frame in fs."""

LONGEST_STEP = 0.475
"""Of an atom between two frames, in lattice vectors. Rounding finds the shortest image of every displacement below half
of the smallest height of the cell; one near half of it may as well be its mirror image."""


@dataclass(frozen=True)
class Trajectory:
    """The same atoms at equally spaced times.

    Attributes:
        numbers: atomic numbers.
        positions: in Å, wrapped into the cell or not.
        cells: lattice vectors as rows, in Å.
        pbc: which lattice vectors are periodic.
        spacing: time between frames, in fs.
        masses: in u.
        velocities: in Å/fs, if the frames have momenta.
        followed: whether positions follow atoms across periodic boundaries already.
    """

    numbers: Int[ndarray, " atoms"]
    positions: Float[ndarray, "frames atoms 3"]
    cells: Float[ndarray, "frames 3 3"]
    pbc: Bool[ndarray, " 3"]
    spacing: float
    masses: Float[ndarray, " atoms"]
    velocities: Float[ndarray, "frames atoms 3"] | None = None
    followed: bool = False

    @property
    def n_frames(self) -> int:
        """Number of frames."""
        return self.positions.shape[0]

    @property
    def duration(self) -> float:
        """Time from the first to the last frame, in fs."""
        return (self.n_frames - 1) * self.spacing

    def segments(self, count: int) -> list[Trajectory]:
        """Consecutive parts of equal length; the first frames that do not fill one are left out.

        Raises:
            DataError: fewer than two frames in a part.
        """
        length = self.n_frames // count
        if length < 2:
            raise DataError(
                f"expected at least {2 * count} frames for {count} blocks, found {self.n_frames}: run longer, save "
                "more often, or ask for fewer blocks"
            )
        first = self.n_frames - count * length
        bounds = [slice(first + i * length, first + (i + 1) * length) for i in range(count)]
        velocities = self.velocities
        return [
            replace(
                self,
                positions=self.positions[one],
                cells=self.cells[one],
                velocities=None if velocities is None else velocities[one],
            )
            for one in bounds
        ]


def from_frames(frames: Sequence[Frame], *, spacing: float | None = None, source: str = "the frames") -> Trajectory:
    """A trajectory from frames as :mod:`simkit.datasets` reads them.

    Args:
        frames: of one system, in order of time; momenta in ``arrays`` (ASE's units) become velocities.
        spacing: time between frames in fs; None to take it from the ``time_fs`` that frames carry.
        source: how messages call them.

    Raises:
        DataError: no frames, different atoms, or times that are absent or not equally spaced.
    """
    if not frames:
        raise DataError(f"{source}: expected at least one frame, found none")
    first = frames[0].system
    for index, frame in enumerate(frames):
        if frame.system.numbers.tolist() != first.numbers.tolist():
            raise DataError(
                f"{source}: frame {index} holds other atoms than frame 0, or in another order; a trajectory follows "
                "the same atoms: give the files of different systems one by one"
            )
    between = _declared_spacing(frames, source) if spacing is None else spacing
    numbers = first.numbers.numpy()
    masses = frames[0].arrays.get("masses", atomic_masses[numbers])
    momenta = [frame.arrays.get("momenta") for frame in frames]
    velocities = None
    if all(one is not None for one in momenta):
        velocities = np.array(momenta, dtype=float) / masses[:, None] * units.fs
    return Trajectory(
        numbers=numbers,
        positions=np.array([frame.system.positions.numpy() for frame in frames], dtype=float),
        cells=np.array([frame.system.cell[0].numpy() for frame in frames], dtype=float),
        pbc=first.pbc[0].numpy(),
        spacing=between,
        masses=np.asarray(masses, dtype=float),
        velocities=velocities,
    )


def from_dynamics(
    dataset: TrajectoryDataset, system: int = 0, *, skip: int = 0, every: int = 1, spacing: float | None = None
) -> Trajectory:
    """The trajectory of one system of a file of molecular dynamics, read at once.

    Args:
        dataset: the file.
        system: its index.
        skip: frames left out at the start.
        every: take each of so many frames.
        spacing: time between the frames that are taken, in fs; None for what the file says.

    Raises:
        DataError: no frames left, or frames that are not equally spaced.
    """
    rows = slice(skip, None, every)
    times = dataset.array("time", system)[rows]
    source = f"{dataset.path}, system {system}"
    if len(times) == 0:
        raise DataError(
            f"{source}: expected more than {skip} frames, found {len(dataset.frames_of(system))}: skip fewer"
        )
    first = dataset[dataset.frames_of(system)[0]]
    numbers = first.system.numbers.numpy()
    masses = np.asarray(first.arrays.get("masses", atomic_masses[numbers]), dtype=float)
    velocities = None
    if "momenta" in first.arrays:
        velocities = dataset.array("momenta", system)[rows].astype(float) / masses[:, None]
    return Trajectory(
        numbers=numbers,
        positions=dataset.array("positions", system)[rows].astype(float),
        cells=dataset.array("cell", system)[rows].astype(float),
        pbc=first.system.pbc[0].numpy(),
        spacing=_spacing(times, source) if spacing is None else spacing,
        masses=masses,
        velocities=velocities,
        followed=True,
    )


def _declared_spacing(frames: Sequence[Frame], source: str) -> float:
    if len(frames) == 1:
        return 0.0
    key = next((key for key in TIME_KEYS if key in frames[0].info), None)
    if key is None or any(key not in frame.info for frame in frames):
        raise DataError(
            f"{source}: expected the time of each frame in info['time_fs'], found none; give the time between frames "
            "as spacing, in fs"
        )
    return _spacing(np.array([float(frame.info[key]) for frame in frames]), source)


def _spacing(times: Float[ndarray, " frames"], source: str) -> float:
    if len(times) == 1:
        return 0.0
    steps = np.diff(times)
    if not (steps > 0).all() or np.ptp(steps) > 1e-6 * steps[0]:
        raise DataError(
            f"{source}: expected frames at equally spaced times, found steps from {steps.min():g} to {steps.max():g} "
            "fs; frames of several runs are several files"
        )
    return float(steps.mean())


def heights(cells: Float[ndarray, "frames 3 3"]) -> Float[ndarray, "frames 3"]:
    """Distances in Å between opposite faces of cells: one over the length of each reciprocal vector."""
    return 1 / np.linalg.norm(np.linalg.inv(cells), axis=1)


def unwrapped(trajectory: Trajectory) -> Float[ndarray, "frames atoms 3"]:
    """Positions in Å that follow each atom across periodic boundaries.

    The displacement between frames is the shortest one among its periodic images, in the cell of the later frame:
    ``u(t+1) = u(t) + [w(t+1) - w(t)]_min``. Unlike unwrapping by counting crossings, this keeps the diffusion of atoms
    in cells that fluctuate.

    Raises:
        DataError: an atom moves by about half of a lattice vector between two frames, so that its path is unknown.

    Reference: S. von Bülow, J. T. Bullerjahn, G. Hummer, J. Chem. Phys. 153, 021101 (2020), doi:10.1063/5.0008316.
    """
    if trajectory.followed or not trajectory.pbc.any() or trajectory.n_frames < 2:
        return trajectory.positions
    lattice = np.where(trajectory.pbc[:, None], trajectory.cells, 0)[1:]
    inverse = np.linalg.pinv(lattice)
    steps = np.diff(trajectory.positions, axis=0)
    steps = steps - np.round(steps @ inverse) @ lattice
    longest = float(np.abs(steps @ inverse).max())
    if longest > LONGEST_STEP:
        raise DataError(
            f"an atom moves by {longest:.3f} of a lattice vector between two frames, so its path across the boundary "
            f"is unknown; expected at most {LONGEST_STEP:g}: save frames more often"
        )
    return trajectory.positions[0] + np.concatenate([np.zeros_like(steps[:1]), np.cumsum(steps, axis=0)])


def without_drift(
    positions: Float[ndarray, "frames atoms 3"], masses: Float[ndarray, " atoms"]
) -> Float[ndarray, "frames atoms 3"]:
    """Positions (or velocities) relative to the centre of mass, which periodic simulations do not hold in place."""
    centre = np.einsum("fai,a->fi", positions, masses / masses.sum())
    return positions - centre[:, None]
