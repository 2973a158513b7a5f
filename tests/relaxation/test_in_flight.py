"""Many systems in a batch: each as if it were alone."""

import math
from dataclasses import replace

import pytest
import torch
from ase import Atoms

from simkit.errors import SimkitError
from simkit.potential import AtomicOutput
from simkit.potentials.lennard_jones import LennardJones
from simkit.relaxation import Budget, CellFilter, Fire, InFlight, Lbfgs, Status, relax
from simkit.system import System, concatenate


def settings(optimiser, cell):
    return {"optimiser": optimiser, "cell": cell, "fmax": 0.05}


@pytest.mark.parametrize("cell", [None, CellFilter()])
@pytest.mark.parametrize("optimiser", [Fire(), Lbfgs(memory=6)])
def test_no_result_depends_on_the_batch(argon, systems, optimiser, cell):
    systems = systems[:4]
    alone = [relax(argon, one, **settings(optimiser, cell))[0] for one in systems]
    assert len({outcome.steps for outcome in alone}) > 2
    for budget in (Budget(max_atoms=13), Budget()):
        together = relax(argon, systems, budget=budget, **settings(optimiser, cell))
        for index, (a, b) in enumerate(zip(alone, together, strict=True)):
            assert (b.index, b.status, b.steps) == (index, Status.CONVERGED, a.steps)
            assert b.energy == pytest.approx(a.energy, abs=1e-10)
            torch.testing.assert_close(b.system.positions, a.system.positions, atol=1e-10, rtol=0)
            torch.testing.assert_close(b.system.cell, a.system.cell, atol=1e-10, rtol=0)
            torch.testing.assert_close(b.forces, a.forces, atol=1e-10, rtol=0)


def test_waiting_systems_enter_as_others_leave(argon, systems):
    budget = Budget(max_atoms=17)
    run = InFlight(argon, systems, Lbfgs(), fmax=0.01, max_steps=99, cell=None, budget=budget)
    seen, done = [], 0
    while run.working:
        found = run.advance()
        done += len(found.outcomes)
        seen.append(found.batch.system.n_atoms)
    assert max(seen) <= 17
    assert done == len(systems)
    assert run.evaluations == len(seen) < sum(one.steps + 1 for one in relax(argon, systems, fmax=0.01))
    # the last system enters before all of the first batch are done
    assert min(seen[:-12]) > 8


def test_a_batched_system_is_many(argon, systems):
    one, other = (relax(argon, given, fmax=0.1) for given in (systems, concatenate(systems)))
    assert [outcome.energy for outcome in one] == [outcome.energy for outcome in other]


def test_what_cannot_be_relaxed_does_not_stop_the_others(argon, systems):
    broken = systems[1].positions.clone()
    broken[0, 0] = torch.nan
    near = systems[3].positions.clone()
    near[1] = near[0] + 0.01
    given = [
        systems[0],
        replace(systems[1], positions=broken),
        System.from_ase(Atoms("Fe", cell=[9, 9, 9], pbc=True)),
        replace(systems[3], positions=near),
        replace(systems[4], pbc=~systems[4].pbc),
        replace(systems[0], cell=systems[0].cell / 4),
        systems[5],
    ]
    outcomes = relax(argon, given, cell=CellFilter(), fmax=0.05)
    labels = [outcome.status.label for outcome in outcomes]
    assert labels == ["converged", *["refused"] * 5, "converged"]
    words = ("finite positions", "supports Ne Ar", "two atoms are 0.01", "not periodic", "Å³ per atom")
    for outcome, expected in zip(outcomes[1:-1], words, strict=True):
        assert expected in outcome.remedy
        assert math.isnan(outcome.energy)


class Hole(LennardJones):
    """Lennard-Jones whose energy is not a number where the first neon atom is far from the origin."""

    def forward(self, graph):
        energies = super().forward(graph).energies
        system = graph.system
        hollow = (system.numbers == 10) & (system.positions.norm(dim=1) > 0.3)
        return AtomicOutput(energies + torch.where(hollow, torch.nan, 0) * system.positions.sum(1))


