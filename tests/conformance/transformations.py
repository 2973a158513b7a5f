"""Batches, floating-point types, files, and the transformations of torch."""

from __future__ import annotations

import copy
import json
import math
from dataclasses import fields, replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.func import functional_call, grad, stack_module_state, vmap

from simkit.evaluation import evaluate
from simkit.graph import make_graph
from simkit.neighbours import build_neighbours
from simkit.potential import Potential
from simkit.system import concatenate
from tests.conformance import systems
from tests.conformance.base import Conformance, moved, results, wanted


class Transformations(Conformance):
    """One potential, used in different ways, gives the same results."""

    compile_backend = "aot_eager"
    float32_tolerance = 2e-4

    def test_capabilities(self, model: Potential) -> None:
        capabilities = model.capabilities
        assert 0 < capabilities.cutoff <= capabilities.interaction_range
        assert list(capabilities.elements) == sorted(set(capabilities.elements))
        assert model.dtype == torch.float64

    @pytest.mark.parametrize(("condition", "plain", "other"), [("charge", 0.0, -1.0), ("spin", 1.0, 3.0)])
    def test_conditions(self, model: Potential, condition: str, plain: float, other: float) -> None:
        """Charge and spin of a system change its results, and no other's, if they are declared and only then."""
        system = replace(self.batch(model), charge=torch.zeros(3), spin=torch.ones(3))
        expected = results(model, system)
        for index in range(system.n_systems):
            values = torch.full((3,), plain)
            values[index] = other
            found = results(model, replace(system, **{condition: values}))
            changed = ~torch.isclose(found.energy, expected.energy, rtol=self.tolerance, atol=0)
            if condition in model.capabilities.conditions:
                assert changed.nonzero().flatten().tolist() == [index]
            else:
                for name in wanted(model):
                    self.equal(getattr(found, name), getattr(expected, name))

    def test_batch_equals_single(self, model: Potential) -> None:
        isolated = systems.make_system(torch.zeros(1, 3), self.chosen(model))
        nothing = systems.make_system(torch.zeros(0, 3), self.chosen(model))
        several = [self.molecule(model), isolated, self.crystal(model), nothing, self.slab(model)]
        joint = results(model, concatenate(several))
        singles = [results(model, system) for system in several]
        for name in ("energy", "energies", "forces", "virial", "features"):
            parts = [getattr(single, name) for single in singles]
            self.equal(getattr(joint, name), None if parts[0] is None else torch.cat(parts))

    def test_inputs_are_not_mutated(self, model: Potential) -> None:
        system = self.batch(model)
        neighbours = build_neighbours(system, model.cutoff)
        inputs = [*_tensors(system), *_tensors(neighbours), *model.state_dict().values()]
        before = [tensor.detach().clone() for tensor in inputs]
        flags = [parameter.requires_grad for parameter in model.parameters()]
        first = evaluate(model, system, neighbours, wanted(model))
        second = evaluate(model, system, neighbours, wanted(model))
        after = [*_tensors(system), *_tensors(neighbours), *model.state_dict().values()]
        assert all(torch.equal(old, new) for old, new in zip(before, after, strict=True))
        assert [parameter.requires_grad for parameter in model.parameters()] == flags
        assert not system.positions.requires_grad
        assert torch.equal(first.energy, second.energy)
        assert all(parameter.grad is None for parameter in model.parameters())

    def test_float32(self, model: Potential) -> None:
        system = self.batch(model)
        exact = results(model, system)
        rough = results(copy.deepcopy(model).to(torch.float32), system.to(dtype=torch.float32))
        assert rough.energy.dtype == torch.float64
        assert rough.forces is not None
        assert rough.forces.dtype == torch.float32
        for name in ("energy", "forces", "virial"):
            found, expected = getattr(rough, name), getattr(exact, name)
            self.equal(None if found is None else found.double(), expected, self.float32_tolerance)

    def test_specification_round_trip(self, model: Potential) -> None:
        from simkit.potentials.catalogue import build

        text = json.dumps(model.specification(), allow_nan=False)
        specification = json.loads(text)
        assert specification["kind"] == model.kind
        copied = type(model).from_config(specification["config"], build).to(model.dtype).eval()
        copied.load_state_dict(model.state_dict(), strict=True)
        assert json.dumps(copied.specification()) == text
        assert copied.capabilities == model.capabilities
        system = self.batch(model)
        found, expected = results(copied, system), results(model, system)
        assert torch.equal(found.energy, expected.energy)
        assert found.forces is not None
        assert expected.forces is not None
        assert torch.equal(found.forces, expected.forces)

    def test_vmap_over_parameters(self, model: Potential) -> None:
        """Energies and forces of an ensemble by ``vmap`` are those of its members."""
        members = [copy.deepcopy(model) for _ in range(3)]
        for index, member in enumerate(members):
            with torch.no_grad():
                for parameter in member.parameters():
                    parameter.mul_(1 + 0.01 * index)
        parameters, buffers = stack_module_state(members)
        if not parameters and not buffers:
            pytest.skip("the potential has neither parameters nor buffers")
        system = self.batch(model)
        neighbours = build_neighbours(system, model.cutoff)

        def energies(state: Any, positions: Tensor) -> tuple[Tensor, Tensor]:
            output = functional_call(model, state, (make_graph(moved(system, positions), neighbours),))
            return output.energies.sum(), output.energies

        gradient, found = vmap(grad(energies, argnums=1, has_aux=True), in_dims=((0, 0), None))(
            (parameters, buffers), system.positions
        )
        for index, member in enumerate(members):
            expected = results(member, system)
            self.equal(found[index], expected.energies)
            self.equal(-gradient[index], expected.forces)
        if parameters:
            totals = found.detach().sum(1).tolist()
            assert not math.isclose(totals[0], totals[2], rel_tol=1e-8)

    @pytest.mark.compiled
    @pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")
    def test_compiled(self, model: Potential) -> None:
        """One compiled graph, without breaks, serves systems of different sizes."""
        compiled = copy.deepcopy(model)
        compiled.compile(fullgraph=True, dynamic=True, backend=self.compile_backend)
        for system in self.all_systems(model):
            found, expected = results(compiled, system), results(model, system)
            self.equal(found.energies, expected.energies)
            self.equal(found.forces, expected.forces)
            self.equal(found.virial, expected.virial)


def _tensors(value: Any) -> list[Tensor]:
    members = [getattr(value, field.name) for field in fields(value)]
    return [member for member in members if isinstance(member, Tensor)]
