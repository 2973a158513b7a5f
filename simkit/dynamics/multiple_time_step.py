"""Multiple time steps: slow forces are evaluated less often than fast ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from jaxtyping import Float
from torch import Tensor

from simkit.dynamics.force_field import Forces
from simkit.dynamics.state import MDState
from simkit.dynamics.verlet import kicked, velocity_verlet
from simkit.flows import Flow, Splitting, repeated


@dataclass(frozen=True)
class FastAndSlow:
    """Energy, forces and virial of the sum of two potentials; the share of the slow one is kept in the state.

    Attributes:
        fast: stiff and cheap.
        slow: soft and dear. Where one of them gives a virial, the other must.
    """

    fast: Forces
    slow: Forces

    def __call__(self, state: MDState) -> MDState:
        """The state with what it lacked."""
        if state.forces is not None and state.slow_forces is not None:
            return state
        return self.completed(self.fast(state.moved(state.system.positions)))

    def completed(self, state: MDState) -> MDState:
        """A state that has energy and forces of the fast potential, with those of the slow one added."""
        slow = self.slow(state.moved(state.system.positions))
        assert state.energy is not None
        assert state.forces is not None
        assert slow.energy is not None
        assert slow.forces is not None
        virial = None if state.virial is None or slow.virial is None else state.virial + slow.virial
        return replace(
            state,
            energy=state.energy + slow.energy,
            forces=state.forces + slow.forces,
            virial=virial,
            slow_forces=slow.forces,
            slow_virial=None if virial is None else slow.virial,
        )

    def fast_share(self, state: MDState) -> MDState:
        """The state with forces and virial of the fast potential only, without evaluating anything."""
        assert state.forces is not None
        assert state.slow_forces is not None
        virial = None if state.virial is None or state.slow_virial is None else state.virial - state.slow_virial
        forces = state.forces - state.slow_forces
        return replace(state, energy=None, forces=forces, virial=virial, slow_forces=None, slow_virial=None)


@dataclass(frozen=True)
class MultipleTimeStep:
    """Kicks of the slow forces around the flow of the fast ones: one step of r-RESPA.

    Attributes:
        forces: fast and slow.
        inner: flow of the fast forces over the whole step.
    """

    forces: FastAndSlow
    inner: Flow

    def __call__(self, state: MDState, dt: Float[Tensor, " systems"]) -> MDState:
        """Advance by ``dt`` (fs), the long step."""
        state = self.forces(state)
        assert state.slow_forces is not None
        state = self.inner(self.forces.fast_share(kicked(state, state.slow_forces, 0.5 * dt)), dt)
        state = self.forces.completed(self.forces.fast(state))
        assert state.slow_forces is not None
        return kicked(state, state.slow_forces, 0.5 * dt)


def multiple_time_step(
    fast: Forces, slow: Forces, times: int, inner: Callable[[Forces], Flow] = velocity_verlet
) -> MultipleTimeStep:
    """Reversible multiple time steps (r-RESPA): SlowKick(dt/2) [inner(dt/n)]ⁿ SlowKick(dt/2).

    A step costs one evaluation of the slow forces and ``times`` of the fast ones. Symplectic, reversible and of second
    order if the inner method is. Energy and forces of the states are those of the sum. Steps longer than about a third
    of the shortest period of the whole potential resonate with it, however fast the inner steps are.

    Args:
        fast: stiff and cheap forces, e.g. bonds, repulsion or a small model.
        slow: the rest, e.g. dispersion or what a large model adds. The potential energy is the sum of both.
        times: inner steps in a step.
        inner: method of the inner steps; :func:`~simkit.dynamics.langevin` and its like give a thermostat.

    Raises:
        SimkitError: no inner steps.

    Reference: M. Tuckerman, B. J. Berne, G. J. Martyna, J. Chem. Phys. 97, 1990 (1992), doi:10.1063/1.463137.
    """
    repeats: Splitting = repeated(inner(fast), times)
    return MultipleTimeStep(FastAndSlow(fast, slow), repeats)
