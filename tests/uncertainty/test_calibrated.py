"""Calibrated potentials: deviations scale, predictions do not, and everything that derives stays derived."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from ase.build import bulk
from scipy import stats
from torch import Tensor

from simkit.errors import SimkitError
from simkit.evaluation import evaluate
from simkit.graph import make_graph
from simkit.neighbours import build_neighbours
from simkit.potential import Potential
from simkit.potentials.lennard_jones import LennardJones
from simkit.potentials.model_file import load_model, save_model
from simkit.system import System, concatenate
from simkit.uncertainty.calibrated import Calibrated
from simkit.uncertainty.calibration_maps import CalibrationMap, GlobalMap, Isotonic, PowerLaw
from simkit.uncertainty.ensemble import Ensemble
from tests.conformance.battery import Battery
from tests.uncertainty.scoring import Scoring

ALPHA = 1.7
ALL = ("energy", "energies", "forces", "stress")
LOCAL = (PowerLaw(0.4, 0.7), Isotonic((0.001, 0.01), (0.002, 0.03)))


def argon(k: int) -> LennardJones:
    return LennardJones(epsilon=0.0104 * (1 + 0.1 * k), sigma=3.4 - 0.02 * k, cutoff=5.0)


def ensemble(members: int = 5) -> Ensemble:
    return Ensemble(*[argon(k) for k in range(members)])


def calibrated(calibration: CalibrationMap | None = None) -> Calibrated:
    return Calibrated(ensemble(), calibration or GlobalMap(ALPHA, "nll"))


@pytest.fixture
def crystals() -> System:
    frames = []
    for seed, lattice in enumerate((5.2, 5.4)):
        atoms = bulk("Ar", "fcc", a=lattice, cubic=True)
        atoms.rattle(0.1, seed=seed)
        frames.append(atoms)
    return System.from_ase(frames)


class TestBattery(Battery):
    spacing = 3.4

    def potential(self) -> Potential:
        return Calibrated(ensemble(2), GlobalMap(ALPHA, "nll"))


def test_deviations_scale_and_means_stay(crystals: System) -> None:
    raw = ensemble().predict(crystals, outputs=ALL, samples=5)
    found = calibrated().predict(crystals, outputs=ALL, samples=5)
    for name in ("energy", "energies", "forces", "stress"):
        assert torch.equal(getattr(found, name), getattr(raw, name))
    for name, factor in {
        "energy_std": ALPHA, "energies_std": ALPHA, "forces_cov": ALPHA**2, "stress_cov": ALPHA**2,
        "force_sigma": ALPHA, "forces_std": ALPHA, "stress_std": ALPHA,
    }.items():  # fmt: skip
        torch.testing.assert_close(getattr(found, name), factor * getattr(raw, name), rtol=1e-12, atol=0)
    assert not raw.provenance.calibrated
    assert found.provenance == replace(raw.provenance, calibrated=True, calibration=GlobalMap(ALPHA, "nll").identifier)


def test_samples_have_the_calibrated_covariance(crystals: System) -> None:
    found = calibrated().predict(crystals, outputs=ALL, samples=5)
    assert found.samples is not None
    assert found.samples.forces is not None
    assert found.energy_std is not None
    assert found.forces_cov is not None
    torch.testing.assert_close(found.samples.energy.std(0), found.energy_std)
    torch.testing.assert_close(torch.cov(found.samples.forces[:, 3].T), found.forces_cov[3])
    torch.testing.assert_close(found.samples.energy.mean(0), found.energy)


def test_sample_forces_are_derivatives_of_sample_energies(crystals: System) -> None:
    """Forces and stress of a sample by finite differences of its energy."""
    step = 1e-4
    samples = calibrated().predict(crystals, outputs=ALL, samples=5).samples
    assert samples is not None
    assert samples.forces is not None
    assert samples.stress is not None

    def energies(system: System) -> Tensor:
        found = calibrated().predict(system, outputs=("energy",), samples=5).samples
        assert found is not None
        return found.energy

    shift = torch.zeros_like(crystals.positions)
    shift[2, 1] = step
    ahead = energies(replace(crystals, positions=crystals.positions + shift))
    behind = energies(replace(crystals, positions=crystals.positions - shift))
    torch.testing.assert_close(-(ahead - behind)[:, 0] / (2 * step), samples.forces[:, 2, 1], rtol=1e-6, atol=1e-8)

    def strained(amount: float) -> Tensor:
        strain = torch.eye(3)
        strain[0, 0] += amount
        return energies(replace(crystals, positions=crystals.positions @ strain, cell=crystals.cell @ strain))

    slope = (strained(step) - strained(-step)) / (2 * step) / crystals.volume()
    torch.testing.assert_close(slope, samples.stress[:, :, 0, 0], rtol=1e-6, atol=1e-9)


def test_variance_of_the_energy_can_be_differentiated(crystals: System) -> None:
    neighbours = build_neighbours(crystals, 5.0)
    graph = make_graph(crystals, neighbours)
    graph = replace(graph, vectors=graph.vectors.clone().requires_grad_())
    found, raw = calibrated().energy_variance(graph), ensemble().energy_variance(graph)
    torch.testing.assert_close(found, ALPHA**2 * raw)
    (slope,) = torch.autograd.grad(found.sum(), graph.vectors)
    (expected,) = torch.autograd.grad(raw.sum(), graph.vectors)
    torch.testing.assert_close(slope, ALPHA**2 * expected)
    assert slope.abs().max() > 0


def test_gaussian_intervals(crystals: System) -> None:
    found = calibrated().predict(crystals, outputs=ALL)
    interval = found.interval(0.9)
    assert interval.level == 0.9
    assert interval.energy is not None
    assert interval.forces is not None
    assert interval.forces_radius is not None
    assert found.energy_std is not None
    assert found.forces_std is not None
    assert found.force_sigma is not None
    torch.testing.assert_close(interval.energy, 1.6448536 * found.energy_std)
    torch.testing.assert_close(interval.forces, 1.6448536 * found.forces_std)
    torch.testing.assert_close(interval.forces_radius, math.sqrt(stats.chi2.ppf(0.9, 3)) * found.force_sigma)
    assert interval.stress is not None
    with pytest.raises(SimkitError, match="between 0 and 1"):
        found.interval(90)


def test_intervals_of_a_finite_committee(crystals: System) -> None:
    found = calibrated(GlobalMap(ALPHA, "finite-committee", 5)).predict(crystals)
    energy = found.interval(0.9).energy
    assert energy is not None
    assert found.energy_std is not None
    expected = stats.t.ppf(0.95, 4) * math.sqrt(1 + 1 / (5 * ALPHA**2)) * found.energy_std
    torch.testing.assert_close(energy, expected)
    ratio = calibrated(GlobalMap(ALPHA, "ratio")).predict(crystals).interval(0.9).energy
    assert ratio is not None
    torch.testing.assert_close(ratio, stats.t.ppf(0.95, 4) * found.energy_std)


def test_raw_predictions_have_no_intervals(crystals: System) -> None:
    with pytest.raises(SimkitError, match="Wrap the potential in Calibrated"):
        ensemble().predict(crystals).interval(0.9)


@pytest.mark.parametrize("calibration", LOCAL)
def test_local_maps_calibrate_forces(calibration: CalibrationMap, crystals: System) -> None:
    raw = ensemble().predict(crystals, outputs=ALL)
    potential = calibrated(calibration)
    found = potential.predict(crystals, outputs=ALL)
    assert found.force_sigma is not None
    assert raw.force_sigma is not None
    expected = torch.from_numpy(calibration(raw.force_sigma.numpy()))
    torch.testing.assert_close(found.force_sigma, expected)
    # the shape of the covariance stays
    assert found.forces_cov is not None
    assert raw.forces_cov is not None
    torch.testing.assert_close(
        found.forces_cov / found.force_sigma.square()[:, None, None],
        raw.forces_cov / raw.force_sigma.square()[:, None, None],
    )
    assert found.energy_std is None
    assert found.stress_cov is None
    assert found.interval(0.9).energy is None
    with pytest.raises(SimkitError, match="local"):
        potential.energy_variance(make_graph(crystals, build_neighbours(crystals, 5.0)))
    with pytest.raises(SimkitError, match="global map"):
        potential.predict(crystals, samples=2)


@pytest.mark.parametrize("calibration", [*LOCAL, GlobalMap(0.3, "nll")])
def test_scores_become_isotropic_deviations(calibration: CalibrationMap, crystals: System) -> None:
    scoring = Scoring(argon(0))
    raw = scoring.predict(crystals)
    found = Calibrated(scoring, calibration).predict(crystals)
    assert raw.forces_cov is None
    assert raw.score is not None
    assert found.forces_cov is not None
    assert found.score is not None
    expected = torch.from_numpy(calibration(raw.score.numpy())).square()
    torch.testing.assert_close(found.forces_cov, expected[:, None, None] * torch.eye(3))
    assert torch.equal(found.score, raw.score)
    assert found.provenance.calibrated
    assert found.interval(0.9).forces_radius is not None
    with pytest.raises(SimkitError):
        Calibrated(scoring, calibration).energy_variance(make_graph(crystals, build_neighbours(crystals, 5.0)))


def test_atoms_on_which_all_members_agree(crystals: System) -> None:
    """An atom alone has no force: its covariance is zero, not NaN."""
    alone = System.from_ase(bulk("Ar", "fcc", a=30.0))
    found = calibrated(PowerLaw(0.4, 0.7)).predict(concatenate([crystals, alone]))
    assert found.forces_cov is not None
    assert torch.isfinite(found.forces_cov).all()
    assert (found.forces_cov[-1] == 0).all()


@pytest.mark.parametrize("calibration", [GlobalMap(ALPHA, "crps"), GlobalMap(0.3, "finite-committee", 5), *LOCAL])
def test_model_file(calibration: CalibrationMap, crystals: System, tmp_path: Path) -> None:
    potential = calibrated(calibration)
    save_model(tmp_path / "m.simkit", potential)
    again = load_model(tmp_path / "m.simkit")
    assert isinstance(again, Calibrated)
    assert again.provenance == potential.provenance
    first, second = potential.predict(crystals, outputs=ALL), again.predict(crystals, outputs=ALL)
    for name in ("energy", "forces", "energy_std", "forces_cov", "stress_cov"):
        one, other = getattr(first, name), getattr(second, name)
        assert (one is None and other is None) or torch.equal(one, other)
    assert first.interval(0.8).level == second.interval(0.8).level
    assert first.rule == second.rule


def test_it_is_the_potential_that_it_wraps(crystals: System) -> None:
    found = evaluate(calibrated(), crystals, outputs=ALL)
    expected = evaluate(ensemble(), crystals, outputs=ALL)
    for name in ALL:
        assert torch.equal(getattr(found, name), getattr(expected, name))
    assert set(ensemble().capabilities.citations) < set(calibrated().capabilities.citations)
    both = set(calibrated(GlobalMap(1.0, "finite-committee", 5)).capabilities.citations)
    assert both > set(calibrated().capabilities.citations)


def test_what_cannot_be_calibrated() -> None:
    with pytest.raises(SimkitError, match="not calibrated, found global-"):
        Calibrated(calibrated(), GlobalMap(1.0, "nll"))
    specification = {"potential": argon(0).specification(), "calibration": GlobalMap(1.0, "nll").config()}
    with pytest.raises(SimkitError, match="with an uncertainty, such as an ensemble; found a lennard-jones"):
        Calibrated.from_config(specification, lambda _: argon(0))
    with pytest.raises(SimkitError, match="positive calibration factor"):
        GlobalMap(0.0, "nll")


def test_single_precision(crystals: System) -> None:
    potential = calibrated(PowerLaw(0.4, 0.7)).to(torch.float32)
    found = potential.predict(crystals.to(dtype=potential.dtype))
    assert found.forces_cov is not None
    assert found.forces is not None
    assert found.forces_cov.dtype == found.forces.dtype
    exact = calibrated(PowerLaw(0.4, 0.7)).predict(crystals).force_sigma
    assert found.force_sigma is not None
    assert exact is not None
    np.testing.assert_allclose(found.force_sigma.double().numpy(), exact.numpy(), rtol=1e-3)
