"""Hamilton's equations, split into kicks and drifts."""

from __future__ import annotations

from dataclasses import dataclass, replace

from jaxtyping import Float
from torch import Tensor

from simkit.dynamics.force_field import Forces
from simkit.dynamics.state import MDState
from simkit.flows import Splitting, symmetric


@dataclass(frozen=True)
class Kick:
    """The exact flow of the potential energy: ``p -> p + F dt``; fixed atoms stay at rest."""

    force_field: Forces

    def __call__(self, state: MDState, dt: Float[Tensor, " systems"]) -> MDState:
        """Advance momenta by ``dt`` (fs)."""
        state = self.force_field(state)
        assert state.forces is not None
        return kicked(state, state.forces, dt)


def kicked(state: MDState, forces: Float[Tensor, "atoms 3"], dt: Float[Tensor, " systems"]) -> MDState:
    """The state with momenta changed by forces (eV/Å) acting for ``dt`` (fs), except those of fixed atoms."""
    impulse = state.over_atoms(dt) * forces
    if state.system.fixed is not None:
        impulse = impulse.masked_fill(state.system.fixed[:, None], 0)
    return replace(state, momenta=state.momenta + impulse)


@dataclass(frozen=True)
class Drift:
    """The exact flow of the kinetic energy: ``x -> x + p dt / m``; the clock runs with it."""

    def __call__(self, state: MDState, dt: Float[Tensor, " systems"]) -> MDState:
        """Advance positions and time by ``dt`` (fs)."""
        step = state.over_atoms(dt) / state.masses[:, None] * state.momenta
        return replace(state.moved(state.system.positions + step), time=state.time + dt)


def velocity_verlet(force_field: Forces) -> Splitting:
    """Kick(dt/2) Drift(dt) Kick(dt/2): symplectic, reversible, of second order, one evaluation of the forces per step.

    Reference: W. C. Swope, H. C. Andersen, P. H. Berens, K. R. Wilson, J. Chem. Phys. 76, 637 (1982),
    doi:10.1063/1.442716.
    """
    return symmetric(Kick(force_field), Drift())
