"""What the log of molecular dynamics says: temperature, conservation of energy."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from simkit.csv_tables import read_table

if TYPE_CHECKING:
    from simkit.tasks.settings import Dynamics


def linear_drift(time: Float[ndarray, " rows"], values: Float[ndarray, " rows"]) -> tuple[float, float]:
    """Slope of the least-squares line through ``values`` over ``time``, and the standard deviation about that line."""
    if len(time) < 2:
        return 0.0, 0.0
    slope, offset = np.polyfit(time - time.mean(), values, 1)
    return float(slope), float(np.std(values - slope * (time - time.mean()) - offset))


def summarise_log(path: str | os.PathLike[str], n_atoms: int, settings: Dynamics) -> dict[str, Any]:
    """Length of a run, mean temperature (second half of it) and, for NVE, drift and fluctuation of the energy."""
    summary: dict[str, Any] = {
        "ensemble": settings.ensemble,
        "timestep_fs": settings.timestep,
        "thermostat_temperature_k": settings.temperature if settings.ensemble != "nve" else None,
        "atoms": n_atoms,
        "steps": 0,
        "time_fs": 0.0,
    }
    table = read_table(path)
    if not table or len(table["step"]) == 0:
        return summary
    half = len(table["step"]) // 2
    summary |= {
        "steps": int(table["step"][-1]),
        "time_fs": float(table["time_fs"][-1]),
        "mean_temperature_k": float(table["temperature_k"][half:].mean()),
    }
    if settings.ensemble == "nve":
        slope, fluctuation = linear_drift(table["time_fs"] * 1e-3, table["total_ev"] * 1e3 / n_atoms)
        summary |= {
            "energy_drift_mev_per_atom_per_ps": slope,
            "energy_fluctuation_mev_per_atom": fluctuation,
        }
    return summary
