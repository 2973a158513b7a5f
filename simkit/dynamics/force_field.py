"""Forces of a potential for a state of molecular dynamics."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from simkit.dynamics.parts import Parts
from simkit.dynamics.state import MDState
from simkit.neighbours import NeighbourList
from simkit.potential import Potential

Forces = Callable[[MDState], MDState]
"""What fills in energy and forces of a state that lacks them: a :class:`ForceField`, or another source of forces."""


class ForceField:
    """A map ``state -> state`` that fills in energy, forces and, if asked, the virial of the present positions.

    States that have them are returned as they are, so flows may ask as often as they like: velocity Verlet costs one
    evaluation per step. The potential computes in its own floating-point type, the state keeps its own. On a CPU, large
    batches are evaluated in :class:`~simkit.dynamics.parts.Parts`.

    Args:
        potential: any potential or wrapper.
        virial: compute the virial too, as barostats need.
        skin: extra reach of the neighbour list in Å; it is built anew when atoms have moved half of it.
    """

    def __init__(self, potential: Potential, *, virial: bool = False, skin: float = 1.0) -> None:
        self.potential = potential
        self.neighbours = NeighbourList(potential.cutoff, skin)
        self.outputs = ("energy", "forces", "virial") if virial else ("energy", "forces")
        self.evaluations = 0
        self._parts = Parts()

    def __call__(self, state: MDState) -> MDState:
        """The state with what it lacked."""
        if state.forces is not None and (state.virial is not None or "virial" not in self.outputs):
            return state
        dtype = state.system.dtype
        system = state.system if dtype == self.potential.dtype else state.system.to(dtype=self.potential.dtype)
        prediction = self._parts.evaluate(self.potential, system, self.neighbours.update(system), self.outputs)
        self.evaluations += 1
        assert prediction.forces is not None
        virial = None if prediction.virial is None else prediction.virial.to(dtype)
        return replace(state, energy=prediction.energy, forces=prediction.forces.to(dtype), virial=virial)
