"""Black boxes: ASE calculators that nobody looks into."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.calculators.singlepoint import SinglePointCalculator

from simkit.calculator import Calculator
from simkit.dynamics import ForceField, start
from simkit.errors import DataError, SimkitError
from simkit.evaluation import evaluate
from simkit.graph import make_graph
from simkit.neighbours import build_neighbours
from simkit.potentials.lennard_jones import LennardJones as OwnLennardJones
from simkit.system import System
from simkit.uncertainty.abilities import abilities
from simkit.uncertainty.black_box import BlackBox
from simkit.uncertainty.calculator_potential import CalculatorPotential
from simkit.uncertainty.committee_calculator import CommitteeCalculator
from simkit.uncertainty.conformal import coverage_band
from simkit.uncertainty.monitor import UncertaintyMonitor
from simkit.uncertainty.residuals import CalibrationError, TooFewGroupsError
from tests.uncertainty.committees import argon, crystal
from tests.uncertainty.examples import painn

EPSILON, SIGMA = 0.0104, 3.4


def lennard_jones(epsilon: float = EPSILON, sigma: float = SIGMA) -> LennardJones:
    return LennardJones(epsilon=epsilon, sigma=sigma, rc=5.0, smooth=True)


def results(calculator: Any, atoms: Atoms) -> tuple[float, np.ndarray, np.ndarray]:
    frame = atoms.copy()
    frame.calc = calculator
    return frame.get_potential_energy(), frame.get_forces(), frame.get_stress()


def test_committee_of_perturbed_parameters_is_the_propagation_of_their_errors() -> None:
    """``C_y = J C_θ Jᵀ`` with the derivatives J by both parameters and the covariance of the members' parameters."""
    atoms = crystal()
    changes = 1e-4 * np.random.default_rng(0).normal(size=(6, 2))
    members = [lennard_jones(EPSILON * (1 + e), SIGMA * (1 + s)) for e, s in changes]
    atoms.calc = CommitteeCalculator(members)
    atoms.get_stress()
    step = 1e-4
    slopes = []
    for axis in range(2):
        pair = [results(lennard_jones(*(np.array([EPSILON, SIGMA]) * (1 + sign * step * np.eye(2)[axis]))), atoms)
                for sign in (1, -1)]  # fmt: skip
        slopes.append([(plus - minus) / (2 * step) for plus, minus in zip(*pair, strict=True)])
    covariance = np.cov(changes.T)
    energy, forces, stress = (np.stack([np.asarray(one[k]) for one in slopes]) for k in range(3))
    found = atoms.calc.results
    assert found["energy_std"] == pytest.approx(np.sqrt(energy @ covariance @ energy), rel=2e-3)
    expected = np.einsum("pai,pq,qaj->aij", forces, covariance, forces)
    np.testing.assert_allclose(found["forces_cov"], expected, atol=4e-3 * np.abs(expected).max())
    np.testing.assert_allclose(
        found["stress_std"] ** 2, np.einsum("pi,pq,qi->i", stress, covariance, stress), rtol=4e-3
    )
    np.testing.assert_allclose(found["force_sigma"], np.sqrt(np.trace(expected, axis1=1, axis2=2) / 3), rtol=4e-3)


def test_committee_is_exact_where_energies_are_linear_in_a_parameter() -> None:
    """All energies and forces are proportional to the well depth."""
    atoms = crystal()
    depths = EPSILON * np.array([0.8, 1.0, 1.1, 1.3])
    atoms.calc = CommitteeCalculator([lennard_jones(depth) for depth in depths])
    energy, forces, _ = results(lennard_jones(1.0), atoms)
    assert atoms.get_potential_energy() == pytest.approx(depths.mean() * energy, rel=1e-12)
    np.testing.assert_allclose(atoms.get_forces(), depths.mean() * forces, atol=1e-14)
    assert atoms.calc.results["energy_std"] == pytest.approx(depths.std(ddof=1) * abs(energy), rel=1e-12)
    expected = depths.var(ddof=1) * np.einsum("ai,aj->aij", forces, forces)
    np.testing.assert_allclose(atoms.calc.results["forces_cov"], expected, atol=1e-16)
    samples = atoms.calc.samples
    assert samples is not None
    np.testing.assert_allclose(samples.energy[:, 0], depths * energy, rtol=1e-12)
    assert atoms.info["uncertainty"] == "committee of calculators, not calibrated"
    calls = atoms.calc.prediction
    atoms.get_forces()
    assert atoms.calc.prediction is calls
    with pytest.raises(SimkitError, match="at least two calculators"):
        CommitteeCalculator([lennard_jones()])


