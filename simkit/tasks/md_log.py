"""What the log of molecular dynamics says: temperature, conservation of energy, pressure."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ase import Atoms
from jaxtyping import Float
from numpy import ndarray

from simkit.csv_tables import read_table
from simkit.flows import Outcome, Status
from simkit.tasks.settings import Dynamics, numbers

MEANS = {"temperature_k": "mean_temperature_k", "pressure_gpa": "mean_pressure_gpa", "volume_ang3": "mean_volume_ang3"}
"""Columns that are averaged over the second half of a run, and the names of the means."""

LARGEST = {"force_sigma_max_ev_per_ang": "largest_force_sigma_ev_per_ang", "score_max": "largest_score"}
"""Columns whose largest values are told, and the names of these."""

Table = Mapping[str, ndarray]


def linear_drift(time: Float[ndarray, " rows"], values: Float[ndarray, " rows"]) -> tuple[float, float]:
    """Slope of the least-squares line through ``values`` over ``time``, and the standard deviation about that line."""
    if len(time) < 2:
        return 0.0, 0.0
    slope, offset = np.polyfit(time - time.mean(), values, 1)
    return float(slope), float(np.std(values - slope * (time - time.mean()) - offset))


def of_system(table: Table, system: int) -> dict[str, ndarray]:
    """The rows of one system of a log; logs of one system have no column for it."""
    if "system" not in table:
        return dict(table)
    rows = table["system"] == system
    return {name: values[rows] for name, values in table.items() if name != "system"}


def summarise_log(
    path: str | os.PathLike[str], last: Sequence[Atoms], settings: Dynamics, outcomes: Sequence[Outcome]
) -> dict[str, Any]:
    """Length, means over the second half, drift and fluctuation of the conserved energy, and how it ended.

    Args:
        path: of the log.
        last: frames that the systems ended with.
        settings: of the run.
        outcomes: of the systems.

    Returns:
        Facts of the run and its one system; of several, a list ``systems`` with those of each.
    """
    table = read_table(path)
    thermostat = [float(one) for one in numbers(settings.temperature)]
    systems = [
        _of_one(of_system(table, index), frame, outcome)
        | {
            "thermostat_temperature_k": thermostat[index % len(thermostat)] if settings.ensemble != "nve" else None,
            "timestep_fs": float(numbers(settings.timestep)[index % len(numbers(settings.timestep))]),
        }
        for index, (frame, outcome) in enumerate(zip(last, outcomes, strict=True))
    ]
    if len(systems) == 1:
        return {"ensemble": settings.ensemble} | systems[0]
    statuses = [one["status"] for one in systems]
    finished = statuses.count(Status.FINISHED)
    return {
        "ensemble": settings.ensemble,
        "status": "finished" if finished == len(systems) else f"{finished} of {len(systems)} finished",
        "atoms": sum(one["atoms"] for one in systems),
        "steps": max(one["steps"] for one in systems),
        "systems": systems,
    }


def _of_one(table: Table, last: Atoms, outcome: Outcome) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "formula": last.get_chemical_formula(),
        "atoms": len(last),
        "steps": outcome.steps,
        "time_fs": float(last.info["time_fs"]),
        "status": str(outcome.status),
    }
    if outcome.problem:
        facts["remedy"] = f"{outcome.problem} final.xyz holds the last good frame."
    rows = len(table["step"])
    if rows == 0:
        return facts
    for column, name in MEANS.items():
        if column in table and np.isfinite(table[column][rows // 2 :]).all():
            facts[name] = float(table[column][rows // 2 :].mean())
    facts |= {name: float(table[column].max()) for column, name in LARGEST.items() if column in table}
    slope, fluctuation = linear_drift(table["time_fs"] * 1e-3, table["conserved_ev"] * 1e3 / len(last))
    facts |= {"energy_drift_mev_per_atom_per_ps": slope, "energy_fluctuation_mev_per_atom": fluctuation}
    return facts
