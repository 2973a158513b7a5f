"""Every thermostat samples the canonical ensemble of an anharmonic crystal, and keeps the rules of all flows."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

from simkit.dynamics.ensembles import Ensemble, ensemble_flow
from simkit.dynamics.force_field import ForceField
from simkit.dynamics.state import MDState, start
from simkit.errors import SimkitError
from simkit.units import BOLTZMANN
from tests.dynamics.ensemble_checks import assert_slope, independent, kinetic_energy_probability
from tests.dynamics.models import ARGON, Springs, crystals, oscillators

THERMOSTATS: tuple[Ensemble, ...] = ("langevin", "bussi", "nose_hoover")
LOW, HIGH = 30.0, 38.0
SYSTEMS = 160


@cache
def sampled(ensemble: Ensemble) -> tuple[np.ndarray, np.ndarray]:
    """Kinetic and potential energies of crystals at two temperatures in turn, with the shape (times, systems)."""
    temperatures = torch.tensor([LOW, HIGH]).repeat(SYSTEMS // 2)
    generator = torch.Generator().manual_seed(4)
    state = start(crystals(SYSTEMS), 2 * temperatures, generator=generator)
    flow = ensemble_flow(
        ensemble, ForceField(ARGON), temperature=temperatures, friction=0.01, time_constant=60.0, generator=generator
    )
    heating = ensemble_flow("langevin", ForceField(ARGON), temperature=temperatures, generator=generator)
    kinetic, potential = [], []
    dt = torch.full((SYSTEMS,), 8.0)
    for step in range(280):
        state = (heating if step < 80 else flow)(state, dt)
        if step >= 100 and step % 8 == 0:
            assert state.energy is not None
            kinetic.append(state.kinetic_energy())
            potential.append(state.energy)
    return torch.stack(kinetic).numpy(), torch.stack(potential).numpy()


@pytest.mark.parametrize("ensemble", THERMOSTATS)
def test_kinetic_energies(ensemble: Ensemble) -> None:
    kinetic, _ = sampled(ensemble)
    for column, temperature in enumerate((LOW, HIGH)):
        samples = independent(kinetic[:, column::2])
        assert len(samples) > 400
        assert kinetic_energy_probability(samples, 21, temperature) > 1e-3
        assert kinetic_energy_probability(samples, 21, 1.1 * temperature) < 1e-3


@pytest.mark.parametrize("ensemble", THERMOSTATS)
def test_potential_energies_at_two_temperatures(ensemble: Ensemble) -> None:
    _, potential = sampled(ensemble)
    low, high = (independent(potential[:, column::2]) for column in range(2))
    assert_slope(low, high, 1 / (BOLTZMANN * LOW) - 1 / (BOLTZMANN * HIGH), relative_error=0.15)


def crystal_run(ensemble: Ensemble, dt: float, time: float, seed: int = 1) -> tuple[MDState, float]:
    """The last state, and the largest deviation of total energy less heat."""
    forces = ForceField(ARGON)
    state = forces(start(crystals(1), 40.0, generator=torch.Generator().manual_seed(1)))
    flow = ensemble_flow(
        ensemble, forces, temperature=60.0, time_constant=50.0, generator=torch.Generator().manual_seed(seed)
    )
    invariants = []
    for _ in range(round(time / dt)):
        state = flow(state, torch.tensor([dt]))
        assert state.energy is not None
        invariants.append(float(state.energy + state.kinetic_energy() - state.heat))
    return state, float(np.ptp(invariants))


@pytest.mark.parametrize("ensemble", ["nve", *THERMOSTATS])
def test_total_energy_less_heat_is_conserved_to_second_order(ensemble: Ensemble) -> None:
    (state, coarse), (_, fine) = crystal_run(ensemble, 8.0, 320.0), crystal_run(ensemble, 2.0, 320.0)
    assert coarse < 0.02 * float(state.kinetic_energy())
    assert np.log2(coarse / fine) / 2 == pytest.approx(2, abs=0.5)


@pytest.mark.parametrize("ensemble", THERMOSTATS)
def test_seed(ensemble: Ensemble) -> None:
    first, again, other = (crystal_run(ensemble, 8.0, 80.0, seed)[0].system.positions for seed in (1, 1, 2))
    torch.testing.assert_close(first, again, rtol=0, atol=0)
    assert torch.equal(first, other) == (ensemble == "nose_hoover")


@pytest.mark.parametrize("ensemble", ["nve", *THERMOSTATS])
def test_a_system_without_step_stays(ensemble: Ensemble) -> None:
    state = start(oscillators(3, 4), 100.0)
    state = replace(state, system=replace(state.system, positions=torch.randn(12, 3)))
    after = ensemble_flow(ensemble, Springs(1.0))(state, torch.tensor([2.0, 0.0, 2.0]))
    for name in ("momenta", "masses"):
        torch.testing.assert_close(getattr(after, name)[4:8], getattr(state, name)[4:8], rtol=0, atol=0)
    torch.testing.assert_close(after.system.positions[4:8], state.system.positions[4:8], rtol=0, atol=0)
    assert float(after.time[1]) == float(after.heat[1]) == 0
    assert float((after.momenta - state.momenta).abs().view(3, -1).amax(1)[[0, 2]].min()) > 0


@pytest.mark.parametrize("ensemble", ["nve", *THERMOSTATS])
def test_fixed_atoms_and_one_evaluation_per_step(ensemble: Ensemble) -> None:
    system = replace(oscillators(2, 3), fixed=torch.tensor([True, False, False, False, False, False]))
    state = start(replace(system, positions=torch.randn(6, 3)), 100.0)
    springs = Springs(1.0)
    flow, after = ensemble_flow(ensemble, springs), state
    for _ in range(10):
        after = flow(after, torch.ones(2))
    assert springs.evaluations == 11
    torch.testing.assert_close(after.system.positions[0], state.system.positions[0], rtol=0, atol=0)
    assert float(after.momenta[0].abs().max()) == 0
    assert float((after.system.positions[1:] - state.system.positions[1:]).abs().min()) > 0


@pytest.mark.parametrize("ensemble", ["nve", "nose_hoover"])
def test_one_system_of_a_batch_is_as_alone(ensemble: Ensemble) -> None:
    """Deterministic flows move a system as if the others were not there."""
    state = start(replace(oscillators(2, 3), positions=torch.randn(6, 3)), 100.0)
    one = start(replace(oscillators(1, 3), positions=state.system.positions[3:]), 1.0)
    one = replace(one, momenta=state.momenta[3:])
    flow = ensemble_flow(ensemble, Springs(1.0))
    for _ in range(5):
        state, one = flow(state, torch.ones(2)), flow(one, torch.ones(1))
    torch.testing.assert_close(state.momenta[3:], one.momenta)


def test_states_keep_their_type() -> None:
    system = oscillators(2, 3).to(dtype=torch.float32)
    for ensemble in ("nve", *THERMOSTATS):
        state = ensemble_flow(ensemble, Springs(1.0))(start(system, 100.0), torch.ones(2))
        assert state.momenta.dtype == state.system.positions.dtype == torch.float32
        assert state.heat.dtype == torch.float64


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temperature": -1.0}, "finite temperature in K of at least 0, found -1"),
        ({"temperature": [300.0, float("nan")]}, "finite temperature in K .* found nan"),
        ({"temperature": torch.full((1, 1), 300.0)}, r"one temperature in K.* shape \(1, 1\)"),
        ({"friction": -0.1}, "friction in 1/fs of at least 0, found -0.1"),
        ({"ensemble": "bussi", "time_constant": 0.0}, "time constant in fs above 0, found 0"),
    ],
)
def test_settings_out_of_bounds(settings: dict, message: str) -> None:
    with pytest.raises(SimkitError, match=message):
        ensemble_flow(**({"ensemble": "langevin", "force_field": Springs(1.0)} | settings))


@pytest.mark.parametrize("ensemble", THERMOSTATS)
def test_one_temperature_for_each_system(ensemble: Ensemble) -> None:
    flow = ensemble_flow(ensemble, Springs(1.0), temperature=[300.0, 400.0])
    with pytest.raises(SimkitError, match="one for each of the 3 systems; found 2"):
        flow(start(oscillators(3, 2), 100.0), torch.ones(3))
