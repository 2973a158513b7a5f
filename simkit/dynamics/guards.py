"""Signs that molecular dynamics has gone wrong: too hot, energy from nowhere, atoms that fly away."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from simkit.dynamics.log import conserved_energy
from simkit.dynamics.state import MDState
from simkit.errors import SimkitError
from simkit.flows import Guard, Status
from simkit.system import System

REMEDY = "Use a shorter time step, relax the structure first, or train the potential on frames like its last good one."


@dataclass(frozen=True)
class TooHot(Guard[MDState]):
    """Stops systems whose kinetic temperature exceeds a limit in K."""

    limit: float = 10_000.0
    status: ClassVar[Status] = Status.EXPLODED

    def failed(self, before: MDState, after: MDState) -> Bool[Tensor, " systems"]:
        """Which systems are too hot."""
        return after.temperature() > self.limit

    def explain(self, before: MDState, after: MDState, system: int) -> str:
        """The temperature and the limit."""
        now = float(after.temperature()[system])
        return f"the temperature reached {now:.0f} K, the limit is {self.limit:g} K. {REMEDY}"


@dataclass(frozen=True)
class EnergyJump(Guard[MDState]):
    """Stops systems whose energy, less the heat from thermostats and barostats, changes by more than a limit.

    The energy is compared with that of the check before, at most a few steps earlier; the limit is in eV per atom.
    """

    limit: float = 1.0
    status: ClassVar[Status] = Status.EXPLODED

    def failed(self, before: MDState, after: MDState) -> Bool[Tensor, " systems"]:
        """Which systems gained or lost too much."""
        return self._change(before, after).abs() > self.limit

    def explain(self, before: MDState, after: MDState, system: int) -> str:
        """The change and the limit."""
        change = float(self._change(before, after)[system])
        return (
            f"the energy, which should be conserved, changed by {change:.3g} eV per atom at once; the limit is "
            f"{self.limit:g} eV per atom. {REMEDY}"
        )

    def _change(self, before: MDState, after: MDState) -> Float[Tensor, " systems"]:
        return (conserved_energy(after) - conserved_energy(before)) / after.system.counts.clamp(min=1)


@dataclass(frozen=True)
class LostAtoms(Guard[MDState]):
    """Stops systems of which an atom has gone farther than a limit along directions that are not periodic.

    Attributes:
        limit: largest distance from the centre of all atoms of a system, in Å.
        open: projection of vectors on the directions that are not periodic.
    """

    limit: Float[Tensor, " systems"]
    open: Float[Tensor, "systems 3 3"]
    status: ClassVar[Status] = Status.LOST_ATOMS

    @classmethod
    def beyond(cls, system: System, margin: float = 100.0) -> LostAtoms:
        """Let atoms go ``margin`` (Å) farther from the centre than the farthest one is in ``system``."""
        if not margin > 0:
            raise SimkitError(f"expected a positive distance in Å beyond which atoms are lost, found {margin:g}")
        lattice = system.lattice.double()
        open = torch.eye(3, dtype=lattice.dtype, device=lattice.device) - torch.linalg.pinv(lattice) @ lattice
        open = torch.where(system.pbc.all(1)[:, None, None], 0, open)
        return cls(_reach(system, open) + margin, open)

    def failed(self, before: MDState, after: MDState) -> Bool[Tensor, " systems"]:
        """Which systems have lost an atom."""
        return _reach(after.system, self.open) > self.limit

    def explain(self, before: MDState, after: MDState, system: int) -> str:
        """How far the atom is, and the limit."""
        reach = float(_reach(after.system, self.open)[system])
        return (
            f"an atom is {reach:.0f} Å from the centre of its system, the limit is {float(self.limit[system]):.0f} Å: "
            "it has evaporated. Put the system into a periodic cell, lower the temperature, or use a shorter time step."
        )


def _reach(system: System, open: Tensor) -> Float[Tensor, " systems"]:
    """Largest distance of an atom from the mean position, along the directions that are not periodic, in Å."""
    positions = torch.einsum("ai,aij->aj", system.positions.double(), open[system.batch])
    zeros = positions.new_zeros(system.n_systems, 3)
    centre = zeros.index_add(0, system.batch, positions) / system.counts.clamp(min=1)[:, None]
    distance = (positions - centre[system.batch]).norm(dim=1)
    return zeros[:, 0].scatter_reduce(0, system.batch, distance, "amax")


def usual_guards(
    system: System, *, max_temperature: float = 10_000.0, max_jump: float = 1.0, margin: float = 100.0
) -> tuple[Guard[MDState], ...]:
    """Guards that only systems gone wrong fail, for :func:`simkit.flows.integrate`.

    Args:
        system: at the start.
        max_temperature: see :class:`TooHot`, in K.
        max_jump: see :class:`EnergyJump`, in eV per atom.
        margin: see :class:`LostAtoms`, in Å; it is left out if all systems are periodic along all axes.
    """
    guards: tuple[Guard[MDState], ...] = (TooHot(max_temperature), EnergyJump(max_jump))
    return guards if bool(system.pbc.all()) else (*guards, LostAtoms.beyond(system, margin))
