"""evaluate: what it returns, what it refuses, analytic values."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from typing import Any, ClassVar

import pytest
import torch
from ase.build import bulk
from torch import Tensor

from simkit.errors import InvalidSystemError, SimkitError, UnsupportedElementError
from simkit.evaluation import (
    OUTPUTS,
    Prediction,
    energy_function,
    evaluate,
    evaluate_several,
    hessian_vector_product,
    total_energy,
)
from simkit.graph import Graph, require_separated
from simkit.neighbours import build_neighbours
from simkit.potential import AtomicOutput, Capabilities, Potential
from simkit.potentials.lennard_jones import LennardJones
from simkit.potentials.morse import Morse
from simkit.potentials.stillinger_weber import StillingerWeber
from simkit.potentials.sum import Sum
from simkit.system import System, concatenate
from tests.conformance import systems

EPSILON, SIGMA = 0.0104, 3.4
MINIMUM = 2 ** (1 / 6) * SIGMA


def argon(cutoff: float = 8.5) -> LennardJones:
    return LennardJones(EPSILON, SIGMA, cutoff)


class Direct(Potential):
    """Predicts forces that are no derivative."""

    kind: ClassVar[str] = "direct"

    def __init__(self) -> None:
        super().__init__(Capabilities(3.0, 3.0, conservative=False))

    def forward(self, graph: Graph) -> AtomicOutput:
        zeros = graph.system.positions.new_zeros(graph.system.n_atoms)
        return AtomicOutput(zeros, features=zeros[:, None], forces=torch.ones_like(graph.system.positions))

    def config(self) -> dict[str, Any]:
        return {}


def test_pair_at_its_minimum() -> None:
    """Energy -ε, no force, curvature 72 ε / (2^{1/3} σ²)."""
    pair = systems.dimers((18, 18), torch.tensor([MINIMUM]))
    found = evaluate(argon(), pair, outputs=("energy", "energies", "forces"))
    assert float(found.energy) == pytest.approx(-EPSILON, abs=1e-15)
    assert found.energies is not None
    assert found.energies.tolist() == pytest.approx([-EPSILON / 2] * 2, abs=1e-15)
    assert found.forces is not None
    assert float(found.forces.abs().max()) < 1e-14
    along = (pair.positions[1] / MINIMUM).expand(2, 3) * torch.tensor([[0.0], [1.0]])
    product = hessian_vector_product(argon(), pair, build_neighbours(pair, 8.5), along)
    curvature = 72 * EPSILON / (2 ** (1 / 3) * SIGMA**2)
    torch.testing.assert_close(product, curvature * torch.stack([-along[1], along[1]]))


def test_pressure_of_a_lattice() -> None:
    """For pair potentials the stress of a cubic lattice is ``Σ r φ'(r) / 6V`` along each axis."""
    lattice, phi = 5.2, lambda r: 4 * EPSILON * ((SIGMA / r) ** 12 - (SIGMA / r) ** 6)
    slope = (phi(lattice + 1e-5) - phi(lattice - 1e-5)) / 2e-5
    cubic = systems.make_system(torch.zeros(1, 3), [18], lattice * torch.eye(3), (True, True, True))
    potential = LennardJones(EPSILON, SIGMA, 7.0, switch_on=6.9)  # six neighbours
    found = evaluate(potential, cubic, outputs=("stress", "virial"))
    assert found.stress is not None
    assert found.virial is not None
    torch.testing.assert_close(
        found.stress[0], 6 * lattice * slope / (6 * lattice**3) * torch.eye(3), atol=1e-11, rtol=0
    )
    torch.testing.assert_close(found.virial, -found.stress * lattice**3)


def test_tension_is_positive() -> None:
    stretched = systems.make_system(torch.zeros(1, 3), [18], 4.5 * torch.eye(3), (True, True, True))
    found = evaluate(argon(), stretched, outputs=("stress",))
    assert found.stress is not None
    assert float(found.stress[0, 0, 0]) > 0


@pytest.mark.parametrize("asked", [(), ("energy",), ("forces",), ("virial", "energies"), ("stress",), ("features",)])
def test_returns_what_was_asked_for(asked: tuple[str, ...]) -> None:
    found = evaluate(argon(), systems.crystal([18], 3.6), outputs=asked)
    present = {field.name for field in fields(Prediction) if getattr(found, field.name) is not None} - {"extra"}
    expected = {"energy", *asked} - {"features"}  # Lennard-Jones has none
    assert present == expected


