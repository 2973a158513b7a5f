"""Potentials say in which features their learned energy is linear."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from simkit.graph import make_graph
from simkit.neighbours import build_neighbours
from simkit.potential import AtomicOutput, Potential
from simkit.potentials.lennard_jones import LennardJones
from simkit.potentials.mace import MACE
from simkit.potentials.painn import PaiNN
from simkit.potentials.sum import Sum
from tests.conformance import systems
from tests.uncertainty.examples import mace, painn


def outputs(potential: Potential, head: int = 0) -> AtomicOutput:
    system = replace(systems.molecule((1, 8), 1.4), head=torch.tensor([head]))
    return potential(make_graph(system, build_neighbours(system, potential.cutoff)))


def head_weights(potential: Potential, head: int) -> list[Tensor]:
    """Parts of the weights of the final linear maps that lead to a head's energies."""
    if isinstance(potential, PaiNN):
        last = potential.readout[2]
        return [last.weight[head], last.bias[head : head + 1]]
    assert isinstance(potential, MACE)
    n_heads = len(potential.architecture["heads"])
    first, second = potential.readouts
    hidden = second.linear_2.weight.view(-1, n_heads)
    width = hidden.shape[0] // n_heads
    return [first.linear.weight.view(-1, n_heads)[:, head], hidden[head * width : (head + 1) * width, head]]


@pytest.mark.parametrize("head", [0, 1])
@pytest.mark.parametrize("make", [mace, painn])
def test_energy_is_linear(make, head: int) -> None:
    """Moved weights of the final linear maps move the energies by the features times the move, whatever its size."""
    potential = make(heads=2).requires_grad_(False)
    before = outputs(potential, head)
    moved = copy.deepcopy(potential)
    parts = head_weights(moved, head)
    moves = [3 * torch.randn_like(part) for part in parts]
    for part, move in zip(parts, moves, strict=True):
        part += move
    after = outputs(moved, head)
    assert before.last_layer is not None
    change = before.last_layer @ torch.cat(moves)
    torch.testing.assert_close(after.energies - before.energies, change, rtol=1e-12, atol=1e-10)
    torch.testing.assert_close(after.last_layer, before.last_layer, rtol=0, atol=0)
    assert float(change.abs().min()) > 1e-3


def test_weights_times_features_are_the_learned_energies() -> None:
    potential = mace(heads=1)
    found = outputs(potential)
    expected = found.last_layer @ torch.cat(head_weights(potential, 0))
    index = potential.element_index(systems.molecule((1, 8), 1.4).numbers)
    constant = potential.reference_energies(index) + potential.scale_shift.shift[0]
    torch.testing.assert_close(found.energies - constant, expected, rtol=1e-12, atol=1e-9)


def test_sums_join_the_features_of_their_terms() -> None:
    potential = mace(heads=1)
    alone, joint = outputs(potential), outputs(Sum(LennardJones(0.01, 1.2, 3.0), potential))
    torch.testing.assert_close(joint.last_layer, alone.last_layer)
    assert outputs(LennardJones(0.01, 1.2, 3.0)).last_layer is None
