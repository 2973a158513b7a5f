"""FIRE: dynamics with a friction that is turned on by going uphill."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from simkit.relaxation.optimiser import Optimiser, OptimiserState
from simkit.relaxation.rows import Rows


@dataclass(frozen=True)
class FireState(OptimiserState):
    """Memory of FIRE.

    Attributes:
        velocities: in Å per time, with unit mass.
        timestep: of each system.
        mixing: share of the force's direction in the velocity.
        downhill: steps since the last one uphill; -1 before the first step.
    """

    velocities: Float[Tensor, "rows 3"]
    timestep: Float[Tensor, " systems"]
    mixing: Float[Tensor, " systems"]
    downhill: Int[Tensor, " systems"]

    def select(self, rows: Bool[Tensor, " rows"], systems: Bool[Tensor, " systems"]) -> FireState:
        """Some of the systems."""
        return FireState(self.velocities[rows], self.timestep[systems], self.mixing[systems], self.downhill[systems])

    def join(self, other: FireState) -> FireState:
        """These systems, then others."""
        mine, theirs = self.tensors(), other.tensors()
        return FireState(**{name: torch.cat([mine[name], theirs[name]]) for name in mine})

    def tensors(self) -> dict[str, Tensor]:
        """By name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


@dataclass(frozen=True)
class Fire(Optimiser[FireState]):
    """Fast inertial relaxation engine, with semi-implicit Euler steps, as ASE has it.

    While ``P = F·v > 0``: ``v -> (1 - α) v + α |v| F/|F|``, and after ``patience`` such steps the time step grows and α
    shrinks; otherwise ``v = 0``. Then ``v -> v + F dt`` and ``x -> x + v dt``, limited to a norm of ``max_step``.

    Attributes:
        timestep: first time step; with unit masses, so that its unit is Å/(eV/Å) to the power of one half.
        max_timestep: longest time step.
        max_step: norm in Å of the longest step of all variables of a system together.
        patience: steps downhill before the time step grows.
        growth: factor of the time step downhill.
        shrinkage: factor of the time step uphill.
        mixing: α after each step uphill.
        mixing_decay: factor of α downhill.

    Reference: E. Bitzek, P. Koskinen, F. Gähler, M. Moseler, P. Gumbsch, Phys. Rev. Lett. 97, 170201 (2006),
    doi:10.1103/PhysRevLett.97.170201.
    """

    timestep: float = 0.1
    max_timestep: float = 1.0
    max_step: float = 0.2
    patience: int = 5
    growth: float = 1.1
    shrinkage: float = 0.5
    mixing: float = 0.1
    mixing_decay: float = 0.99

    name: ClassVar[str] = "FIRE"
    citation: ClassVar[str] = "E. Bitzek et al., Phys. Rev. Lett. 97, 170201 (2006), doi:10.1103/PhysRevLett.97.170201"

    @property
    def bytes_per_row(self) -> float:
        """Velocities, and a few copies while a step is made."""
        return 8 * 24

    def start(self, x: Float[Tensor, "rows 3"], rows: Rows) -> FireState:
        """At rest."""
        each = x.new_ones(rows.n_systems)
        return FireState(torch.zeros_like(x), self.timestep * each, self.mixing * each, -each.long())

    def step(
        self, state: FireState, rows: Rows, x: Float[Tensor, "rows 3"], forces: Float[Tensor, "rows 3"]
    ) -> tuple[FireState, Float[Tensor, "rows 3"]]:
        """One step of each system."""
        first = state.downhill < 0
        down = rows.dot(forces, state.velocities) > 0
        up = ~down & ~first
        ratio = state.mixing * rows.norm(state.velocities) / rows.norm(forces)
        mixed = rows.spread(1 - state.mixing) * state.velocities + rows.spread(ratio) * forces
        velocities = torch.where(rows.spread(down), mixed, 0)
        grow = down & (state.downhill > self.patience)
        timestep = torch.where(grow, (state.timestep * self.growth).clamp(max=self.max_timestep), state.timestep)
        timestep = torch.where(up, state.timestep * self.shrinkage, timestep)
        mixing = torch.where(grow, state.mixing * self.mixing_decay, state.mixing).masked_fill(up, self.mixing)
        velocities = velocities + rows.spread(timestep) * forces
        step = rows.spread(timestep) * velocities
        length = rows.norm(step)
        step = step * rows.spread(torch.where(length > self.max_step, self.max_step / length, 1))
        downhill = torch.where(down, state.downhill + 1, 0)
        return FireState(velocities, timestep, mixing, downhill), x + step

    def restore(self, tensors: dict[str, Tensor]) -> FireState:
        """From a checkpoint."""
        return FireState(**tensors)