def test_each_output_alone_equals_all_together() -> None:
    system = concatenate([systems.crystal([18], 3.6), systems.molecule([18], 3.6)])
    together = evaluate(argon(), system, outputs=OUTPUTS)
    for name in OUTPUTS:
        alone = getattr(evaluate(argon(), system, outputs=(name,)), name)
        expected = getattr(together, name)
        assert (alone is None) == (expected is None)
        if alone is not None:
            torch.testing.assert_close(alone, expected, equal_nan=True)


def test_results_are_detached_unless_asked() -> None:
    system = systems.crystal([18], 3.6)
    everything = evaluate(argon(), system, outputs=OUTPUTS)
    kept = evaluate(argon(), system, outputs=OUTPUTS, create_graph=True)
    for name in ("energy", "energies", "forces", "virial", "stress"):
        assert not getattr(everything, name).requires_grad
        assert getattr(kept, name).requires_grad


def test_works_without_gradients_enabled() -> None:
    system = systems.crystal([18], 3.6)
    expected = evaluate(argon(), system, outputs=("forces", "stress"))
    with torch.no_grad():
        found = evaluate(argon(), system, outputs=("forces", "stress"))
        assert not torch.is_grad_enabled()
    assert torch.equal(found.forces, expected.forces)
    assert torch.equal(found.stress, expected.stress)


def test_given_neighbours_may_have_a_skin() -> None:
    system = systems.crystal([18], 3.6)
    exact = evaluate(argon(), system, outputs=("forces",))
    wide = evaluate(argon(), system, build_neighbours(system, 8.5, skin=2.0), outputs=("forces",))
    torch.testing.assert_close(wide.forces, exact.forces, rtol=0, atol=1e-14)


def test_energies_are_summed_in_float64() -> None:
    """A sum in float32 would lose 1 in 2^24."""
    output = AtomicOutput(torch.tensor([2.0**24, 1.0, 1.0], dtype=torch.float32))
    system = systems.make_system(torch.zeros(3, 3), [1])
    assert total_energy(output, system).tolist() == [2.0**24 + 2]


def test_energy_function_is_differentiable_twice() -> None:
    system = systems.molecule([18], 3.6)
    neighbours = build_neighbours(system, 8.5)
    function = energy_function(argon(), system, neighbours)
    hessian = torch.func.jacrev(torch.func.grad(lambda x: function(x).sum()))(system.positions).reshape(21, 21)
    torch.testing.assert_close(hessian, hessian.T)
    vector = torch.randn(7, 3)
    product = hessian_vector_product(argon(), system, neighbours, vector)
    torch.testing.assert_close(product.reshape(-1), hessian @ vector.reshape(-1))
    translation = hessian_vector_product(argon(), system, neighbours, torch.ones(7, 3))
    assert float(translation.abs().max()) < 1e-13


def test_no_pairs_give_zero_derivatives() -> None:
    lone = systems.make_system(torch.zeros(2, 3) + torch.tensor([[0.0], [50.0]]), [18])
    found = evaluate(argon(), lone, outputs=("energy", "forces", "virial"))
    for value in (found.energy, found.forces, found.virial):
        assert value is not None
        assert float(value.abs().max()) == 0
    zero = hessian_vector_product(argon(), lone, build_neighbours(lone, 8.5), torch.ones(2, 3))
    assert float(zero.abs().max()) == 0


