"""Flows of dynamics from the settings of files: pressures in GPa, methods by name."""

from __future__ import annotations

import torch

from simkit.dynamics.bussi import StochasticRescaling
from simkit.dynamics.cell_rescaling import cell_rescaling
from simkit.dynamics.ensembles import ensemble_flow
from simkit.dynamics.force_field import Forces
from simkit.dynamics.martyna_tobias_klein import martyna_tobias_klein
from simkit.dynamics.settings import setting
from simkit.flows import Flow
from simkit.tasks.settings import Dynamics, Numbers, numbers
from simkit.units import GPA


def make_flow(settings: Dynamics, forces: Forces, generator: torch.Generator) -> Flow:
    """The flow of one time step.

    Args:
        settings: of the dynamics.
        forces: of the systems; with a virial at constant pressure.
        generator: of random numbers, on the device of the systems.
    """
    device = generator.device

    def values(name: str, factor: float = 1.0) -> torch.Tensor:
        return _tensor(getattr(settings, name), device) * factor

    if not settings.constant_pressure:
        return ensemble_flow(
            settings.ensemble,  # type: ignore[arg-type]
            forces,
            temperature=values("temperature"),
            friction=values("friction"),
            time_constant=values("time_constant"),
            generator=generator,
        )
    temperature, pressure = values("temperature"), values("pressure", GPA)
    flexible = settings.ensemble.endswith("_flexible")
    if settings.ensemble.startswith("mtk"):
        return martyna_tobias_klein(
            forces,
            temperature,
            pressure,
            time_constant=values("time_constant"),
            cell_time_constant=values("pressure_time_constant"),
            shape=flexible,
            generator=generator,
        )
    thermostat = StochasticRescaling(
        setting(temperature, "temperature in K", above=0),
        setting(values("time_constant"), "time constant in fs", above=0),
        generator,
    )
    return cell_rescaling(
        forces,
        thermostat,
        temperature,
        pressure,
        time_constant=values("pressure_time_constant"),
        compressibility=values("compressibility", 1 / GPA),
        shape=flexible,
        generator=generator,
    )


def _tensor(value: Numbers, device: torch.device) -> torch.Tensor:
    given = numbers(value)
    return torch.tensor(given[0] if len(given) == 1 else given, dtype=torch.float64, device=device)