def test_a_system_that_explodes_keeps_its_last_good_geometry(argon, systems):
    numbers = systems[2].numbers.clone()
    numbers[0] = 10
    positions = systems[2].positions - systems[2].positions[0] + torch.tensor([0.1, 0.0, 0.0])
    given = [systems[0], replace(systems[2], numbers=numbers, positions=positions), systems[4]]
    hole = Hole(epsilon=0.0104, sigma=3.4, cutoff=7.0, elements=(10, 18))
    outcomes = relax(hole, given, fmax=1e-3, optimiser=Fire(timestep=0.5))
    assert [outcome.status for outcome in outcomes] == [Status.CONVERGED, Status.EXPLODED, Status.CONVERGED]
    exploded = outcomes[1]
    assert "last good geometry" in exploded.remedy
    assert exploded.steps > 0
    assert float(exploded.system.positions[0].norm()) <= 0.3
    (again,) = relax(argon, exploded.system, fmax=1e-3, max_steps=1)
    assert exploded.energy == pytest.approx(again.first_energy, abs=1e-12)
    for k in (0, 2):
        assert outcomes[k].energy == relax(argon, given, fmax=1e-3, optimiser=Fire(timestep=0.5))[k].energy


def test_a_torn_cell_is_an_explosion(argon, crystal):
    system = System.from_ase(crystal())
    (outcome,) = relax(argon, system, optimiser=Fire(), cell=CellFilter(pressure=-1.0), max_steps=200)
    assert outcome.status == Status.EXPLODED
    assert 1 < float(outcome.system.volume() / system.volume()) < 64
    assert math.isfinite(outcome.energy)


def test_steps_are_counted(argon, systems):
    outcome = relax(argon, systems[0], fmax=1e-9, max_steps=3)[0]
    assert (outcome.status, outcome.steps, outcome.force_calls) == (Status.NOT_CONVERGED, 3, 4)
    assert "max_steps" in outcome.remedy
    assert outcome.energy < outcome.first_energy


@pytest.mark.parametrize("wrong", [{"fmax": 0.0}, {"fmax": math.nan}, {"max_steps": 0}])
def test_nonsense_is_refused(argon, systems, wrong):
    with pytest.raises(SimkitError, match="expected"):
        relax(argon, systems, **wrong)


class Direct(LennardJones):
    """Lennard-Jones that predicts its forces: none."""

    def __init__(self, **options):
        super().__init__(**options)
        self.capabilities = replace(self.capabilities, conservative=False)

    def forward(self, graph):
        output = super().forward(graph)
        return output._replace(forces=torch.zeros_like(graph.system.positions))


def test_a_potential_without_virial_relaxes_atoms_only(systems):
    direct = Direct(epsilon=0.0104, sigma=3.4, cutoff=7.0, elements=(10, 18))
    assert relax(direct, systems[0])[0].virial is None
    with pytest.raises(SimkitError, match="has no stress: relax without the cell"):
        relax(direct, systems[0], cell=CellFilter())


def test_cautious_steps_go_downhill_where_the_energy_is_concave(argon):
    """Beyond 1.245 σ the pair potential is concave, and all changes together would push the atoms apart."""
    dimer = System.from_ase(Atoms("Ar2", [[0, 0, 0], [0, 0, 4.4]]))
    distances = []
    for cautious in (True, False):
        (outcome,) = relax(argon, dimer, optimiser=Lbfgs(cautious=cautious, stiffness=1.0), fmax=1e-4)
        distances.append(float(outcome.system.positions.diff(dim=0).norm()))
    assert distances[0] == pytest.approx(2 ** (1 / 6) * 3.4, abs=1e-2)
    assert distances[1] > 4.4
