"""L-BFGS: quasi-Newton steps from the last changes of variables and forces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from simkit.relaxation.optimiser import Optimiser, OptimiserState
from simkit.relaxation.rows import Rows

PAIRS = ("steps", "gradients", "curvatures")


@dataclass(frozen=True)
class LbfgsState(OptimiserState):
    """Memory of L-BFGS. All systems of a batch step together, so the k-th last change of one is that of all.

    Changes from before a system came into the batch are zeros, which contribute nothing to it.

    Attributes:
        begun: whether a system has made a step.
        x: variables before the last step, in Å.
        forces: there, in eV/Å.
        steps: changes s of the variables, oldest first, each of the shape of ``x``.
        gradients: changes y of the gradient.
        curvatures: ``ρ = 1 / (y·s)`` of each system.
    """

    begun: Bool[Tensor, " systems"]
    x: Float[Tensor, "rows 3"]
    forces: Float[Tensor, "rows 3"]
    steps: tuple[Tensor, ...] = ()
    gradients: tuple[Tensor, ...] = ()
    curvatures: tuple[Tensor, ...] = ()

    def select(self, rows: Bool[Tensor, " rows"], systems: Bool[Tensor, " systems"]) -> LbfgsState:
        """Some of the systems, without the changes that none of them has."""
        curvatures = [rho[systems] for rho in self.curvatures]
        first = next((k for k, rho in enumerate(curvatures) if bool(rho.any())), len(curvatures))
        return LbfgsState(
            begun=self.begun[systems],
            x=self.x[rows],
            forces=self.forces[rows],
            steps=tuple(s[rows] for s in self.steps[first:]),
            gradients=tuple(y[rows] for y in self.gradients[first:]),
            curvatures=tuple(curvatures[first:]),
        )

    def join(self, other: LbfgsState) -> LbfgsState:
        """These systems, then others."""
        length = max(len(self.steps), len(other.steps))
        mine, theirs = self._padded(length), other._padded(length)
        return LbfgsState(
            begun=torch.cat([self.begun, other.begun]),
            x=torch.cat([self.x, other.x]),
            forces=torch.cat([self.forces, other.forces]),
            **{name: tuple(map(torch.cat, zip(mine[name], theirs[name], strict=True))) for name in PAIRS},
        )

    def _padded(self, length: int) -> dict[str, tuple[Tensor, ...]]:
        """The changes, with zeros before the oldest one up to ``length`` of them."""
        missing = length - len(self.steps)
        row, system = torch.zeros_like(self.x), self.x.new_zeros(self.begun.shape[0])
        return {
            "steps": (row,) * missing + self.steps,
            "gradients": (row,) * missing + self.gradients,
            "curvatures": (system,) * missing + self.curvatures,
        }

    def tensors(self) -> dict[str, Tensor]:
        """By name, the changes stacked."""
        row, system = self.x.new_zeros(0, *self.x.shape), self.x.new_zeros(0, self.begun.shape[0])
        return {
            "begun": self.begun,
            "x": self.x,
            "forces": self.forces,
            "steps": torch.stack(self.steps) if self.steps else row,
            "gradients": torch.stack(self.gradients) if self.steps else row,
            "curvatures": torch.stack(self.curvatures) if self.steps else system,
        }


@dataclass(frozen=True)
class Lbfgs(Optimiser[LbfgsState]):
    """Limited-memory BFGS without line search, with the steps of ASE's.

    The step ``-H ∇E`` follows from the two-loop recursion over the last ``memory`` changes, starting from
    ``H₀ = 1 / stiffness``; it is shortened so that no atom moves farther than ``max_step``, then multiplied by
    ``damping``.

    Attributes:
        memory: number of changes that are remembered.
        stiffness: first guess of the curvature, in eV/Å².
        max_step: longest move of an atom in a step, in Å.
        damping: factor of each step.
        cautious: leave out changes along which the energy is concave, ``y·s <= 0``. They would turn later steps uphill.
            ASE takes them all; elsewhere the steps are the same.

    Reference: D. C. Liu, J. Nocedal, Math. Program. 45, 503 (1989), doi:10.1007/BF01589116; cautious updates: D.-H. Li,
    M. Fukushima, SIAM J. Optim. 11, 1054 (2001), doi:10.1137/S1052623499354242.
    """

    memory: int = 100
    stiffness: float = 70.0
    max_step: float = 0.2
    damping: float = 1.0
    cautious: bool = True

    name: ClassVar[str] = "LBFGS"
    citation: ClassVar[str] = "D. C. Liu, J. Nocedal, Math. Program. 45, 503 (1989), doi:10.1007/BF01589116"

    @property
    def bytes_per_row(self) -> float:
        """All changes, twice while systems leave and enter."""
        return 2 * 2 * self.memory * 24

    def start(self, x: Float[Tensor, "rows 3"], rows: Rows) -> LbfgsState:
        """Without changes."""
        begun = torch.zeros(rows.n_systems, dtype=torch.bool, device=x.device)
        return LbfgsState(begun, torch.zeros_like(x), torch.zeros_like(x))

    def step(
        self, state: LbfgsState, rows: Rows, x: Float[Tensor, "rows 3"], forces: Float[Tensor, "rows 3"]
    ) -> tuple[LbfgsState, Float[Tensor, "rows 3"]]:
        """One step of each system."""
        known = rows.spread(state.begun)
        s = torch.where(known, x - state.x, 0)
        y = torch.where(known, state.forces - forces, 0)
        product = rows.dot(y, s)
        used = product > 0 if self.cautious else product != 0
        rho = torch.where(used, 1 / product, 0)
        last = slice(-self.memory, None)
        memory = LbfgsState(
            begun=torch.ones_like(state.begun),
            x=x,
            forces=forces,
            steps=(*state.steps, s)[last],
            gradients=(*state.gradients, y)[last],
            curvatures=(*state.curvatures, rho)[last],
        )
        step = self._direction(memory, rows)
        longest = rows.longest(step)
        step = step * rows.spread(torch.where(longest >= self.max_step, self.max_step / longest, 1) * self.damping)
        return memory, x + step

    def _direction(self, memory: LbfgsState, rows: Rows) -> Float[Tensor, "rows 3"]:
        """``-H ∇E``, by Algorithm 2.1 of the reference."""
        pairs = list(zip(memory.steps, memory.gradients, memory.curvatures, strict=True))
        q = -memory.forces
        weights = []
        for s, y, rho in reversed(pairs):
            weight = rho * rows.dot(s, q)
            weights.append(weight)
            q = q - rows.spread(weight) * y
        z = q / self.stiffness
        for (s, y, rho), weight in zip(pairs, reversed(weights), strict=True):
            z = z + rows.spread(weight - rho * rows.dot(y, z)) * s
        return -z

    def restore(self, tensors: dict[str, Tensor]) -> LbfgsState:
        """From a checkpoint."""
        pairs = {name: tensors[name].unbind() for name in PAIRS}
        return LbfgsState(tensors["begun"], tensors["x"], tensors["forces"], **pairs)
