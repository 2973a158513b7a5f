"""Velocity Verlet and its compositions against the harmonic oscillator and against ASE."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import units
from ase.build import bulk
from ase.md.verlet import VelocityVerlet

from simkit import Calculator
from simkit.dynamics import ForceField, MDState, start, velocity_verlet
from simkit.flows import Flow, yoshida4
from simkit.potentials.lennard_jones import LennardJones
from simkit.system import System

ARGON = LennardJones(epsilon=0.0104, sigma=3.4, cutoff=8.0)


def argon(temperature: float = 40.0) -> MDState:
    system = System.from_ase(bulk("Ar", "fcc", a=5.3, cubic=True))
    return start(system, temperature, generator=torch.Generator().manual_seed(1))


def after(flow: Flow, state: MDState, dt: float, time: float) -> MDState:
    steps = round(time / dt)
    for _ in range(steps):
        state = flow(state, torch.tensor([time / steps]))
    return state


def total_energy(state: MDState) -> float:
    assert state.energy is not None
    return float(state.energy + state.kinetic_energy())


def test_one_step_is_ase_s() -> None:
    state = argon()
    atoms = state.system.to_ase()[0]
    atoms.set_momenta(state.momenta.numpy() * units.fs)
    atoms.calc = Calculator(ARGON)
    VelocityVerlet(atoms, 2 * units.fs).run(20)
    final = after(velocity_verlet(ForceField(ARGON)), state, 2.0, 40.0)
    np.testing.assert_allclose(final.system.positions, atoms.positions, atol=1e-9)


@pytest.mark.parametrize(("order", "flow"), [(2, "verlet"), (4, "yoshida")])
def test_order(order: int, flow: str) -> None:
    verlet = velocity_verlet(ForceField(ARGON))
    method = verlet if flow == "verlet" else yoshida4(verlet)
    exact = after(yoshida4(verlet), argon(), 2.0, 80.0)
    errors = [
        float((after(method, argon(), dt, 80.0).system.positions - exact.system.positions).norm()) for dt in (16.0, 8.0)
    ]
    assert np.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.1)


def test_one_evaluation_per_step() -> None:
    forces = ForceField(ARGON)
    after(velocity_verlet(forces), argon(), 2.0, 20.0)
    assert forces.evaluations == 11


def test_each_system_has_its_own_time_step() -> None:
    from simkit.system import concatenate

    one = argon().system
    both = start(concatenate([one, one]), [40.0, 40.0], generator=torch.Generator().manual_seed(1))
    final = velocity_verlet(ForceField(ARGON))(both, torch.tensor([0.0, 2.0]))
    half = one.n_atoms
    torch.testing.assert_close(final.system.positions[:half], one.positions, atol=0, rtol=0)
    assert final.time.tolist() == [0.0, 2.0]
    assert float((final.system.positions[half:] - one.positions).abs().max()) > 1e-3
