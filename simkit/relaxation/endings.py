"""Outcomes of the systems that leave a batch."""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from simkit.relaxation.batch import Batch
from simkit.relaxation.checks import MINIMUM_DISTANCE
from simkit.relaxation.outcome import REMEDIES, Outcome, Status, refused


def ended(
    batch: Batch, status: Int[Tensor, " systems"], shortest: Float[Tensor, " systems"], strained: bool
) -> list[Outcome]:
    """What has become of the systems that are no longer running."""
    gone = status != Status.RUNNING
    if not bool(gone.any()):
        return []
    record = batch.record
    at_rest = replace(batch.system, positions=record.positions, cell=record.cell)
    counts = batch.system.counts[gone].tolist()
    forces = record.forces[gone[batch.system.batch]].cpu().split(counts)
    columns = (batch.index, status, batch.steps, record.largest, batch.first_energy, record.energy, shortest)
    numbers = zip(*(column[gone].tolist() for column in columns), strict=True)
    virials = record.virial[gone].cpu()
    systems = at_rest.select(torch.nonzero(gone)[:, 0]).to("cpu").split()
    outcomes = []
    for k, (one, row) in enumerate(zip(systems, numbers, strict=True)):
        index, code, steps, fmax, first, energy, distance = row
        if code == Status.REFUSED:
            outcomes.append(refused(index, one, _reason(distance), force_calls=1))
            continue
        outcome = Outcome(
            index=index,
            status=Status(code),
            steps=steps - (code == Status.EXPLODED),
            force_calls=steps + 1,
            fmax=fmax,
            first_energy=first,
            system=one,
            energy=energy,
            forces=forces[k],
            virial=virials[k] if strained else None,
            remedy=REMEDIES.get(Status(code)),
        )
        outcomes.append(outcome)
    return outcomes


def _reason(distance: float) -> str:
    if distance < MINIMUM_DISTANCE:
        return (
            f"two atoms are {distance:.3f} Å apart, expected at least {MINIMUM_DISTANCE} Å: remove one of them, or "
            "check the units (Å) and the cell"
        )
    return "the model gives values that are not finite; check the structure"