def test_forces_of_a_direct_potential() -> None:
    system = systems.molecule([1], 1.0)
    found = evaluate(Direct(), system, outputs=("energy", "forces", "features"))
    assert found.forces is not None
    assert torch.equal(found.forces, torch.ones(7, 3))
    assert found.features is not None
    assert found.features.shape == (7, 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"outputs": ("force",)}, "outputs among energy, energies, forces.*found 'force'"),
        ({"outputs": "forces"}, "expected a sequence of outputs among energy, .*found 'forces'"),
        (
            {"system": systems.crystal([18], 3.6).to(dtype=torch.float32)},
            r"computes in torch.float64.*system.to\(dtype",
        ),
        ({"neighbours": build_neighbours(systems.crystal([18], 3.6), 5.0)}, "ends at 5.0 Å, the potential needs 8.5 Å"),
        (
            {"potential": Direct(), "outputs": ("stress",)},
            "direct potential predicts forces directly and has no stress",
        ),
    ],
    ids=["output", "text", "dtype", "cutoff", "direct"],
)
def test_refusals(change: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {"potential": argon(), "system": systems.crystal([18], 3.6), **change}
    with pytest.raises(SimkitError, match=message):
        evaluate(**arguments)


def test_atoms_on_top_of_one_another() -> None:
    system = systems.make_system(torch.tensor([[0.0, 0, 0], [3.0, 0, 0], [3.0, 0.05, 0]]), [18])
    with pytest.raises(InvalidSystemError, match=r"atoms 1 and 2 are 0\.050 Å apart"):
        require_separated(system, build_neighbours(system, 4.0))
    apart = replace(system, positions=2.1 * system.positions)
    require_separated(apart, build_neighbours(apart, 7.0))
    require_separated(apart, build_neighbours(apart, 0.01))


def test_stress_is_defined_for_three_periodic_axes_only() -> None:
    several = concatenate([systems.crystal([18], 3.6), systems.slab([18], 3.6), systems.molecule([18], 3.6)])
    stress = evaluate(argon(), several, outputs=("stress",)).stress
    assert stress is not None
    assert torch.isfinite(stress[0]).all()
    assert stress[1:].isnan().all()


def test_gradients_reach_parameters() -> None:
    """dE/dε = E/ε for Lennard-Jones, and the same for the forces."""
    model, system = argon(), systems.crystal([18], 3.6)
    found = evaluate(model, system, outputs=("forces",), create_graph=True)
    (by_energy,) = torch.autograd.grad(found.energy.sum(), model.epsilon, retain_graph=True)
    assert float(by_energy) == pytest.approx(float(found.energy.detach()) / EPSILON)
    assert found.forces is not None
    (by_forces,) = torch.autograd.grad(found.forces.square().sum(), model.epsilon)
    assert float(by_forces) == pytest.approx(2 * float(found.forces.detach().square().sum()) / EPSILON)


def test_far_pairs_have_the_dispersion_tail() -> None:
    distances = torch.tensor([6.0, 7.0])
    energy = evaluate(argon(), systems.dimers((18, 18), distances), outputs=("energy",)).energy
    expected = [4 * EPSILON * ((SIGMA / r) ** 12 - (SIGMA / r) ** 6) for r in distances.tolist()]
    assert energy.tolist() == pytest.approx(expected, rel=1e-13)
    assert math.isclose(expected[0] / expected[1], (7 / 6) ** 6, rel_tol=0.05)


def make_empty() -> System:
    return systems.make_system(torch.zeros(0, 3), [18])


def test_no_atoms() -> None:
    found = evaluate(argon(), make_empty(), outputs=("energy", "forces", "virial"))
    assert found.energy.tolist() == [0]
    assert found.forces is not None
    assert found.forces.shape == (0, 3)


def test_detach_keeps_values() -> None:
    value: Tensor = torch.tensor([1.0], requires_grad=True)
    cut = Prediction(energy=value, forces=2 * value[:, None].expand(1, 3)).detach()
    assert not cut.energy.requires_grad
    assert cut.forces is not None
    assert not cut.forces.requires_grad
    assert cut.forces.tolist() == [[2, 2, 2]]


def test_results_are_differentiable_in_positions_that_require_gradients() -> None:
    system = systems.dimers((18, 18), torch.tensor([3.7]))
    positions = system.positions.clone().requires_grad_()
    found = evaluate(argon(), replace(system, positions=positions), create_graph=True)
    assert found.forces is not None
    (slope,) = torch.autograd.grad(found.energy.sum(), positions, retain_graph=True)
    torch.testing.assert_close(-slope, found.forces)
    (curvature,) = torch.autograd.grad(found.forces[0, 0], positions)
    assert float(curvature.abs().max()) > 0


def test_other_elements_are_refused() -> None:
    silicon = StillingerWeber.silicon()
    with pytest.raises(UnsupportedElementError, match=r"supports Si; the system also contains C .*atoms \[0, 1\]"):
        evaluate(silicon, System.from_ase(bulk("C", "diamond", a=3.57)))


class Field(Potential):
    """Depends on vectors, positions and cell alike, as sums over reciprocal space do."""

    kind: ClassVar[str] = "field"

    def __init__(self) -> None:
        super().__init__(Capabilities(5.0, 5.0))
        self.strength = torch.nn.Parameter(torch.tensor(0.3))

    def forward(self, graph: Graph) -> AtomicOutput:
        system = graph.system
        pair = torch.exp(-graph.vectors.norm(dim=1)) * (5.0 - graph.vectors.norm(dim=1)).clamp(min=0) ** 3
        volume = torch.linalg.det(system.cell).abs()[system.batch]
        energies = self.strength * torch.sin(system.positions).prod(1) + 40 / volume
        return AtomicOutput(energies.index_add(0, graph.centre, pair))

    def config(self) -> dict[str, Any]:
        return {}


def test_derivatives_by_positions_and_cells_that_a_potential_sees_itself() -> None:
    """Forces, virial and their derivatives by a parameter, of a batch, against finite differences of the energy."""
    system = concatenate([systems.crystal([18], 3.5), systems.crystal([18], 3.7)])
    neighbours, step = build_neighbours(system, 5.0, 0.5), 1e-5
    model = Field()
    found = evaluate(model, system, neighbours, ("forces", "virial"), create_graph=True)
    assert found.forces is not None
    assert found.virial is not None
    shift, strain = torch.randn_like(system.positions), torch.randn(3, 3)
    strain = strain + strain.T

    def energy(amount: float, deformed: float) -> torch.Tensor:
        matrix = torch.eye(3) + deformed * strain
        moved = replace(system, positions=(system.positions + amount * shift) @ matrix, cell=system.cell @ matrix)
        return evaluate(model, moved, neighbours, ("energy",), create_graph=True).energy.sum()

    work = (energy(step, 0) - energy(-step, 0)) / (2 * step)
    stretching = (energy(0, step) - energy(0, -step)) / (2 * step)
    torch.testing.assert_close(-(found.forces * shift).sum(), work, rtol=1e-7, atol=1e-8)
    torch.testing.assert_close(-(found.virial * strain).sum(), stretching, rtol=1e-7, atol=1e-8)
    for exact, difference in ((-(found.forces * shift).sum(), work), (-(found.virial * strain).sum(), stretching)):
        (slope,) = torch.autograd.grad(exact, model.strength, retain_graph=True)
        (expected,) = torch.autograd.grad(difference, model.strength, retain_graph=True)
        torch.testing.assert_close(slope, expected, rtol=1e-6, atol=1e-7)
    plain = evaluate(model, system, neighbours, ("forces", "virial"))
    torch.testing.assert_close(plain.forces, found.forces.detach())
    torch.testing.assert_close(plain.virial, found.virial.detach())


def test_several_functions_of_one_evaluation() -> None:
    """Each function is differentiated as if it were a potential of its own."""
    system = concatenate([systems.crystal((18,), 3.6), systems.molecule((18,), 3.6)])
    terms = [argon(), Morse(0.3, 1.2, 3.6, cutoff=7.0)]
    both = Sum(*terms)
    expected = [evaluate(term, system, outputs=("energies", "forces", "virial", "stress")) for term in terms]

    class Split(Potential):
        kind = "split"

        def forward(self, graph: Graph) -> AtomicOutput:
            parts = [term(graph).energies for term in terms]
            return AtomicOutput(parts[0] + parts[1], features=torch.stack(parts, 1))

        def config(self) -> dict[str, Any]:
            return {}

    outputs = ("energy", "energies", "forces", "virial", "stress")
    output, found = evaluate_several(Split(both.capabilities), lambda out: out.features.T, system, outputs=outputs)
    assert output.features is not None
    assert not output.features.requires_grad
    for one, other in zip(found, expected, strict=True):
        for name in outputs:
            torch.testing.assert_close(getattr(one, name), getattr(other, name), equal_nan=True)


def test_several_functions_need_a_conservative_potential() -> None:
    with pytest.raises(SimkitError, match="predicts forces directly"):
        evaluate_several(Direct(), lambda out: out.energies[None], systems.molecule((18,), 3.6))
