"""Units of every quantity that simkit reads, computes or writes: Å, eV, fs, e, K.

Conversion factors come from CODATA 2018 through :mod:`scipy.constants`.
"""

from scipy import constants

UNITS: dict[str, str] = {
    "positions": "Å",
    "cell": "Å",
    "energy": "eV",
    "energies": "eV",
    "forces": "eV/Å",
    "stress": "eV/Å³",
    "virial": "eV",
    "charge": "e",
    "time": "fs",
    "temperature": "K",
    "mass": "u",
    "velocity": "Å/fs",
}
"""Unit of each standard quantity, by name."""

ERROR_UNITS: dict[str, tuple[str, str]] = {
    "energy": ("mev_per_atom", "meV/atom"),
    "forces": ("mev_per_ang", "meV/Å"),
    "stress": ("mev_per_ang3", "meV/Å³"),
}
"""Unit of the errors of each quantity, as it ends the names of results and as people read it."""

HARTREE: float = constants.value("Hartree energy in eV")
"""One Hartree in eV."""

BOHR: float = constants.value("Bohr radius") * 1e10
"""One Bohr radius in Å."""

KCAL_PER_MOL: float = constants.calorie * 1e3 / (constants.N_A * constants.e)
"""One kcal/mol in eV."""

KJ_PER_MOL: float = 1e3 / (constants.N_A * constants.e)
"""One kJ/mol in eV."""

GPA: float = 1e9 * 1e-30 / constants.e
"""One GPa in eV/Å³."""

KBAR: float = 0.1 * GPA
"""One kbar in eV/Å³."""

BOLTZMANN: float = constants.value("Boltzmann constant in eV/K")
"""Boltzmann constant in eV/K."""

COULOMB: float = constants.e / (4 * constants.pi * constants.epsilon_0) * 1e10
"""e²/(4πε₀) in eV·Å."""

DALTON: float = constants.atomic_mass * 1e10 / constants.e
"""Atomic mass unit in eV fs²/Å²."""
