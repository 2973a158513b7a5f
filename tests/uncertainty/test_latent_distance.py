"""Latent distance: Mahalanobis' distance per element, mixtures, new surroundings, files, the gate."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from simkit.datasets.base import Frame, Labels
from simkit.datasets.combine import MemoryDataset
from simkit.errors import DataError, SimkitError, SimkitWarning
from simkit.evaluation import evaluate
from simkit.graph import make_graph
from simkit.neighbours import build_neighbours
from simkit.potential import Potential
from simkit.potentials.lennard_jones import LennardJones
from simkit.potentials.model_file import load_model, save_model
from simkit.system import System, concatenate
from simkit.uncertainty.domain_gate import DomainGate, system_scores
from simkit.uncertainty.latent_distance import LatentDistance
from tests.conformance import systems
from tests.conformance.battery import Battery
from tests.uncertainty.examples import mace, painn


def water(count: int = 24, rattle: float = 0.05, first: int = 0, elements: tuple[int, ...] = (1, 8)) -> MemoryDataset:
    made = []
    for index in range(first, first + count):
        system = systems.crystal(elements, 1.7, seed=3, rattle=0.1)
        generator = torch.Generator().manual_seed(index)
        noise = rattle * torch.randn(system.positions.shape, generator=generator)
        made.append(Frame(replace(system, positions=system.positions + noise), Labels(), name=f"water:{index}"))
    return MemoryDataset(made)


@pytest.fixture(scope="module")
def potential() -> Potential:
    torch.manual_seed(0)
    return mace().requires_grad_(False)


@pytest.fixture(scope="module")
def fitted(potential: Potential) -> LatentDistance:
    return LatentDistance.fit(potential, water(), batch_size=5)


def scores(model: LatentDistance, data: MemoryDataset) -> torch.Tensor:
    found = model.predict(concatenate([frame.system for frame in data]))
    assert found.score is not None
    return found.score


class TestBattery(Battery):
    """As a potential it is the one it wraps."""

    spacing = 1.4
    test_compiled = None

    def potential(self) -> Potential:
        return LatentDistance.fit(mace(), water(), density="mixture", components=2)


def test_is_mahalanobis_distance_per_element(potential: Potential, fitted: LatentDistance) -> None:
    def rows(data: MemoryDataset, number: int) -> torch.Tensor:
        found = [evaluate(potential, frame.system, outputs=("features",)).features for frame in data]
        kept = torch.cat([frame.system.numbers == number for frame in data])
        return torch.cat(found)[kept]

    fresh = water(3, first=100)
    numbers = torch.cat([frame.system.numbers for frame in fresh])
    for number in (1, 8):
        x = rows(water(), number)
        scaled = (x - x.mean(0)) / x.std(0, correction=0)
        inverse = torch.linalg.inv(torch.cov(scaled.T, correction=0) + 1e-6 * torch.eye(x.shape[1]))
        z = (rows(fresh, number) - x.mean(0)) / x.std(0, correction=0)
        expected = (z @ inverse * z).sum(1).sqrt()
        torch.testing.assert_close(scores(fitted, fresh)[numbers == number], expected, rtol=1e-6, atol=1e-9)


def test_training_atoms_have_the_dimension_as_mean_square(fitted: LatentDistance) -> None:
    """The mean of the squared distance over the data that a Gaussian was fitted to is its number of dimensions."""
    assert float(scores(fitted, water()).square().mean()) == pytest.approx(8, rel=0.02)


@pytest.mark.parametrize("density", ["mahalanobis", "mixture"])
@pytest.mark.parametrize("space", ["features", "last_layer"])
def test_new_surroundings_are_far(potential: Potential, density, space) -> None:
    model = LatentDistance.fit(potential, water(60), density=density, space=space, components=3)
    inside, outside = (scores(model, water(10, rattle, first=200)) for rattle in (0.05, 0.15))
    assert float(outside.median()) > 2 * float(inside.median())


def test_symmetries(fitted: LatentDistance) -> None:
    system = water(1, first=300)[0].system
    turn = systems.rotation(5, True)
    order = torch.randperm(system.n_atoms)
    turned = replace(
        system,
        positions=(system.positions @ turn.T)[order],
        cell=system.cell @ turn.T,
        numbers=system.numbers[order],
    )
    here = fitted.predict(system).score
    torch.testing.assert_close(fitted.predict(turned).score, here[order], rtol=1e-8, atol=1e-10)
    eight = System.from_ase(system.to_ase()[0] * (2, 2, 2))
    torch.testing.assert_close(fitted.predict(eight).score, here.repeat(8), rtol=1e-6, atol=1e-10)


def test_predictions_are_those_of_the_potential(potential: Potential, fitted: LatentDistance) -> None:
    system = water(1, first=300)[0].system
    outputs = ("energy", "energies", "forces", "stress")
    for model in (fitted, LatentDistance.fit(painn(), water(), space="last_layer")):
        found, expected = model.predict(system, outputs=outputs), evaluate(model.potential, system, outputs=outputs)
        for name in outputs:
            torch.testing.assert_close(getattr(found, name), getattr(expected, name))
        assert found.energy_std is None
        assert found.forces_cov is None
        graph = make_graph(system, build_neighbours(system, model.cutoff))
        torch.testing.assert_close(model.score(graph).detach(), found.score, rtol=1e-6, atol=1e-8)


def test_unknown_elements_are_infinitely_far(potential: Potential) -> None:
    model = LatentDistance.fit(potential, water(elements=(1,)))
    found = model.predict(water(1)[0].system)
    assert torch.isinf(found.score).tolist() == (water(1)[0].system.numbers == 8).tolist()


def test_claims_no_deviation(fitted: LatentDistance) -> None:
    system = water(1)[0].system
    with pytest.raises(SimkitError, match="a score and claims no variance"):
        fitted.energy_variance(make_graph(system, build_neighbours(system, fitted.cutoff)))
    with pytest.raises(SimkitError, match="a score and has no samples"):
        fitted.predict(system, samples=2)


@pytest.mark.parametrize("density", ["mahalanobis", "mixture"])
def test_file_round_trip(potential: Potential, density, tmp_path: Path) -> None:
    model = LatentDistance.fit(potential, water(), density=density, components=2)
    save_model(tmp_path / "distance.simkit", model)
    loaded = load_model(tmp_path / "distance.simkit").requires_grad_(False)
    system = water(1, first=300)[0].system
    assert torch.equal(loaded.predict(system).score, model.predict(system).score)
    rough = load_model(tmp_path / "distance.simkit", dtype=torch.float32).requires_grad_(False)
    assert rough.statistics.mean.dtype == torch.float64
    found = rough.predict(system.to(dtype=torch.float32)).score
    torch.testing.assert_close(found, model.predict(system).score, rtol=0.05, atol=0.05)


def test_refusals(potential: Potential) -> None:
    with pytest.raises(SimkitError, match=r"lennard-jones potential has none.*conformal prediction"):
        LatentDistance.fit(LennardJones(0.01, 3.4, 5.0), water())
    single = systems.make_system(torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 1.0, 0.0]]), (8, 1, 1))
    with pytest.raises(DataError, match="two atoms of O in the data, found 1"):
        LatentDistance.fit(potential, MemoryDataset([Frame(single, Labels()), *water(20, elements=(1,))]))
    with pytest.warns(SimkitWarning, match="distances from them are exaggerated"):
        LatentDistance.fit(potential, water(2))


def test_gate_passes_its_share_of_frames() -> None:
    """Over many draws of n calibration frames a new frame passes with the probability ⌈(n+1)q⌉/(n+1)."""
    generator = torch.Generator().manual_seed(0)
    passed = []
    for _ in range(400):
        gate = DomainGate.fit(torch.rand(59, generator=generator), 0.9)
        passed.append(gate.threshold)
    assert sum(passed) / len(passed) == pytest.approx(54 / 60, abs=3 * 0.04 / 400**0.5)


def test_gate_and_scores_of_systems(fitted: LatentDistance) -> None:
    data = water(40, first=500)
    joint = concatenate([frame.system for frame in data])
    atoms = fitted.predict(joint).score
    mean, largest = system_scores(atoms, joint), system_scores(atoms, joint, "max")
    assert torch.allclose(mean, atoms.view(40, -1).mean(1))
    assert torch.equal(largest, atoms.view(40, -1).amax(1))
    for reduction, values in (("mean", mean), ("max", largest)):
        gate = DomainGate.fit(values, 0.95, reduction)
        assert int(gate.outside(atoms, joint).sum()) == 1
        far = water(5, 0.3)
        system = concatenate([frame.system for frame in far])
        assert bool(gate.outside(fitted.predict(system).score, system).all())
    with pytest.raises(SimkitError, match=r"at least 99 calibration frames for the quantile 0\.99, found 40"):
        DomainGate.fit(mean)
    with pytest.raises(SimkitError, match="finite scores"):
        DomainGate.fit(torch.tensor([1.0, torch.inf]), 0.5)
