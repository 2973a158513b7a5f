"""Forces without a net force, for centres of mass that must stay where they are."""

from __future__ import annotations

from dataclasses import dataclass, replace

from simkit.dynamics.force_field import Forces
from simkit.dynamics.state import MDState


@dataclass(frozen=True)
class FixedCentreOfMass:
    """A source of forces with that of the constraint on the centre of mass: ``F_i -> F_i - (m_i/M) Σ_j F_j``.

    An external field, or a potential that is not exactly invariant under translation, would move the centre of mass.
    Beside momenta without drift, as :func:`~simkit.dynamics.start` and the thermostats make them by default, it stays
    at rest, with three degrees of freedom less. Systems with fixed atoms, and single atoms, keep their forces.

    Attributes:
        forces: any source of forces; energy and virial are handed on.
    """

    forces: Forces

    def __call__(self, state: MDState) -> MDState:
        """The state with what it lacked."""
        if state.forces is not None:
            return state
        state = self.forces(state)
        assert state.forces is not None
        balanced = replace(state, momenta=state.forces).without_drift(state.free())
        return replace(state, forces=balanced.momenta)
