"""Sums of potentials: additivity, declared facts, and what cannot be added."""

import math

import pytest
import torch
from ase.build import bulk
from torch import Tensor

from simkit.errors import SimkitError
from simkit.evaluation import evaluate
from simkit.graph import Graph
from simkit.neighbours import build_neighbours
from simkit.potential import AtomicOutput, Capabilities, Potential
from simkit.potentials.catalogue import build
from simkit.potentials.element_shift import ElementShift
from simkit.potentials.lennard_jones import LennardJones
from simkit.potentials.morse import Morse
from simkit.potentials.stillinger_weber import StillingerWeber
from simkit.potentials.sum import Sum
from simkit.system import System

OUTPUTS = ("energy", "energies", "forces", "virial", "stress")


class Stub(Potential):
    """Features and forces that depend on the number of edges, to see what a term is given."""

    kind = "stub"
    weight: Tensor

    def __init__(self, cutoff: float, features: int, conservative: bool = True) -> None:
        super().__init__(Capabilities(cutoff, math.inf, (14,), conservative, citations=("B", "A")))
        self.features = features
        self.register_buffer("weight", torch.ones(features))

    def forward(self, graph: Graph) -> AtomicOutput:
        edges = graph.vectors.new_zeros(graph.system.n_atoms)
        edges = edges.index_add(0, graph.centre, torch.ones_like(graph.vectors[:, 0]))
        features = edges[:, None] * self.weight
        forces = None if self.capabilities.conservative else graph.system.positions * self.features
        return AtomicOutput(edges, features, forces)

    def config(self) -> dict[str, float]:
        return {}


@pytest.fixture
def system() -> System:
    atoms = bulk("Si", cubic=True)
    atoms.rattle(0.1, seed=0)
    return System.from_ase(atoms)


def test_everything_adds(system: System) -> None:
    terms = [StillingerWeber.silicon(), Morse(0.2, 1.4, 2.5, 6.0), LennardJones(0.02, 2.2, 5.0)]
    parts = [evaluate(term, system, outputs=OUTPUTS) for term in terms]
    found = evaluate(Sum(*terms), system, outputs=OUTPUTS)
    for name in OUTPUTS:
        expected = sum(getattr(part, name) for part in parts)
        torch.testing.assert_close(getattr(found, name), expected, rtol=1e-12, atol=1e-12)


def test_declared_facts() -> None:
    joint = Sum(Stub(3.0, 2), Morse(0.2, 1.4, 2.5, 6.0, elements=(14, 29)))
    assert joint.cutoff == 6.0
    assert math.isinf(joint.interaction_range)
    assert joint.capabilities.elements == (14,)
    assert joint.capabilities.citations[:2] == ("B", "A")
    assert len(joint.capabilities.citations) == 3


def test_terms_see_their_own_cutoff_and_features_are_joined(system: System) -> None:
    found = evaluate(Sum(Stub(2.8, 2), Stub(4.5, 3)), system, outputs=("features",)).features
    assert found is not None
    assert found.shape == (8, 5)
    near, far = build_neighbours(system, 2.8).n_edges, build_neighbours(system, 4.5).n_edges
    assert found.sum(0).tolist() == [near] * 2 + [far] * 3


def test_direct_forces_add(system: System) -> None:
    found = evaluate(Sum(Stub(3.0, 1, conservative=False), Stub(3.0, 2, conservative=False)), system)
    torch.testing.assert_close(found.forces, 3 * system.positions)


def test_round_trip_of_nested_sums(system: System) -> None:
    inner = Sum(LennardJones(0.02, 2.2, 5.0), ElementShift(Morse(0.2, 1.4, 2.5, 6.0), {"Si": -4.0}))
    original = Sum(StillingerWeber.silicon(), inner)
    copy = build(original.specification())
    copy.load_state_dict(original.state_dict())
    torch.testing.assert_close(evaluate(copy, system).energy, evaluate(original, system).energy, rtol=0, atol=0)


def test_one_type_of_numbers() -> None:
    with pytest.raises(SimkitError, match=r"one floating-point type.*morse: torch.float32"):
        Sum(StillingerWeber.silicon(), Morse(0.2, 1.4, 2.5, 6.0).to(torch.float32))


def test_float32_with_a_float64_shift(system: System) -> None:
    """Energies per element stay float64; the sum computes, and converts, in the type of its terms."""
    shifted = ElementShift(Morse(0.2, 1.4, 2.5, 6.0).to(torch.float32), {"Si": -7873.123456789})
    joint = Sum(StillingerWeber.silicon().to(torch.float32), shifted)
    assert joint.dtype == torch.float32
    single = evaluate(joint, system.to(dtype=torch.float32)).energy
    double = evaluate(joint.to(torch.float64), system).energy
    assert (single - double).abs().item() < 1e-4


def test_direct_and_conservative_terms_do_not_add() -> None:
    with pytest.raises(SimkitError, match="stub predicts forces directly"):
        Sum(StillingerWeber.silicon(), Stub(3.0, 1, conservative=False))


def test_no_common_element() -> None:
    with pytest.raises(SimkitError, match=r"stillinger-weber: Si; morse: Cu"):
        Sum(StillingerWeber.silicon(), Morse(0.2, 1.4, 2.5, 6.0, elements=(29,)))


def test_nothing_to_add() -> None:
    with pytest.raises(SimkitError, match="at least one"):
        Sum()
