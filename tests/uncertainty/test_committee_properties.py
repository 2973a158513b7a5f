"""What every committee of learned potentials must do: symmetries of covariances, samples that are potentials."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from ase import Atoms
from ase.build import make_supercell

from simkit.errors import SimkitError
from simkit.evaluation import evaluate
from simkit.graph import make_graph
from simkit.neighbours import build_neighbours
from simkit.potentials.model_file import save_model
from simkit.system import System
from simkit.uncertainty.base import Committee
from simkit.uncertainty.ensemble import Ensemble
from simkit.uncertainty.shallow_ensemble import ShallowEnsemble
from simkit.uncertainty.stacked import StackedEnsemble
from tests.conformance import systems
from tests.uncertainty.examples import mace, painn
from tests.uncertainty.test_stacked import seeded

OUTPUTS = ("energy", "energies", "forces", "stress")
KINDS = ("apart", "together", "stacked", "shallow")


def committee(kind: str) -> Committee:
    if kind == "shallow":
        return ShallowEnsemble(mace(), 3, width=0.5)
    if kind == "stacked":
        return StackedEnsemble(*seeded(painn, 3))
    return Ensemble(*seeded(painn, 3), together=kind == "together")


def crystal() -> System:
    return systems.crystal((1, 8), 1.8)


@pytest.mark.parametrize("kind", KINDS)
def test_covariances_turn_and_invariants_stay(kind) -> None:
    model, system = committee(kind), crystal()
    turn = -torch.linalg.matrix_exp(torch.tensor([[0, 0.3, -0.8], [-0.3, 0, 0.5], [0.8, -0.5, 0]]))
    order = torch.randperm(system.n_atoms)
    positions = (system.positions @ turn.T + torch.tensor([0.3, -5.0, 2.0]))[order]
    moved = replace(system, positions=positions, numbers=system.numbers[order], cell=system.cell @ turn.T)
    before, after = model.predict(system), model.predict(moved)
    torch.testing.assert_close(after.forces_cov, turn @ before.forces_cov[order] @ turn.T, rtol=1e-8, atol=1e-10)
    torch.testing.assert_close(after.force_sigma, before.force_sigma[order], rtol=1e-8, atol=1e-10)
    torch.testing.assert_close(after.energy_std, before.energy_std, rtol=1e-8, atol=1e-10)
    assert float(before.force_sigma.min()) > 1e-6
    assert not torch.allclose(after.forces_std, before.forces_std[order], rtol=1e-2)


@pytest.mark.parametrize("kind", KINDS)
def test_deviations_of_the_members_exert_no_net_force(kind) -> None:
    found = committee(kind).predict(crystal(), samples=3)
    deviations = found.samples.forces - found.forces
    assert float(deviations.abs().max()) > 1e-6
    torch.testing.assert_close(deviations.sum(1), torch.zeros(3, 3), rtol=0, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_a_supercell_has_the_same_values_of_atoms(kind) -> None:
    """Deviations of the energies of atoms stay; members disagree in all copies alike, so σ_E grows by their number."""
    system, model = crystal(), committee(kind)
    atoms = Atoms(system.numbers.numpy(), system.positions.numpy(), cell=system.cell[0].numpy(), pbc=True)
    large = make_supercell(atoms, [[2, 0, 0], [0, 2, 0], [0, 0, 2]])
    one, eight = model.predict(system, outputs=OUTPUTS), model.predict(System.from_ase(large), outputs=OUTPUTS)
    for name in ("energies_std", "force_sigma"):
        expected, found = getattr(one, name), getattr(eight, name)
        copies = found.sort().values.view(-1, 8)
        torch.testing.assert_close(copies, expected.sort().values[:, None].expand(-1, 8), rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(eight.energy_std, 8 * one.energy_std, rtol=1e-6, atol=0)
    torch.testing.assert_close(eight.stress_cov, one.stress_cov, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_samples_are_potentials(kind) -> None:
    """Forces and stress of each sample are derivatives of its energy, by central differences."""
    model, system = committee(kind), crystal()
    found = model.predict(system, outputs=OUTPUTS, samples=3).samples

    def energies(positions: torch.Tensor, cell: torch.Tensor) -> torch.Tensor:
        changed = replace(system, positions=positions, cell=cell)
        return model.predict(changed, outputs=("energy",), samples=3).samples.energy[:, 0]

    step = 1e-4
    direction = torch.randn_like(system.positions)
    ends = [energies(system.positions + sign * step * direction, system.cell) for sign in (1, -1)]
    slope = (ends[0] - ends[1]) / (2 * step)
    torch.testing.assert_close(-(found.forces * direction).sum((1, 2)), slope, rtol=1e-6, atol=1e-8)
    strain = torch.randn(3, 3)
    strain = 0.5 * (strain + strain.T)
    ends = []
    for sign in (1, -1):
        grow = torch.eye(3) + sign * step * strain
        ends.append(energies(system.positions @ grow, system.cell @ grow))
    slope = (ends[0] - ends[1]) / (2 * step) / system.volume()
    torch.testing.assert_close((found.stress[:, 0] * strain).sum((1, 2)), slope, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("kind", KINDS)
def test_gradient_of_the_variance(kind) -> None:
    """``∂σ²/∂x = -2/(M-1) Σ (E_m - E)(F_m - F)``."""
    model, system = committee(kind), crystal()
    neighbours = build_neighbours(system, model.cutoff)
    positions = system.positions.clone().requires_grad_()
    variance = model.energy_variance(make_graph(replace(system, positions=positions), neighbours))
    (gradient,) = torch.autograd.grad(variance.sum(), positions)
    found = model.predict(system, neighbours, samples=3)
    energies, forces = found.samples.energy[:, 0] - found.energy, found.samples.forces - found.forces
    torch.testing.assert_close(gradient, -torch.einsum("m,mai->ai", energies, forces), rtol=1e-8, atol=1e-10)
    torch.testing.assert_close(variance.detach(), found.energy_std**2)


@pytest.mark.parametrize("kind", KINDS)
def test_mean_forces_derive_from_the_mean_energy(kind) -> None:
    model, system = committee(kind), crystal()
    found, derived = model.predict(system, outputs=OUTPUTS), evaluate(model, system, outputs=OUTPUTS)
    for name in OUTPUTS:
        torch.testing.assert_close(getattr(found, name), getattr(derived, name), rtol=1e-9, atol=1e-10)


def test_an_ensemble_from_files(tmp_path) -> None:
    members = seeded(painn, 2)
    for index, member in enumerate(members):
        save_model(tmp_path / f"{index}.simkit", member)
    paths = [tmp_path / "0.simkit", tmp_path / "1.simkit"]
    found, expected = Ensemble.load(*paths).predict(crystal()), Ensemble(*members).predict(crystal())
    assert torch.equal(found.energy, expected.energy)
    assert torch.equal(found.forces_cov, expected.forces_cov)
    assert Ensemble.load(*paths, dtype="float32").dtype == torch.float32
    with pytest.raises(SimkitError, match="at least one potential"):
        Ensemble.load()
