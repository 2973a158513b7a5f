"""Signs of trouble, and systems that run on beside one that stopped."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from ase import Atoms
from ase.build import bulk, fcc111

from simkit.dynamics import ForceField, MDState, start, usual_guards
from simkit.dynamics.guards import EnergyJump, LostAtoms, TooHot
from simkit.dynamics.nose_hoover import nose_hoover
from simkit.errors import SimkitError
from simkit.flows import Status, integrate
from simkit.potentials.lennard_jones import LennardJones
from simkit.system import System

ARGON = LennardJones(epsilon=0.0104, sigma=3.4, cutoff=6.0)


def states() -> MDState:
    """A slab, a cluster and a crystal, with energies."""
    slab = fcc111("Ar", (2, 2, 2), a=5.3, vacuum=5.0)
    cluster = Atoms("Ar3", [[0, 0, 0], [0, 0, 3.8], [0, 3.3, 1.9]])
    system = System.from_ase([slab, cluster, bulk("Ar", "fcc", a=5.3, cubic=True)])
    return ForceField(ARGON)(start(system, 20.0, generator=torch.Generator().manual_seed(0)))


def moved(state: MDState, atom: int, by: list[float]) -> MDState:
    positions = state.system.positions.clone()
    positions[atom] += torch.tensor(by)
    return replace(state, system=replace(state.system, positions=positions))


@pytest.mark.parametrize(
    ("atom", "by", "lost"),
    [
        (0, [0.0, 0.0, 500.0], [True, False, False]),  # out of a slab
        (0, [500.0, 500.0, 0.0], [False, False, False]),  # along it
        (8, [150.0, 0.0, 0.0], [False, True, False]),
        (8, [90.0, 0.0, 0.0], [False, False, False]),
        (11, [500.0, 500.0, 500.0], [False, False, False]),  # in a crystal, whose cell has no outside
    ],
)
def test_atoms_are_lost_along_directions_that_are_not_periodic(atom: int, by: list[float], lost: list[bool]) -> None:
    state = states()
    guard = LostAtoms.beyond(state.system, margin=80.0)
    after = moved(state, atom, by)
    assert guard.failed(state, after).tolist() == lost
    if any(lost):
        assert "it has evaporated" in guard.explain(state, after, lost.index(True))


def test_all_atoms_together_may_drift() -> None:
    state = states()
    positions = state.system.positions + 1e4
    after = replace(state, system=replace(state.system, positions=positions))
    assert not LostAtoms.beyond(state.system).failed(state, after).any()


def test_energy_from_nowhere() -> None:
    state = states()
    assert state.energy is not None
    gained = torch.tensor([0.0, 3 * 1.1, -4 * 1.1])
    after = replace(state, energy=state.energy + gained)
    guard = EnergyJump(1.0)
    assert guard.failed(state, after).tolist() == [False, True, True]
    assert "changed by 1.1 eV per atom at once" in guard.explain(state, after, 1)
    assert not guard.failed(state, replace(after, heat=state.heat + gained)).any()
    with pytest.raises(SimkitError, match="apply the force field to it first"):
        guard.failed(state, replace(state, energy=None))


def test_temperature() -> None:
    state = states()
    hot = replace(state, momenta=state.momenta * torch.where(state.system.batch == 1, 10, 1)[:, None])
    assert TooHot(500.0).failed(state, hot).tolist() == [False, True, False]
    assert f"the temperature reached {float(hot.temperature()[1]):.0f} K" in TooHot(500.0).explain(state, hot, 1)


def test_a_thermostat_keeps_its_chain_when_another_system_stops_in_the_first_step() -> None:
    crystal = bulk("Ar", "fcc", a=5.3, cubic=True)
    torn = crystal.copy()
    torn.positions[0] = torn.positions[1] + 0.8
    systems = System.from_ase([torn, crystal])

    def run(system: System, momenta: torch.Tensor) -> MDState:
        forces = ForceField(ARGON)
        state = forces(replace(start(system, 30.0), momenta=momenta))
        flow = nose_hoover(forces, 30.0, 50.0)
        result = integrate(flow, state, 4.0, 25, guards=usual_guards(system), check_every=4)
        assert result.outcomes[-1].status is Status.FINISHED
        return result.state

    momenta = start(systems, 30.0, generator=torch.Generator().manual_seed(0)).momenta
    both = run(systems, momenta)
    alone = run(System.from_ase([crystal]), momenta[4:])
    torch.testing.assert_close(both.system.positions[4:], alone.system.positions, rtol=0, atol=1e-12)
    assert both.chain is not None
    assert alone.chain is not None
    torch.testing.assert_close(both.chain[1:], alone.chain, rtol=0, atol=1e-12)
    torch.testing.assert_close(both.system.positions[:4], systems.positions[:4], rtol=0, atol=0)
