"""Derivatives against finite differences of the function they come from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from simkit.evaluation import energy_function, evaluate, hessian_vector_product
from simkit.neighbours import build_neighbours
from simkit.potential import Potential
from simkit.system import System
from tests.conformance.base import Conformance, energy, forces, moved


def difference(function: Callable[[float], Tensor], step: float = 1e-3) -> Tensor:
    """Derivative at zero by the central formula of fourth order."""
    near = function(step) - function(-step)
    far = function(2 * step) - function(-2 * step)
    return (8 * near - far) / (12 * step)


def unit(like: Tensor) -> Tensor:
    """A random direction."""
    vector = torch.randn_like(like)
    return vector / vector.norm()


class Derivatives(Conformance):
    """Forces, virial, stress, second derivatives, and what training differentiates."""

    def test_forces_by_finite_differences(self, model: Potential) -> None:
        for system in self.all_systems(model):
            found = forces(model, system)
            for _ in range(3):
                vector = unit(system.positions)
                expected = -difference(lambda h, v=vector, s=system: energy(model, moved(s, s.positions + h * v)))
                self.equal((found * vector).sum()[None], expected, self.difference_tolerance)

    def test_virial_and_stress_by_finite_differences(self, model: Potential) -> None:
        for system in self.all_systems(model):
            outputs = ("virial", "stress")
            found = evaluate(model, system, outputs=outputs)
            assert found.virial is not None
            assert found.stress is not None
            for _ in range(3):
                strain = unit(system.cell[0])
                strain = 0.5 * (strain + strain.T)
                expected = -difference(lambda h, e=strain, s=system: energy(model, _strained(s, h * e)))
                self.equal((found.virial[0] * strain).sum()[None], expected, self.difference_tolerance)
            self.equal(found.virial, found.virial.mT)
            if system.pbc.all():
                self.equal(found.stress, -found.virial / torch.linalg.det(system.cell).abs())
            else:
                assert found.stress.isnan().all()

    def test_hessian_vector_product(self, model: Potential) -> None:
        for system in self.all_systems(model):
            neighbours = build_neighbours(system, model.cutoff)
            u, v = unit(system.positions), unit(system.positions)
            hu = hessian_vector_product(model, system, neighbours, u)
            hv = hessian_vector_product(model, system, neighbours, v)
            expected = -difference(lambda h, v=v, s=system: forces(model, moved(s, s.positions + h * v)))
            self.equal(hv, expected, 10 * self.difference_tolerance)
            assert float(hv.norm()) > 1e-4
            self.equal((v * hu).sum(), (u * hv).sum(), 1e-8)

    def test_func_grad(self, model: Potential) -> None:
        for system in self.all_systems(model):
            neighbours = build_neighbours(system, model.cutoff)
            function = energy_function(model, system, neighbours)
            found = torch.func.grad(lambda x, f=function: f(x).sum())(system.positions)
            self.equal(-found, forces(model, system))

    def test_gradient_of_a_force_loss(self, model: Potential) -> None:
        """Training differentiates forces with respect to parameters."""
        parameters = [p for p in model.parameters() if p.requires_grad]
        if not parameters:
            return
        system = self.batch(model)

        def loss(create_graph: bool) -> Tensor:
            prediction = evaluate(model, system, outputs=("forces",), create_graph=create_graph)
            assert prediction.forces is not None
            return prediction.forces.square().sum()

        gradients = torch.autograd.grad(loss(True), parameters, allow_unused=True)
        directions = [torch.randn_like(parameter) * parameter.abs().mean() for parameter in parameters]
        expected = difference(lambda h: _with_parameters(parameters, directions, h, lambda: loss(False)), 1e-4)
        found = sum((g * d).sum() for g, d in zip(gradients, directions, strict=True) if g is not None)
        self.equal(torch.as_tensor(found), expected, 100 * self.difference_tolerance)


def _strained(system: System, strain: Tensor) -> System:
    deformation = torch.eye(3) + strain
    return replace(system, positions=system.positions @ deformation, cell=system.cell @ deformation)


def _with_parameters(
    parameters: list[torch.nn.Parameter], directions: list[Tensor], step: float, function: Callable[[], Tensor]
) -> Tensor:
    """``function()`` with the parameters moved by ``step * directions``; they are restored exactly."""
    original = [parameter.detach().clone() for parameter in parameters]
    with torch.no_grad():
        for parameter, direction in zip(parameters, directions, strict=True):
            parameter.add_(direction, alpha=step)
    try:
        return function()
    finally:
        with torch.no_grad():
            for parameter, value in zip(parameters, original, strict=True):
                parameter.copy_(value)
