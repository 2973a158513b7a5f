"""A field that pulls on all atoms moves everything but the centre of mass."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from simkit.dynamics import MDState, start, velocity_verlet
from simkit.dynamics.centre_of_mass import FixedCentreOfMass
from simkit.system import System, concatenate


@dataclass(frozen=True)
class Spring:
    """``E = k/2 Σ |x - x₀|²``, not invariant under translation."""

    constant: float = 0.5
    centre: float = 1.0

    def __call__(self, state: MDState) -> MDState:
        away = state.system.positions - self.centre
        energy = state.sum_over_atoms(0.5 * self.constant * away.square().sum(1))
        return replace(state, energy=energy, forces=-self.constant * away)


def centre(state: MDState) -> torch.Tensor:
    weighted = state.sum_over_atoms(state.masses[:, None] * state.system.positions)
    return weighted / state.sum_over_atoms(state.masses)[:, None]


def molecule(fixed: bool) -> System:
    positions = torch.tensor([[0.0, 0.1, 0.2], [1.2, 0.0, 0.0], [0.0, 1.5, 0.3]], dtype=torch.float64)
    return System(
        positions,
        torch.tensor([8, 1, 6]),
        torch.zeros(1, 3, 3, dtype=torch.float64),
        torch.zeros(1, 3, dtype=torch.bool),
        torch.zeros(3, dtype=torch.int64),
        fixed=torch.tensor([fixed, False, False]),
    )


def run(forces: Spring | FixedCentreOfMass, dt: float) -> tuple[MDState, MDState]:
    system = concatenate([molecule(False), molecule(True)])
    first = start(system, 300.0, generator=torch.Generator().manual_seed(1))
    state, method = first, velocity_verlet(forces)
    for _ in range(round(50 / dt)):
        state = method(state, torch.full((2,), dt, dtype=torch.float64))
    return first, state


def test_centre_of_mass_stays_where_the_field_would_move_it() -> None:
    first, final = run(FixedCentreOfMass(Spring()), 0.5)
    torch.testing.assert_close(centre(final)[0], centre(first)[0], atol=1e-12, rtol=0)
    assert float((final.system.positions - first.system.positions)[:3].norm()) > 0.1
    _, moved = run(Spring(), 0.5)
    assert float((centre(moved) - centre(first))[0].norm()) > 0.1
    torch.testing.assert_close(final.system.positions[3:], moved.system.positions[3:], atol=0, rtol=0)
    torch.testing.assert_close(final.system.positions[3], first.system.positions[3], atol=0, rtol=0)


def test_energy_is_conserved_to_second_order() -> None:
    errors = []
    for dt in (0.5, 0.25):
        first, final = run(FixedCentreOfMass(Spring()), dt)
        energies = [state.energy + state.kinetic_energy() for state in (Spring()(first), final)]
        errors.append(float((energies[1] - energies[0])[0].abs()))
    assert errors[0] < 1e-4
    assert 3 < errors[0] / errors[1] < 5
