"""Results that must not depend on how the same physical system is described."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from simkit.potential import Potential
from tests.conformance.base import Conformance, results
from tests.conformance.systems import repeated, rotation


class Symmetries(Conformance):
    """Rotation, inversion, translation, permutation, and the choice of the cell."""

    def test_depends_on_geometry(self, model: Potential) -> None:
        """Without forces, most of the other tests could not fail."""
        for system in self.all_systems(model):
            found = results(model, system)
            assert found.forces is not None
            assert float(found.forces.norm(dim=1).min()) > 1e-4
            assert torch.isfinite(found.forces).all()

    @pytest.mark.parametrize("improper", [False, True], ids=["rotation", "rotoinversion"])
    def test_orthogonal_transformations(self, model: Potential, improper: bool) -> None:
        system = self.batch(model)
        matrix = rotation(5, improper)
        turned = results(model, replace(system, positions=system.positions @ matrix.T, cell=system.cell @ matrix.T))
        expected = results(model, system)
        self.equal(turned.energies, expected.energies)
        self.equal(turned.features, expected.features)
        self.equal(turned.forces, None if expected.forces is None else expected.forces @ matrix.T)
        self.equal(turned.virial, None if expected.virial is None else matrix @ expected.virial @ matrix.T)

    def test_translation(self, model: Potential) -> None:
        system = self.batch(model)
        found = results(model, replace(system, positions=system.positions + torch.tensor([3.1, -7.3, 11.7])))
        self._same(found, results(model, system))

    def test_permutation(self, model: Potential) -> None:
        for system in self.all_systems(model):
            order = torch.randperm(system.n_atoms)
            found = results(model, replace(system, positions=system.positions[order], numbers=system.numbers[order]))
            expected = results(model, system)
            self._same(found, expected, order)

    def test_periodic_images_of_atoms(self, model: Potential) -> None:
        system = self.batch(model)
        whole = torch.randint(-3, 4, (system.n_atoms, 3)).double()
        shift = torch.einsum("ai,aij->aj", whole, system.lattice[system.batch])
        self._same(results(model, replace(system, positions=system.positions + shift)), results(model, system))

    @pytest.mark.parametrize(
        "basis",
        [[[1, 0, 0], [1, 1, 0], [0, 0, 1]], [[1, 0, 0], [0, 1, 0], [2, -1, 1]], [[0, 1, 0], [0, 0, 1], [1, 0, 0]]],
        ids=["b+a", "c+2a-b", "cyclic"],
    )
    def test_lattice_basis(self, model: Potential, basis: list[list[int]]) -> None:
        system = self.crystal(model)
        other = replace(system, cell=torch.tensor(basis, dtype=torch.float64) @ system.cell)
        self._same(results(model, other), results(model, system))

    def test_rows_of_non_periodic_axes(self, model: Potential) -> None:
        system = self.batch(model)
        cell = torch.where(system.pbc[:, :, None], system.cell, torch.randn_like(system.cell))
        self._same(results(model, replace(system, cell=cell)), results(model, system))

    def test_supercell(self, model: Potential) -> None:
        system = self.crystal(model)
        one, many = results(model, system), results(model, repeated(system, (2, 1, 3)))
        self.equal(many.energy, 6 * one.energy)
        self.equal(many.forces, None if one.forces is None else one.forces.repeat(6, 1))
        self.equal(many.virial, None if one.virial is None else 6 * one.virial)

    def _same(self, found, expected, order: torch.Tensor | slice = slice(None)) -> None:
        self.equal(found.energy, expected.energy)
        self.equal(found.forces, None if expected.forces is None else expected.forces[order])
        self.equal(found.energies, expected.energies[order])
        self.equal(found.virial, expected.virial)
