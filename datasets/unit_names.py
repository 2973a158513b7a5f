"""Factors from the units that data files use to eV, eV/Å and eV/Å³."""

from __future__ import annotations

import re
from collections.abc import Mapping

from simkit.errors import DataError
from simkit.units import BOHR, GPA, HARTREE, KBAR, KCAL_PER_MOL, KJ_PER_MOL

ENERGY: Mapping[str, float] = {
    "ev": 1.0,
    "mev": 1e-3,
    "kcal/mol": KCAL_PER_MOL,
    "kj/mol": KJ_PER_MOL,
    "hartree": HARTREE,
    "ha": HARTREE,
    "eh": HARTREE,
    "rydberg": HARTREE / 2,
    "ry": HARTREE / 2,
}
"""Energy units in eV."""

LENGTH: Mapping[str, float] = {"a": 1.0, "ang": 1.0, "angstrom": 1.0, "bohr": BOHR, "a0": BOHR, "nm": 10.0}
"""Length units in Å."""

PRESSURE: Mapping[str, float] = {"gpa": GPA, "kbar": KBAR, "kb": KBAR}
"""Pressure units in eV/Å³."""


def energy_factor(unit: str) -> float:
    """One ``unit`` of energy, e.g. ``kcal/mol``, in eV."""
    return _known(ENERGY, normalised(unit), unit, "energy")


def force_factor(unit: str) -> float:
    """One ``unit`` of force, written energy/length, e.g. ``Hartree/Bohr``, in eV/Å."""
    energy, slash, length = normalised(unit).rpartition("/")
    if not slash or length not in LENGTH:
        raise _unknown(unit, "force", "an energy per length such as eV/Å, kcal/mol/Å, Hartree/Bohr")
    return _known(ENERGY, energy, unit, "energy") / LENGTH[length]


def stress_factor(unit: str) -> float:
    """One ``unit`` of stress, e.g. ``GPa``, ``kbar`` or ``eV/Å³``, in eV/Å³."""
    name = normalised(unit)
    if name in PRESSURE:
        return PRESSURE[name]
    energy, slash, volume = name.rpartition("/")
    match = re.fullmatch(r"(\w+?)\^?3", volume)
    if not slash or match is None or match[1] not in LENGTH:
        raise _unknown(unit, "stress", "GPa, kbar, or an energy per volume such as eV/Å³")
    return _known(ENERGY, energy, unit, "energy") / LENGTH[match[1]] ** 3


def normalised(unit: str) -> str:
    """The name of a unit without differences of spelling: ``eV / Å**3`` -> ``ev/a^3``."""
    name = unit.strip().lower().replace("å", "a").replace("angstroms", "angstrom").replace("³", "^3")
    return name.replace("**", "^").replace(" ", "").replace("kcalmol^-1", "kcal/mol")


def _known(table: Mapping[str, float], name: str, unit: str, quantity: str) -> float:
    if name not in table:
        raise _unknown(unit, quantity, ", ".join(table))
    return table[name]


def _unknown(unit: str, quantity: str, expected: str) -> DataError:
    return DataError(f"expected a unit of {quantity} ({expected}), found {unit!r}")
