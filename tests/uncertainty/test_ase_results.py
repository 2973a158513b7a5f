"""Uncertainties in ASE: results, caching, files."""

from __future__ import annotations

from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase.build import fcc111
from ase.calculators.calculator import PropertyNotImplementedError

from simkit.calculator import Calculator
from simkit.errors import SimkitError
from simkit.potentials.lennard_jones import LennardJones
from simkit.system import System
from simkit.uncertainty.ase_results import UNCERTAINTIES
from simkit.uncertainty.calibrated import Calibrated
from simkit.uncertainty.calibration_maps import GlobalMap
from simkit.uncertainty.ensemble import Ensemble
from tests.uncertainty.committees import argon, crystal

MODEL = argon()
COMMITTEE = tuple(name for name in UNCERTAINTIES if name != "score" and not name.endswith("_within_90"))


class Counting(Calculator):
    """Counts how often it computes."""

    calls = 0

    def calculate(self, *arguments, **keywords) -> None:
        self.calls += 1
        super().calculate(*arguments, **keywords)


def test_results_are_those_of_the_prediction() -> None:
    atoms = crystal()
    atoms.calc = Calculator(MODEL)
    expected = MODEL.predict(System.from_ase(atoms), outputs=("energy", "energies", "forces", "stress"))
    assert set(COMMITTEE) <= set(atoms.calc.implemented_properties)
    atoms.get_stress()
    for name in COMMITTEE:
        value = getattr(expected, name).numpy()
        np.testing.assert_allclose(atoms.calc.results[name], value[0] if name.endswith("gy_std") else value.squeeze(0)
                                   if name == "stress_std" else value, rtol=1e-12)  # fmt: skip
    assert expected.forces is not None
    np.testing.assert_allclose(atoms.get_forces(), expected.forces, atol=1e-14)
    assert atoms.info["uncertainty"] == "deep ensemble, not calibrated"
    np.testing.assert_array_equal(atoms.arrays["forces_cov"].reshape(-1, 3, 3), atoms.calc.results["forces_cov"])


def test_mean_results_are_those_of_the_potential() -> None:
    """Asking for uncertainties changes nothing of what other programs see, for slabs too."""
    slab = fcc111("Ar", (2, 2, 2), a=5.3, vacuum=6.0)
    slab.rattle(0.1, seed=3)
    for atoms in (crystal(), slab):
        atoms.calc = Calculator(MODEL)
        parts = [atoms.copy() for _ in MODEL.members]
        for part, member in zip(parts, MODEL.members, strict=True):
            part.calc = Calculator(member)
        for name in ("energy", "energies", "forces", "stress"):
            values = [np.asarray(part.calc.get_property(name, part)) for part in parts]
            np.testing.assert_allclose(atoms.calc.get_property(name, atoms), np.mean(values, 0), atol=1e-13)
    with pytest.raises(PropertyNotImplementedError):
        slab.calc.get_property("stress_std", slab)


def test_intervals_of_calibrated_potentials(tmp_path: Path) -> None:
    """They hold what they promise for Gaussian errors: ``1.645 σ``, and ``√χ²₃`` = 2.5 σ of a ball."""
    calibrated = Calibrated(MODEL, GlobalMap(2.0, "nll"))
    atoms = crystal()
    atoms.calc = Calculator(calibrated)
    atoms.get_forces()
    results = atoms.calc.results
    assert results["energy_within_90"] == pytest.approx(1.6448536 * results["energy_std"], rel=1e-6)
    np.testing.assert_allclose(results["force_within_90"], 2.5002777 * results["force_sigma"], rtol=1e-6)
    ase.io.write(tmp_path / "atoms.xyz", atoms)
    read = ase.io.read(tmp_path / "atoms.xyz")
    np.testing.assert_allclose(read.arrays["force_within_90"], results["force_within_90"], rtol=1e-7)
    assert read.info["energy_within_90"] == pytest.approx(results["energy_within_90"])


def test_caching() -> None:
    atoms = crystal()
    atoms.calc = Counting(MODEL)
    atoms.get_potential_energy()
    assert "force_sigma" not in atoms.calc.results
    assert "force_sigma" not in atoms.arrays
    sigma = atoms.calc.get_property("force_sigma", atoms)
    assert atoms.calc.calls == 2
    for name in ("forces_std", "forces_cov", "stress_std", "energy_std"):
        atoms.calc.get_property(name, atoms)
    atoms.get_forces()
    atoms.get_stress()
    assert atoms.calc.calls == 2
    atoms.info["note"] = "results do not depend on this"
    assert atoms.calc.check_state(atoms) == []
    atoms.positions[0] += 0.05
    atoms.get_potential_energy()
    assert atoms.calc.calls == 3
    assert not {"forces_std", "force_sigma", "forces_cov"} & atoms.arrays.keys()  # those of another geometry
    assert not np.allclose(atoms.calc.get_property("force_sigma", atoms), sigma)


def test_files_keep_uncertainties(tmp_path: Path) -> None:
    atoms = crystal()
    atoms.calc = Calculator(MODEL)
    atoms.get_stress()
    ase.io.write(tmp_path / "frame.extxyz", atoms)
    ase.io.write(tmp_path / "frame.traj", atoms)
    found = ase.io.read(tmp_path / "frame.extxyz")
    assert not isinstance(found, list)
    for name in COMMITTEE:
        stored = found.info.get(name, found.arrays.get(name))
        expected = np.asarray(atoms.calc.results[name])
        np.testing.assert_allclose(stored, expected.reshape(np.shape(stored)), rtol=0, atol=1e-8)
    assert found.get_potential_energy() == pytest.approx(atoms.get_potential_energy(), abs=1e-8)
    again = ase.io.read(tmp_path / "frame.traj")
    assert not isinstance(again, list)
    for frame in (found, again):
        assert frame.info["uncertainty"] == "deep ensemble, not calibrated"
        assert frame.info["energy_std"] == pytest.approx(atoms.calc.results["energy_std"], abs=1e-8)
        assert frame.info["force_sigma_max"] == pytest.approx(atoms.calc.results["force_sigma"].max(), abs=1e-8)


def test_table_of_properties_of_ase() -> None:
    atoms = crystal()
    calculator = Calculator(MODEL)
    found = calculator.calculate_properties(atoms, ["energy", "forces", "stress"])
    assert "force_sigma" not in found
    np.testing.assert_allclose(found["forces"], calculator.results["forces"])


def test_certain_potentials_are_as_before() -> None:
    atoms = crystal()
    atoms.calc = Calculator(LennardJones(0.0104, 3.4, 5.0))
    atoms.get_stress()
    assert set(atoms.calc.results) == {"energy", "free_energy", "energies", "forces", "stress"}
    assert atoms.calc.implemented_properties == ["energy", "free_energy", "energies", "forces", "stress"]
    assert atoms.info == {}
    assert set(atoms.arrays) == {"numbers", "positions"}


def test_one_member_has_no_spread() -> None:
    atoms = crystal()
    atoms.calc = Calculator(Ensemble(LennardJones(0.0104, 3.4, 5.0)))
    with pytest.raises(SimkitError, match="at least two members"):
        atoms.get_potential_energy()
