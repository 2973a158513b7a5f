"""Conversion factors against published values and ASE's."""

import ase.units
import pytest

from simkit import units


@pytest.mark.parametrize(
    ("factor", "published"),
    [
        (units.HARTREE, 27.211386245988),
        (units.BOHR, 0.529177210903),
        (units.KCAL_PER_MOL, 0.0433641043),
        (units.KJ_PER_MOL, 0.0103642697),
        (units.GPA, 0.0062415091),
        (units.KBAR, 0.00062415091),
        (units.BOLTZMANN, 8.617333262e-5),
        (units.COULOMB, 14.3996454785),
    ],
)
def test_codata(factor: float, published: float) -> None:
    assert factor == pytest.approx(published, rel=1e-8)


@pytest.mark.parametrize(
    ("factor", "of_ase"),
    [
        (units.HARTREE, ase.units.Hartree),
        (units.BOHR, ase.units.Bohr),
        (units.KCAL_PER_MOL, ase.units.kcal / ase.units.mol),
        (units.KJ_PER_MOL, ase.units.kJ / ase.units.mol),
        (units.GPA, ase.units.GPa),
        (units.BOLTZMANN, ase.units.kB),
    ],
)
def test_ase_agrees_to_the_change_of_codata(factor: float, of_ase: float) -> None:
    """ASE uses CODATA 2014."""
    assert factor == pytest.approx(of_ase, rel=1e-6)


def test_every_standard_quantity_has_a_unit() -> None:
    assert units.UNITS["stress"] == "eV/Å³"
    assert units.UNITS["forces"] == "eV/Å"
    assert all(units.UNITS.values())
