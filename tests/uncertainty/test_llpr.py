"""LLPR: the closed forms of a linear model, draws, symmetries, derivatives, files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from simkit.datasets.base import Dataset
from simkit.datasets.combine import MemoryDataset
from simkit.errors import DataError, SimkitError
from simkit.evaluation import evaluate
from simkit.graph import make_graph
from simkit.neighbours import build_neighbours
from simkit.potential import Potential
from simkit.potentials.lennard_jones import LennardJones
from simkit.potentials.model_file import load_model, save_model
from simkit.system import System, concatenate
from simkit.uncertainty.gaussian_posterior import cholesky, variances
from simkit.uncertainty.last_layer import collect_rows, last_layer_rows
from simkit.uncertainty.llpr import LLPR
from tests.conformance import systems
from tests.conformance.battery import Battery
from tests.uncertainty.examples import labelled_water, mace
from tests.uncertainty.linear_potential import SCALES, Linear, design, frames, query, response

OUTPUTS = ("energy", "energies", "forces", "stress")


def fitted(potential: Potential | None = None, data: Dataset | None = None, **options) -> LLPR:
    options = {"scales": SCALES, **options}
    return LLPR.fit(potential or Linear(), data or frames(), **options)


@pytest.fixture(scope="module")
def network() -> LLPR:
    torch.manual_seed(0)
    return fitted(mace(), labelled_water(), scales=None)


class TestBattery(Battery):
    """As a potential it is the one it wraps."""

    spacing = 1.4
    test_compiled = None

    def potential(self) -> Potential:
        return LLPR(mace(), torch.eye(9))


def test_is_the_posterior_of_a_linear_model() -> None:
    """Energies, forces and stress of data of different weight, some without forces, against the normal equations."""
    rows = design(frames())
    posterior = torch.linalg.inv(rows.T @ rows + 0.3 * torch.eye(5))
    f, g = response(query())
    found = fitted(exact=True, jitter=0.3, batch_size=4).predict(query(), outputs=OUTPUTS)
    assert found.energy_std is not None
    assert found.energies_std is not None
    torch.testing.assert_close(found.energy_std[0] ** 2, f @ posterior @ f, rtol=1e-9, atol=0)
    torch.testing.assert_close(
        found.forces_cov, torch.einsum("kai,kl,laj->aij", g, posterior, g), rtol=1e-9, atol=1e-15
    )
    atoms = Linear()(make_graph(query(), build_neighbours(query(), 5.0))).last_layer.detach()
    torch.testing.assert_close(found.energies_std**2, torch.einsum("ak,kl,al->a", atoms, posterior, atoms))


def test_terms_and_default_scales() -> None:
    """Rows of energies alone differ from those with forces; the default scales are the errors of the potential."""
    data = frames()
    energies, used = collect_rows(Linear(), 5, last_layer_rows, data, None, ("energy",), 3, None)
    predicted = [evaluate(Linear(), frame.system, outputs=("energy",)).energy for frame in data]
    errors = [(e - frame.labels.energy) / frame.system.n_atoms for e, frame in zip(predicted, data, strict=True)]
    assert used == {"energy": pytest.approx(float(torch.cat(errors).square().mean().sqrt().detach()), rel=1e-10)}
    joint, used = collect_rows(Linear(), 5, last_layer_rows, data, None, ("energy", "forces"), 3, None)
    assert set(used) == {"energy", "forces"}
    assert float(torch.linalg.eigvalsh(joint - energies).min()) > -1e-9
    assert float((joint - energies).diagonal().min()) > 1


def test_repeated_data_divide_the_variance() -> None:
    data = frames()
    thrice = MemoryDataset([*data, *data, *data])
    once, repeated = (fitted(data=d).predict(query(), outputs=("energy",)).energy_std for d in (data, thrice))
    torch.testing.assert_close(once**2 / repeated**2, torch.tensor([3.0]), rtol=1e-9, atol=0)


def test_more_data_never_raise_the_variance() -> None:
    data = frames()
    extended = MemoryDataset([*data, *frames(1, first=7)])
    for system in (query(), frames(1, first=7)[0].system):
        few, many = (fitted(data=d, exact=True).predict(system) for d in (data, extended))
        assert float(many.energy_std) < float(few.energy_std)
        assert bool((many.force_sigma < few.force_sigma).all())


def test_invariant_under_linear_maps_of_the_features() -> None:
    """Without jitter; with one, which measures lengths of the features, not."""
    mixing = torch.randn(5, 5)
    for jitter, same in ((0.0, True), (10.0, False)):
        found = [
            fitted(potential, jitter=jitter, exact=True).predict(query()) for potential in (Linear(), Linear(5, mixing))
        ]
        close = torch.allclose(found[0].energy_std, found[1].energy_std, rtol=1e-7)
        assert close is same
        assert torch.allclose(found[0].forces_cov, found[1].forces_cov, rtol=1e-6, atol=1e-12) is same


def test_jitter_is_the_smallest_that_works() -> None:
    vector = torch.tensor([1.0, 2.0, 3.0])
    precision = torch.outer(vector, vector)
    factor, jitter = cholesky(precision)
    assert 0 < jitter < 1e-12
    torch.testing.assert_close(factor @ factor.T, precision)
    assert cholesky(torch.eye(3))[1] == 0
    with pytest.raises(SimkitError, match="not positive definite with a jitter of 1e-30"):
        cholesky(-torch.eye(2), 1e-30)
    with pytest.raises(SimkitError, match="not finite"):
        cholesky(torch.full((2, 2), torch.nan))


def test_draws_have_the_posterior_covariance() -> None:
    """Covariances from S draws agree with the closed forms within 5/√S, and the mean of the draws is the model."""
    count = 400
    sampled = fitted(draws=count).predict(query(), outputs=OUTPUTS, samples=count)
    exact = fitted(exact=True, draws=count).predict(query(), outputs=OUTPUTS, samples=count)
    for name in ("forces_cov", "stress_cov"):
        expected, found = getattr(exact, name), getattr(sampled, name)
        assert float((found - expected).norm() / expected.norm()) < 5 / count**0.5
    for found in (sampled, exact):
        assert found.samples is not None
        torch.testing.assert_close(found.samples.energy.mean(0), found.energy)
        torch.testing.assert_close(found.samples.forces.mean(0), found.forces)
        torch.testing.assert_close(found.samples.stress.mean(0), found.stress)
        ratio = found.samples.energy.std(0) / found.energy_std
        assert float((ratio - 1).abs()) < 5 / count**0.5
    torch.testing.assert_close(sampled.samples.forces, exact.samples.forces, rtol=1e-8, atol=1e-10)
    torch.testing.assert_close(sampled.samples.stress, exact.samples.stress, rtol=1e-8, atol=1e-10)


def test_samples_move_the_weights(network: LLPR) -> None:
    """Sample s of a network is the network with other weights in its last layer: energies, forces and stress."""
    system = systems.crystal((1, 8), 1.7, seed=3)
    found = network.predict(system, outputs=OUTPUTS, samples=3)
    assert found.samples is not None
    for index in range(3):
        moved = mace().requires_grad_(False)
        moved.load_state_dict(network.potential.state_dict())
        first, second = moved.readouts
        change = network.posterior.draws[index]
        first.linear.weight += change[:4]
        second.linear_2.weight += change[4:]
        expected = evaluate(moved, system, outputs=("energy", "forces", "stress"))
        torch.testing.assert_close(found.samples.energy[index], expected.energy)
        torch.testing.assert_close(found.samples.forces[index], expected.forces, rtol=1e-7, atol=1e-9)
        torch.testing.assert_close(found.samples.stress[index], expected.stress, rtol=1e-7, atol=1e-9)


def test_predictions_are_those_of_the_potential(network: LLPR) -> None:
    system = concatenate([systems.crystal((1, 8), 1.7, seed=3), systems.crystal((1, 8), 1.6, seed=4)])
    expected = evaluate(network.potential, system, outputs=OUTPUTS)
    for exact in (False, True):
        network.exact = exact
        found = network.predict(system, outputs=OUTPUTS)
        for name in OUTPUTS:
            torch.testing.assert_close(getattr(found, name), getattr(expected, name))
        assert not found.provenance.calibrated
        assert found.provenance.mean == "model"
    network.exact = False
    energies = network.predict(system, outputs=("energy",))
    assert energies.forces is None
    assert energies.forces_cov is None
    torch.testing.assert_close(energies.energy_std, found.energy_std)


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("improper", [False, True])
def test_equivariance(network: LLPR, exact: bool, improper: bool) -> None:
    network.exact = exact
    system = systems.crystal((1, 8), 1.7, seed=3)
    turn = systems.rotation(7, improper)
    order = torch.randperm(system.n_atoms)
    turned = replace(
        system,
        positions=((system.positions + torch.tensor([0.3, -0.2, 0.9])) @ turn.T)[order],
        cell=system.cell @ turn.T,
        numbers=system.numbers[order],
    )
    here, there = network.predict(system, outputs=OUTPUTS), network.predict(turned, outputs=OUTPUTS)
    torch.testing.assert_close(there.forces_cov, (turn @ here.forces_cov @ turn.T)[order], rtol=1e-8, atol=1e-12)
    torch.testing.assert_close(there.force_sigma, here.force_sigma[order], rtol=1e-8, atol=1e-12)
    torch.testing.assert_close(there.energy_std, here.energy_std, rtol=1e-8, atol=0)
    torch.testing.assert_close(there.energies_std, here.energies_std[order], rtol=1e-8, atol=1e-12)
    network.exact = False


def test_deviations_of_forces_add_up_to_zero(network: LLPR) -> None:
    found = network.predict(systems.molecule((1, 8), 1.5), samples=4)
    total = (found.samples.forces - found.forces).sum(1)
    assert float(total.abs().max()) < 1e-10 * float(found.samples.forces.abs().max())


def test_a_supercell_has_the_same_values_per_atom(network: LLPR) -> None:
    atoms = systems.crystal((1, 8), 1.7, seed=3).to_ase()[0]
    one = network.predict(System.from_ase(atoms), outputs=OUTPUTS)
    eight = network.predict(System.from_ase(atoms * (2, 2, 2)), outputs=OUTPUTS)
    torch.testing.assert_close(eight.forces_cov, one.forces_cov.repeat(8, 1, 1), rtol=1e-6, atol=1e-12)
    torch.testing.assert_close(eight.energies_std, one.energies_std.repeat(8), rtol=1e-6, atol=1e-12)
    torch.testing.assert_close(eight.energy_std, 8 * one.energy_std, rtol=1e-6, atol=0)


def test_gradient_of_the_variance(network: LLPR) -> None:
    """By differentiation through the potential against finite differences: ``2 (A⁻¹ f)ᵀ ∂f/∂x``."""
    system = systems.molecule((1, 8), 1.5)
    neighbours = build_neighbours(system, network.cutoff)

    def variance(positions: Tensor) -> Tensor:
        return network.energy_variance(make_graph(replace(system, positions=positions), neighbours)).sum()

    positions = system.positions.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(variance(positions), positions)
    for atom, axis in ((0, 0), (3, 1), (6, 2)):
        step = torch.zeros_like(system.positions)
        step[atom, axis] = 1e-4
        ends = [float(variance(system.positions + s * step).detach()) for s in (1, -1)]
        assert float(gradient[atom, axis]) == pytest.approx((ends[0] - ends[1]) / 2e-4, rel=1e-5, abs=1e-9)
    deviation = network.predict(system, outputs=("energy",)).energy_std
    torch.testing.assert_close(variance(system.positions).detach(), deviation.square().sum())


def test_differences_of_structures(network: LLPR) -> None:
    """Errors that two structures share cancel; draws of the weights show the same deviation."""
    first = systems.crystal((1, 8), 1.7, seed=3)
    second = replace(first, positions=first.positions + 0.02 * torch.randn_like(first.positions))
    pair = concatenate([first, second])
    found = network.difference_std(pair)
    exact = fitted(network.potential, labelled_water(), scales=network.scales, draws=2000)
    energies = exact.predict(pair, outputs=("energy",), samples=2000)
    spread = (energies.samples.energy[:, 0] - energies.samples.energy[:, 1]).std()
    assert float(found[0, 1]) == pytest.approx(float(spread), rel=0.08)
    assert float(found[0, 1]) == float(found[1, 0])
    assert float(found.diagonal().abs().max()) == 0
    assert float(found[0, 1]) < 0.3 * float(energies.energy_std.min())


def test_file_round_trip(network: LLPR, tmp_path: Path) -> None:
    save_model(tmp_path / "llpr.simkit", network)
    loaded = load_model(tmp_path / "llpr.simkit")
    assert isinstance(loaded, LLPR)
    system = systems.crystal((1, 8), 1.7, seed=3)
    found, expected = (model.predict(system, outputs=OUTPUTS, samples=4) for model in (loaded, network))
    for name in ("energy", "energy_std", "energies_std", "forces", "forces_cov", "stress", "stress_cov"):
        assert torch.equal(getattr(found, name), getattr(expected, name)), name
    assert torch.equal(found.samples.forces, expected.samples.forces)
    assert loaded.scales == network.scales
    rough = load_model(tmp_path / "llpr.simkit", dtype=torch.float32)
    assert rough.posterior.factor.dtype == torch.float64
    single = rough.predict(system.to(dtype=torch.float32))
    assert single.forces_cov.dtype == torch.float32
    torch.testing.assert_close(single.energy_std, expected.energy_std, rtol=1e-3, atol=0)
    assert any("Bigi" in citation for citation in loaded.capabilities.citations)


def test_refusals() -> None:
    with pytest.raises(SimkitError, match=r"lennard-jones potential has none.*conformal prediction apply"):
        LLPR.fit(LennardJones(0.01, 3.4, 5.0), frames())
    with pytest.raises(SimkitError, match="precision of 5 weights, found shape"):
        LLPR(Linear(), torch.eye(4))
    with pytest.raises(SimkitError, match="at least two draws"):
        LLPR(Linear(), torch.eye(5), draws=1)
    with pytest.raises(SimkitError, match="at most 4 samples"):
        LLPR(Linear(), torch.eye(5)).predict(query(), samples=9)
    with pytest.raises(SimkitError, match="terms among energy, forces, stress, found dipole"):
        fitted(terms=("dipole",))
    with pytest.raises(SimkitError, match=r"noise of forces has a scale of 0\.0"):
        fitted(scales={"forces": 0.0})
    unlabelled = MemoryDataset([replace(frame, labels=replace(frame.labels, stress=None)) for frame in frames()])
    with pytest.raises(DataError, match="labels of stress"):
        fitted(data=unlabelled, terms=("stress",))


def test_variances_of_many_rows() -> None:
    factor = torch.linalg.cholesky(torch.diag(torch.tensor([4.0, 9.0])))
    rows = torch.tensor([[[2.0, 0.0], [0.0, 3.0]], [[2.0, 3.0], [0.0, 0.0]]])
    torch.testing.assert_close(variances(rows, factor), torch.tensor([[1.0, 1.0], [2.0, 0.0]]))
