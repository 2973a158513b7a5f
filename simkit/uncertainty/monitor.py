"""The uncertainty of systems in motion, computed once for all who watch it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from simkit.dynamics.state import MDState
from simkit.errors import SimkitError
from simkit.neighbours import NeighbourList
from simkit.uncertainty.base import UncertainPotential

Quantity = Literal["force_sigma", "score"]
"""What is watched: the deviation of the forces in eV/Å, or a score such as a distance in the space of features."""

COLUMNS = {"force_sigma": "force_sigma_max_ev_per_ang", "score": "score_max"}
"""Names of the largest value of a system in tables."""


@dataclass(frozen=True)
class Reading:
    """The uncertainty of each system at one moment; None where the method does not tell.

    Attributes:
        energy_std: in eV.
        force_sigma: of each atom, in eV/Å.
        score: of each atom.
    """

    energy_std: Float[Tensor, " systems"] | None
    force_sigma: Float[Tensor, " atoms"] | None
    score: Float[Tensor, " atoms"] | None


class UncertaintyMonitor:
    """Reads the uncertainty of states; asked again for the same state, it does not compute again.

    Args:
        potential: with an uncertainty.
        skin: extra reach of the neighbour list in Å.
    """

    def __init__(self, potential: UncertainPotential, *, skin: float = 1.0) -> None:
        self.potential = potential
        self.evaluations = 0
        self._neighbours = NeighbourList(potential.cutoff, skin)
        self._last: tuple[Tensor, Reading] | None = None

    def read(self, state: MDState) -> Reading:
        """The uncertainty at the positions of a state."""
        if self._last is not None and self._last[0] is state.system.positions:
            return self._last[1]
        system = state.system.to(dtype=self.potential.dtype)
        found = self.potential.predict(system, self._neighbours.update(system), ("energy", "forces"))
        self.evaluations += 1
        reading = Reading(found.energy_std, found.force_sigma, found.score)
        self._last = (state.system.positions, reading)
        return reading

    def largest(self, state: MDState, quantity: Quantity) -> Float[Tensor, " systems"]:
        """The largest value of an atom of each system.

        Raises:
            SimkitError: the method does not give this quantity.
        """
        values = getattr(self.read(state), quantity)
        if values is None:
            other = "score" if quantity == "force_sigma" else "force_sigma"
            raise SimkitError(
                f"expected an uncertainty with a {quantity} of each atom, found a {self.potential.provenance.method} "
                f"that has none: watch its {other}, or calibrate it"
            )
        return _largest(values, state)

    def columns(self, state: MDState) -> dict[str, Float[Tensor, " systems"]]:
        """What tables of dynamics have of it: ``energy_std_ev`` and the largest values of the atoms."""
        reading = self.read(state)
        columns = {} if reading.energy_std is None else {"energy_std_ev": reading.energy_std.double()}
        for quantity, name in COLUMNS.items():
            values = getattr(reading, quantity)
            if values is not None:
                columns[name] = _largest(values, state)
        return columns


def _largest(values: Float[Tensor, " atoms"], state: MDState) -> Float[Tensor, " systems"]:
    """NaN stays NaN."""
    zeros = torch.zeros(state.n_systems, dtype=torch.float64, device=values.device)
    return zeros.scatter_reduce(0, state.system.batch, values.double(), "amax", include_self=False)