def frames(count: int, seed: int, periodic: bool = False) -> list[Atoms]:
    """Rattled copper, with EMT at another density as the truth that the model misses."""
    random = np.random.default_rng(seed)
    found = []
    for index in range(count):
        atoms = bulk("Cu", "fcc", a=3.65, cubic=True)
        atoms.pbc = periodic
        atoms.positions += 0.12 * random.normal(size=(4, 3))
        squeezed = atoms.copy()
        squeezed.set_cell(0.985 * atoms.cell, scale_atoms=True)
        squeezed.calc = EMT()
        labels = {"energy": squeezed.get_potential_energy(), "forces": squeezed.get_forces()}
        if periodic:
            labels["stress"] = squeezed.get_stress()
        atoms.info["group"] = f"run {index % 10}"
        atoms.calc = SinglePointCalculator(atoms, **labels)
        found.append(atoms)
    return found


@pytest.mark.parametrize("score", ["constant", "force-norm"])
def test_conformal_intervals_hold_what_they_promise(score: Any) -> None:
    """The share of new frames whose energy, and all of whose forces, lie within is that of the Beta distribution."""
    box = BlackBox.fit(EMT(), frames(150, 1), score=score)
    new = frames(150, 2)
    held = []
    for frame in new:
        inside = box.interval(frame, 0.9)
        found = box.predict(frame)
        assert found.forces is not None
        assert inside.forces_radius is not None
        assert inside.energy is not None
        labels = frame.calc.results
        errors = np.linalg.norm(found.forces.numpy() - labels["forces"], axis=1)
        energy = abs(float(found.energy) - labels["energy"])
        held.append([(errors <= inside.forces_radius.numpy()).all(), energy <= float(inside.energy)])
    low, high = coverage_band(150, 0.9, 0.999)
    noise = 3.3 * np.sqrt(0.09 / len(new))
    for share in np.mean(held, 0):
        assert low - noise <= share <= high + noise


def test_deviations_are_calibrated_and_the_model_is_untouched() -> None:
    labelled, new = frames(40, 3), [*frames(40, 4), *frames(1, 4, periodic=True)]
    box = BlackBox.fit(EMT(), labelled)
    z = []
    for frame in new:
        plain, wrapped = frame.copy(), frame.copy()
        plain.calc, wrapped.calc = EMT(), box
        assert wrapped.get_potential_energy() == pytest.approx(plain.get_potential_energy(), abs=1e-12)
        np.testing.assert_allclose(wrapped.get_forces(), plain.get_forces(), atol=1e-12)
        if frame.pbc.all():
            np.testing.assert_allclose(wrapped.get_stress(), plain.get_stress(), atol=1e-15)
        assert wrapped.info["uncertainty"] == "constant score of EMT, calibrated"
        z.append((wrapped.get_forces() - frame.calc.results["forces"]) / wrapped.arrays["force_sigma"][:, None])
    assert np.std(np.array(z[:40])) == pytest.approx(1, abs=0.2)


def test_own_deviations_of_a_committee_are_scaled() -> None:
    committee = CommitteeCalculator([EMT(), Calculator(OwnLennardJones(0.4, 2.3, 5.0))])
    box = BlackBox.fit(committee, frames(15, 5, periodic=True))
    atoms = frames(1, 6, periodic=True)[0]
    atoms.calc = box
    atoms.get_stress()
    raw = atoms.copy()
    raw.calc = committee
    raw.get_stress()
    alpha = box.calibrated.calibration.config()["alpha"]
    for name in ("energy_std", "force_sigma", "stress_std"):
        np.testing.assert_allclose(atoms.calc.results[name], alpha * raw.calc.results[name], rtol=1e-9)
    np.testing.assert_allclose(atoms.calc.results["forces_cov"], alpha**2 * raw.calc.results["forces_cov"], rtol=1e-9)


