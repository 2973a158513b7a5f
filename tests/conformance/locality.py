"""What happens at the cutoff and beyond it."""

from __future__ import annotations

import math
from itertools import combinations_with_replacement

import pytest
import torch
from torch import Tensor

from simkit.evaluation import hessian_vector_product, total_energy
from simkit.graph import make_graph
from simkit.neighbours import build_neighbours
from simkit.potential import Potential
from tests.conformance import systems
from tests.conformance.base import Conformance, energy, forces, moved, results


class Locality(Conformance):
    """Smoothness at the cutoff, declared ranges, isolated atoms and empty graphs."""

    def crossings(self, model: Potential, pair: tuple[int, int]) -> list[float]:
        """Distances in Å where a pair of these elements stops or changes its interaction; the cutoff by default."""
        return [model.cutoff]

    def test_smooth_crossings_of_a_pair(self, model: Potential) -> None:
        """Energies and forces of a pair are continuous, and the force is the slope, on both sides."""
        for pair in combinations_with_replacement(sorted(set(self.chosen(model))), 2):
            scale = float(
                forces(model, systems.dimers(pair, torch.linspace(self.spacing, model.cutoff, 20))).abs().max()
            )
            for distance in self.crossings(model, pair):
                step = 1e-6 * distance
                system = systems.dimers(pair, torch.tensor([distance - step, distance + step]))
                inside, outside = energy(model, system)
                force = forces(model, system)
                assert abs(float(inside - outside)) < 1e-5 * scale * distance
                assert float((force[0] - force[2]).norm()) < 1e-4 * scale

    def test_smooth_crossing_among_others(self, model: Potential) -> None:
        """The same, when the atom that leaves belongs to a cluster."""
        base = self.molecule(model)
        scale = float(forces(model, base).abs().max())
        direction = base.positions[0] - base.positions.mean(0)
        direction = direction / direction.norm()
        step = 1e-6 * model.cutoff
        found = []
        for distance in (model.cutoff - step, model.cutoff + step):
            probe = base.positions[0] + distance * direction
            positions = torch.cat([base.positions, probe[None]])
            system = systems.make_system(positions, [*base.numbers.tolist(), self.chosen(model)[0]])
            found.append((energy(model, system), forces(model, system)))
        assert abs(float(found[0][0] - found[1][0])) < 1e-5 * scale * model.cutoff
        assert float((found[0][1] - found[1][1]).abs().max()) < 1e-4 * scale

    def test_edges_beyond_the_cutoff(self, model: Potential) -> None:
        """A graph built for a longer cutoff gives the same energies and forces."""
        system = self.batch(model)
        found = []
        for cutoff in (model.cutoff, model.cutoff + 1.5):
            positions = system.positions.clone().requires_grad_()
            output = model(make_graph(moved(system, positions), build_neighbours(system, cutoff)))
            (gradient,) = torch.autograd.grad(output.energies.sum(), positions)
            found.append((output.energies.detach(), gradient))
        self.equal(found[1][0], found[0][0])
        self.equal(found[1][1], found[0][1])

    def test_size_consistency(self, model: Potential) -> None:
        """Two groups of atoms farther apart than the interaction range have the sum of their energies."""
        one, two = self.molecule(model), systems.molecule(self.chosen(model), self.spacing, seed=11)
        extent = float(torch.cdist(one.positions, two.positions).max())
        shift = extent + _finite_range(model) + 0.1
        positions = torch.cat([one.positions, two.positions + torch.tensor([shift, 0.0, 0.0])])
        joint = systems.make_system(positions, [*one.numbers.tolist(), *two.numbers.tolist()])
        self.equal(energy(model, joint), energy(model, one) + energy(model, two))
        self.equal(forces(model, joint), torch.cat([forces(model, one), forces(model, two)]))

    def test_interaction_range(self, model: Potential) -> None:
        """In a connected chain, an atom has no influence on energies beyond the declared range."""
        reach = _finite_range(model)
        count = math.ceil(reach / self.spacing) + 4
        chain = systems.chain(self.chosen(model), self.spacing, count)
        other = chain.positions.clone()
        other[0] += 0.1 * self.spacing * torch.tensor([-1.0, 0.5, 0.3])
        before, after = results(model, chain).energies, results(model, moved(chain, other)).energies
        assert before is not None
        assert after is not None
        nearest = torch.minimum((other - other[0]).norm(dim=1), (chain.positions - chain.positions[0]).norm(dim=1))
        assert int((nearest > reach).sum()) >= 1
        self.equal(after[nearest > reach], before[nearest > reach])
        assert float((after - before).abs().max()) > 1e-6

    def test_isolated_atoms(self, model: Potential) -> None:
        for number in self.chosen(model):
            single = systems.make_system(torch.tensor([[0.3, 0.2, -0.1]]), [number])
            found = results(model, single)
            assert torch.isfinite(found.energy).all()
            self._vanishes(found.forces)
            self._vanishes(found.virial)
            far = systems.dimers((number, number), torch.tensor([_finite_range(model) + 1.0]))
            self.equal(energy(model, far), 2 * found.energy)

    @pytest.mark.parametrize("count", [0, 3])
    def test_graphs_without_edges(self, model: Potential, count: int) -> None:
        positions = 4 * _finite_range(model) * torch.arange(3 * count, dtype=torch.float64).reshape(count, 3)
        system = systems.make_system(positions, self.chosen(model))
        graph = make_graph(system, build_neighbours(system, model.cutoff))
        assert graph.centre.shape == (0,)
        output = model(graph)
        assert output.energies.shape == (count,)
        assert output.features is None or output.features.shape[0] == count
        assert torch.isfinite(total_energy(output, system)).all()
        found = results(model, system)
        assert found.forces is not None
        assert found.forces.shape == (count, 3)
        self._vanishes(found.forces)

    def test_symmetric_structures(self, model: Potential) -> None:
        """Vector quantities that vanish by symmetry make no NaN, and forces vanish too."""
        element = self.chosen(model)[:1]
        cubic = systems.make_system(torch.zeros(1, 3), element, self.spacing * torch.eye(3), (True, True, True))
        found = results(model, cubic)
        assert found.forces is not None
        assert found.energy.shape == (1,)
        assert found.forces.shape == (1, 3)
        assert float(found.forces.abs().max()) < 1e-9 * max(1.0, abs(float(found.energy)))
        if found.virial is not None:
            pressure = found.virial.diagonal(dim1=1, dim2=2).mean()
            self.equal(found.virial, pressure * torch.eye(3)[None])
        row = torch.tensor([[0.0, 0.0, 1.0]]) * self.spacing * torch.arange(-2, 3)[:, None]
        straight = systems.make_system(row, element)
        linear = forces(model, straight)
        assert torch.isfinite(linear).all()
        assert float(linear[:, :2].abs().max()) < 1e-9 * max(1.0, float(linear.abs().max()))
        for system in (cubic, straight, systems.make_system(torch.zeros(1, 3), element)):
            neighbours = build_neighbours(system, model.cutoff)
            product = hessian_vector_product(model, system, neighbours, torch.ones_like(system.positions))
            assert float(product.abs().max()) < 1e-6  # a translation; NaN fails too

    def _vanishes(self, value: Tensor | None) -> None:
        assert value is None or value.numel() == 0 or float(value.abs().max()) < 1e-12


def _finite_range(model: Potential) -> float:
    if math.isinf(model.interaction_range):
        pytest.skip("the potential declares an infinite interaction range")
    return model.interaction_range
