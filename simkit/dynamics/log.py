"""Energies, temperature, pressure and volume of systems in motion: in a file, and live."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from simkit.csv_tables import csv_row
from simkit.dynamics.pressure import pressure
from simkit.dynamics.state import MDState
from simkit.errors import SimkitError
from simkit.flows import Observer
from simkit.growing import GrowingFile
from simkit.units import GPA

Columns = Callable[[MDState], Mapping[str, Tensor]]
"""Numbers of each system by the names of columns."""


def conserved_energy(state: MDState) -> Float[Tensor, " systems"]:
    """``K + U`` less the heat that thermostats and barostats have given, in eV: constant but for errors of the steps.

    Raises:
        SimkitError: the energy is not known.
    """
    if state.energy is None:
        raise SimkitError("expected a state with energy and forces, found none: apply the force field to it first")
    return state.energy + state.kinetic_energy().double() - state.heat


def observables(state: MDState) -> dict[str, Float[Tensor, " systems"]]:
    """Numbers of each system by the names of columns, which end with the unit; NaN where a volume is not defined.

    ``conserved_ev`` is :func:`conserved_energy`. The pressure needs the virial, pressure and volume a system that is
    periodic along all three axes: they are left out where no system has them.
    """
    conserved, kinetic = conserved_energy(state), state.kinetic_energy().double()
    assert state.energy is not None
    columns = {
        "time_fs": state.time,
        "potential_ev": state.energy,
        "kinetic_ev": kinetic,
        "total_ev": state.energy + kinetic,
        "conserved_ev": conserved,
        "temperature_k": state.temperature().double(),
    }
    if bool(state.system.pbc.all(1).any()):
        if state.virial is not None:
            columns["pressure_gpa"] = pressure(state).double() / GPA
        columns["volume_ang3"] = state.system.volume().double()
    return columns


class LogFile(Observer[MDState]):
    """A CSV file with the :func:`observables` at every ``every``-th step; units are in the names of the columns.

    A batch has a line for each system, with its index in the column ``system``, until it stops. What is not defined for
    a system is empty.

    Args:
        path: of the file.
        every: steps between lines.
        more: further columns from the state, with units in their names.
    """

    def __init__(self, path: str | os.PathLike[str], every: int, more: Columns | None = None) -> None:
        self.path = Path(path)
        self.every = every
        self.more = more
        self._file: GrowingFile | None = None

    def begin(self, state: MDState, saved: Any | None) -> None:
        """Open the file, and cut off what was written after the checkpoint."""
        self._file = GrowingFile(self.path, saved or 0)
        if saved is None:
            which = ("system",) if state.n_systems > 1 else ()
            self._file.write(",".join(("step", *which, *self._columns(state))) + "\n")

    def observe(self, step: int, state: MDState, running: Sequence[bool]) -> None:
        """Write the lines of one step."""
        assert self._file is not None
        table = torch.stack(list(self._columns(state).values()), 1)
        for system, values in enumerate(table.tolist()):
            if running[system]:
                which = (system,) if len(running) > 1 else ()
                self._file.write(csv_row((step, *which, *("" if value != value else value for value in values))))

    def _columns(self, state: MDState) -> dict[str, Tensor]:
        return observables(state) | ({} if self.more is None else dict(self.more(state)))

    def save(self) -> int:
        """The length of the file, all of which is on the disk."""
        assert self._file is not None
        return self._file.sync()

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()


def live_note(dt: Float[Tensor, " systems"]) -> Callable[[MDState, float, int], str]:
    """A text for the progress of :func:`simkit.flows.integrate`: temperature, energy, speed, systems that stopped."""
    mean = float(dt.mean())

    def note(state: MDState, rate: float, stopped: int) -> str:
        temperature = float(state.temperature().mean())
        speed = f"{rate * mean * 0.0864:.3g} ns/day  {rate * state.system.n_atoms:.2g} atom steps/s"
        if state.n_systems == 1:
            assert state.energy is not None
            return f"T={temperature:.0f} K  E={float(state.energy):.4f} eV  {speed}"
        ended = f"  {stopped} of {state.n_systems} stopped" if stopped else ""
        return f"mean T={temperature:.0f} K  {speed}{ended}"

    return note
