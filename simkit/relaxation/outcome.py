"""How the relaxation of a system ends."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from jaxtyping import Float
from torch import Tensor

from simkit.system import System


class Status(IntEnum):
    """What has become of a system."""

    RUNNING = 0
    CONVERGED = 1
    NOT_CONVERGED = 2
    EXPLODED = 3
    REFUSED = 4

    @property
    def label(self) -> str:
        """In words, as files have it."""
        return self.name.lower().replace("_", " ")


REMEDIES = {
    Status.NOT_CONVERGED: (
        "raise max_steps, or try the other optimiser; FIRE is the safest far from a minimum; the results hold the last "
        "geometry"
    ),
    Status.EXPLODED: (
        "a step led to atoms on top of one another, a torn cell or values that are not finite; the results hold the "
        "last good geometry; look at it, relax the atoms before the cell, or use a model that was trained on such "
        "structures"
    ),
}


@dataclass(frozen=True)
class Outcome:
    """The end of one system.

    Attributes:
        index: place of the system in the input.
        status: CONVERGED, NOT_CONVERGED, EXPLODED or REFUSED.
        steps: that the optimiser made up to this geometry.
        force_calls: evaluations of the system, also where they led nowhere.
        fmax: largest force on an atom, and with a cell filter on a row of the cell, in eV/Å.
        first_energy: of the input, in eV.
        system: last good geometry; the input if refused.
        energy: there, in eV.
        forces: there, in eV/Å, also of fixed atoms.
        virial: there, in eV; None if no system is periodic.
        remedy: what to do if it did not converge.

    Numbers are NaN, and tensors None, for refused systems.
    """

    index: int
    status: Status
    steps: int
    force_calls: int
    fmax: float
    first_energy: float
    system: System
    energy: float
    forces: Float[Tensor, "atoms 3"] | None = None
    virial: Float[Tensor, "3 3"] | None = None
    remedy: str | None = None


def refused(index: int, system: System, reason: str, force_calls: int = 0) -> Outcome:
    """The outcome of a system that cannot be relaxed at all."""
    nan = float("nan")
    return Outcome(index, Status.REFUSED, 0, force_calls, nan, nan, system, nan, remedy=reason)