def test_a_function_may_score() -> None:
    def distance(atoms: Atoms, forces: np.ndarray) -> np.ndarray:
        return np.full(len(atoms), atoms.get_volume())

    box = BlackBox.fit(EMT(), frames(20, 7), score=distance, map="power-law")
    assert box.calibrated.provenance.method == "distance score of EMT"
    with pytest.raises(SimkitError, match="expected a score with a name"):
        box.save("nowhere.json")
    with pytest.raises(SimkitError, match="one positive score for each of 4 atoms"):
        BlackBox.fit(EMT(), frames(20, 7), score=lambda atoms, forces: -forces[:, 0])


def test_file_round_trip(tmp_path: Path) -> None:
    box = BlackBox.fit(EMT(), frames(25, 8, periodic=True), score="force-norm")
    box.save(tmp_path / "box.json")
    again = BlackBox.load(EMT(), tmp_path / "box.json")
    frame = frames(1, 9, periodic=True)[0]
    one, two = box.interval(frame, 0.8), again.interval(frame, 0.8)
    for name in ("energy", "forces_radius", "stress_radius"):
        assert getattr(one, name).equal(getattr(two, name))
    sigmas = [each.predict(frame).force_sigma for each in (box, again)]
    assert sigmas[0] is not None
    assert sigmas[1] is not None
    assert sigmas[0].equal(sigmas[1])
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(DataError, match="expected a file of the format"):
        BlackBox.load(EMT(), tmp_path / "other.json")


def test_bad_frames() -> None:
    with pytest.raises(DataError, match="found none in frames"):
        BlackBox.fit(EMT(), [bulk("Cu", cubic=True)])
    with pytest.raises(DataError, match="found none"):
        BlackBox.fit(EMT(), [])
    alone = frames(4, 1)
    for frame in alone:
        frame.info["group"] = "the only one"
    with pytest.raises(TooFewGroupsError):
        BlackBox.fit(EMT(), alone)
    broken = frames(8, 1)
    broken[3].calc.results["forces"][1, 2] = np.inf
    with pytest.raises(CalibrationError, match="finite"):
        BlackBox.fit(EMT(), broken)


def test_calculators_in_dynamics_of_simkit() -> None:
    """A black box is a potential where nothing differentiates it."""
    atoms = crystal()
    committee = CommitteeCalculator([lennard_jones(), lennard_jones(1.1 * EPSILON)])
    potential = CalculatorPotential(committee)
    system = System.from_ase([atoms, crystal(2)])
    found = evaluate(potential, system)
    expected = [results(committee, one) for one in (atoms, crystal(2))]
    np.testing.assert_allclose(found.energy, [one[0] for one in expected], rtol=1e-12)
    assert found.forces is not None
    np.testing.assert_allclose(found.forces, np.concatenate([one[1] for one in expected]), atol=1e-14)
    state = ForceField(potential)(start(system, 30.0))
    largest = UncertaintyMonitor(potential).largest(state, "force_sigma")
    assert largest.shape == (2,)
    with pytest.raises(SimkitError, match="cannot be differentiated"):
        potential.energy_variance(make_graph(system, build_neighbours(system, 0.5)))
    with pytest.raises(SimkitError, match="cannot be written to a model file"):
        potential.config()
    with pytest.raises(SimkitError, match="does not tell deviations"):
        CalculatorPotential(lennard_jones(), "own")


def test_what_applies_is_known_before() -> None:
    foreign = abilities(EMT())
    assert foreign.level == "black box"
    foreign.require("conformal")
    with pytest.raises(SimkitError, match="llpr does not apply to EMT: an ASE calculator shows its results, not the"):
        foreign.require("llpr")
    with pytest.raises(SimkitError, match="swag does not apply to EMT: an ASE calculator shows its results, not its"):
        foreign.require("swag")
    classical = abilities(Calculator(argon().members[0]))  # type: ignore[arg-type]
    assert classical.level == "parameters"
    classical.require("ensemble")
    with pytest.raises(SimkitError, match="does not return the features in which its energy is linear"):
        classical.require("llpr")
    assert abilities(painn()).level == "features"
    abilities(painn()).require("latent-distance")
    with pytest.raises(SimkitError, match="expected a method among"):
        foreign.require("magic")
    with pytest.raises(SimkitError, match="expected an ASE calculator or a potential"):
        abilities(object())
