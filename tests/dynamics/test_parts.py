"""Large batches, evaluated a part at a time."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase.build import bulk

from simkit import System, evaluate
from simkit.dynamics import ForceField, parts, start, velocity_verlet
from simkit.dynamics.parts import Parts, cut
from simkit.neighbours import build_neighbours
from simkit.potentials.lennard_jones import LennardJones
from simkit.relaxation.memory import Meter

POTENTIAL = LennardJones(0.0104, 3.405, cutoff=6.0)
OUTPUTS = ("energy", "forces", "virial")


def limit(monkeypatch, atoms):
    monkeypatch.setattr(parts, "PART_ATOMS", atoms)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)


def crystals(lengths):
    frames = [bulk("Ar", "fcc", a=5.4).repeat((length, 1, 1)) for length in lengths]
    rng = np.random.default_rng(0)
    for frame in frames:
        frame.rattle(0.1, rng=rng)
    return System.from_ase(frames)


@pytest.mark.parametrize("most", [1, 4, 7, 1000])
def test_parts_hold_every_system_once(most):
    system = crystals([3, 1, 9, 2, 2, 4])
    neighbours = build_neighbours(system, 6.0, 0.5)
    found = cut(system, neighbours, most)
    assert sum(part.neighbours.n_edges for part in found) == neighbours.n_edges
    ends = [0, *(part.systems.stop for part in found)]
    assert [part.systems.start for part in found] == ends[:-1]
    assert ends[-1] == system.n_systems
    for part in found:
        one = part.of(system)
        assert one.n_atoms <= most or one.n_systems == 1
        assert one.n_atoms == one.counts.sum() == part.atoms.stop - part.atoms.start


def test_parts_give_what_the_whole_batch_gives(monkeypatch):
    limit(monkeypatch, 5)
    system = crystals([3, 1, 9, 2, 2, 4])
    neighbours = build_neighbours(system, 6.0, 0.5)
    whole = evaluate(POTENTIAL, system, neighbours, OUTPUTS)
    found = Parts().evaluate(POTENTIAL, system, neighbours, OUTPUTS)
    for name in OUTPUTS:
        torch.testing.assert_close(getattr(found, name), getattr(whole, name), rtol=1e-12, atol=1e-12)


def test_dynamics_in_parts_follow_lists_that_are_searched_again(monkeypatch):
    system = crystals([3, 2, 4, 3])
    ends = []
    for most in (10_000, 4):
        limit(monkeypatch, most)
        force_field = ForceField(POTENTIAL, skin=0.1)
        state = start(system, 80.0, generator=torch.Generator().manual_seed(0))
        flow, dt = velocity_verlet(force_field), torch.full((4,), 4.0, dtype=torch.float64)
        for _ in range(60):
            state = flow(state, dt)
        assert force_field.neighbours.builds > 2
        ends.append(state.system.positions)
    torch.testing.assert_close(*ends, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("most", "ratio"), [(50, 2.0), (10_000, 10.01)])
def test_what_an_evaluation_takes_on_the_way_does_not_grow_with_the_number_of_parts(monkeypatch, most, ratio):
    limit(monkeypatch, most)
    peaks = []
    for count in (10, 100):
        system, force_field = crystals([5] * count), ForceField(POTENTIAL)
        force_field(start(system))
        with Meter() as meter:
            force_field(start(system))
        peaks.append(meter.peak)
    assert 0.7 * ratio * peaks[0] < peaks[1] <= ratio * peaks[0]
