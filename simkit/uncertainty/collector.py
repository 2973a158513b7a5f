"""Frames of dynamics that are worth labelling: uncertain, but not absurd."""

from __future__ import annotations

import io
import math
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from ase.io.extxyz import write_xyz

from simkit.dynamics.state import MDState
from simkit.errors import SimkitError
from simkit.flows import Observer
from simkit.growing import GrowingFile
from simkit.uncertainty.ase_results import in_words
from simkit.uncertainty.monitor import Quantity, UncertaintyMonitor


class FrameCollector(Observer[MDState]):
    """Writes frames whose largest uncertainty lies between two thresholds to an extended XYZ file, without labels.

    Frames above the upper threshold are likely unphysical, and a reference method may not converge on them. Each frame
    has ``step``, ``time_fs``, ``system``, the method and the largest value in ``info``, and the values of the atoms as
    an array.

    Args:
        path: of the file.
        monitor: reads the uncertainty.
        above: lower threshold, in eV/Å for ``force_sigma``; see :func:`simkit.uncertainty.stop_rule.thresholds`.
        below: upper threshold.
        quantity: ``force_sigma`` or ``score``.
        every: steps between looks.
        spacing: least number of steps between two frames of the same system.
        at_most: number of frames of all systems.

    Raises:
        SimkitError: numbers that make no sense.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        monitor: UncertaintyMonitor,
        above: float,
        below: float = math.inf,
        *,
        quantity: Quantity = "force_sigma",
        every: int = 10,
        spacing: int = 1,
        at_most: int = 1000,
    ) -> None:
        if not (0 <= above < below and every >= 1 and spacing >= 1 and at_most >= 1):
            raise SimkitError(
                f"expected 0 <= above < below and positive numbers of steps and frames; found above {above}, below "
                f"{below}, every {every}, spacing {spacing}, at_most {at_most}"
            )
        self.path = Path(path)
        self.monitor = monitor
        self.above, self.below = above, below
        self.quantity: Quantity = quantity
        self.every, self.spacing, self.at_most = every, spacing, at_most
        self.count = 0
        self._last: list[int | None] = []
        self._file: GrowingFile | None = None

    def begin(self, state: MDState, saved: Any | None) -> None:
        """Open the file, and cut off what was written after the checkpoint."""
        self._last = [None] * state.n_systems if saved is None else saved["last"]
        self.count = 0 if saved is None else saved["count"]
        self._file = GrowingFile(self.path, 0 if saved is None else saved["length"])

    def observe(self, step: int, state: MDState, running: Sequence[bool]) -> None:
        """Write the systems that are between the thresholds, and not too near to the last frame of each."""
        if self.count >= self.at_most:
            return
        values = self.monitor.largest(state, self.quantity).tolist()
        for index, (value, last) in enumerate(zip(values, self._last, strict=True)):
            due = last is None or step - last >= self.spacing
            if running[index] and due and self.above < value < self.below and self.count < self.at_most:
                self._write(step, state, index, value)

    def save(self) -> dict[str, Any]:
        """The length of the file, all of which is on the disk, and what was written last."""
        assert self._file is not None
        return {"length": self._file.sync(), "last": self._last, "count": self.count}

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    def _write(self, step: int, state: MDState, index: int, value: float) -> None:
        assert self._file is not None
        chosen = state.system.batch == index
        reading = getattr(self.monitor.read(state), self.quantity)
        (atoms,) = replace(state.system, fixed=None).select(torch.tensor([index], device=chosen.device)).to_ase()
        atoms.info |= {"step": step, "time_fs": float(state.time[index]), "system": index}
        atoms.info |= {f"{self.quantity}_max": value, "uncertainty": in_words(self.monitor.potential.provenance)}
        atoms.set_array(self.quantity, reading[chosen].double().cpu().numpy())
        buffer = io.StringIO()
        write_xyz(buffer, [atoms])
        self._file.write(buffer.getvalue())
        self._last[index] = step
        self.count += 1
