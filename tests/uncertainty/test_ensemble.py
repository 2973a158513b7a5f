"""Ensembles: statistics of their members, derivatives, symmetries."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from ase.build import bulk
from torch import Tensor

from simkit.errors import SimkitError
from simkit.evaluation import evaluate
from simkit.graph import make_graph
from simkit.neighbours import build_neighbours
from simkit.potential import Potential
from simkit.potentials.lennard_jones import LennardJones
from simkit.potentials.model_file import load_model, save_model
from simkit.system import System
from simkit.uncertainty.ensemble import Ensemble
from tests.conformance.battery import Battery


def argon(k: int) -> LennardJones:
    return LennardJones(epsilon=0.0104 * (1 + 0.1 * k), sigma=3.4 - 0.02 * k, cutoff=5.0 + 0.2 * k)


@pytest.fixture
def ensemble() -> Ensemble:
    return Ensemble(*[argon(k) for k in range(4)])


@pytest.fixture
def crystal() -> System:
    atoms = bulk("Ar", "fcc", a=5.3, cubic=True)
    atoms.rattle(0.1, seed=1)
    return System.from_ase(atoms)


class TestBattery(Battery):
    spacing = 3.4

    def potential(self) -> Potential:
        return Ensemble(*[argon(k) for k in range(3)])

    def crossings(self, model: Potential, pair: tuple[int, int]) -> list[float]:
        return [5.0, 5.2, 5.4]


def test_statistics_of_members(ensemble: Ensemble, crystal: System) -> None:
    outputs = ("energy", "energies", "forces", "stress")
    found = ensemble.predict(crystal, outputs=outputs, samples=4)
    members = [evaluate(argon(k), crystal, outputs=outputs) for k in range(4)]
    energy = torch.stack([member.energy for member in members])
    assert found.energy_std is not None
    assert found.forces_cov is not None
    assert found.samples is not None
    assert torch.allclose(found.energy, energy.mean(0), rtol=1e-12)
    assert torch.allclose(found.energy_std, energy.std(0), rtol=1e-12)
    forces = torch.stack([member.forces for member in members if member.forces is not None])
    assert found.samples.forces is not None
    assert torch.equal(found.samples.forces, forces)
    assert torch.allclose(found.forces_cov[2], torch.cov(forces[:, 2].T), rtol=1e-10, atol=1e-18)
    stress = torch.stack([member.stress for member in members if member.stress is not None])[:, 0]
    voigt = stress[:, [0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
    assert found.stress_cov is not None
    assert torch.allclose(found.stress_cov[0], torch.cov(voigt.T), rtol=1e-10, atol=1e-20)


def test_mean_forces_derive_from_the_mean_energy(ensemble: Ensemble, crystal: System) -> None:
    found = ensemble.predict(crystal)
    derived = evaluate(ensemble, crystal)
    assert found.forces is not None
    assert derived.forces is not None
    assert torch.allclose(found.forces, derived.forces, rtol=1e-10, atol=1e-14)


def test_gradient_of_the_variance(ensemble: Ensemble, crystal: System) -> None:
    """``∂σ²/∂x = -2/(M-1) Σ (E_m - E)(F_m - F)``, by differentiation through ``energy_variance``."""
    neighbours = build_neighbours(crystal, ensemble.cutoff)
    positions = crystal.positions.clone().requires_grad_()
    graph = make_graph(replace(crystal, positions=positions), neighbours)
    variance = ensemble.energy_variance(graph)
    (gradient,) = torch.autograd.grad(variance.sum(), positions)
    found = ensemble.predict(crystal, neighbours, samples=4)
    assert found.samples is not None
    assert found.samples.forces is not None
    assert found.forces is not None
    energies, forces = found.samples.energy[:, 0] - found.energy, found.samples.forces - found.forces
    assert torch.allclose(gradient, -2 / 3 * torch.einsum("m,mai->ai", energies, forces), rtol=1e-9, atol=1e-15)
    assert found.energy_std is not None
    assert torch.allclose(variance, found.energy_std.square())


def rotation() -> Tensor:
    """A rotation followed by an inversion."""
    return -torch.linalg.matrix_exp(torch.tensor([[0, 0.3, -0.8], [-0.3, 0, 0.5], [0.8, -0.5, 0]], dtype=torch.float64))


def test_force_covariance_turns_with_the_system(ensemble: Ensemble, crystal: System) -> None:
    turn = rotation()
    turned = replace(crystal, positions=crystal.positions @ turn.T, cell=crystal.cell @ turn.T)
    before, after = ensemble.predict(crystal), ensemble.predict(turned)
    assert before.forces_cov is not None
    assert after.forces_cov is not None
    assert torch.allclose(after.forces_cov, turn @ before.forces_cov @ turn.T, rtol=1e-8, atol=1e-16)
    assert before.force_sigma is not None
    assert after.force_sigma is not None
    assert torch.allclose(before.force_sigma, after.force_sigma, rtol=1e-9)
    assert not torch.allclose(before.forces_std, after.forces_std, rtol=1e-2)


def test_members_in_another_order(ensemble: Ensemble, crystal: System) -> None:
    other = Ensemble(*[argon(k) for k in (2, 0, 3, 1)]).predict(crystal)
    found = ensemble.predict(crystal)
    assert other.energy_std is not None
    assert other.forces_cov is not None
    assert torch.allclose(other.energy_std, found.energy_std, rtol=1e-10)
    assert torch.allclose(other.forces_cov, found.forces_cov, rtol=1e-10, atol=1e-18)


def test_one_member_has_no_spread(crystal: System) -> None:
    alone = Ensemble(argon(0))
    with pytest.raises(SimkitError, match="at least two members"):
        alone.predict(crystal)


def test_more_samples_than_members(ensemble: Ensemble, crystal: System) -> None:
    with pytest.raises(SimkitError, match="at most 4 samples"):
        ensemble.predict(crystal, samples=5)


def test_file(ensemble: Ensemble, crystal: System, tmp_path: Path) -> None:
    save_model(tmp_path / "model.simkit", ensemble)
    loaded = load_model(tmp_path / "model.simkit")
    assert isinstance(loaded, Ensemble)
    before, after = ensemble.predict(crystal, samples=2), loaded.predict(crystal, samples=2)
    assert torch.equal(before.energy, after.energy)
    assert before.provenance == after.provenance
    assert before.forces_cov is not None
    assert after.forces_cov is not None
    assert torch.equal(before.forces_cov, after.forces_cov)
