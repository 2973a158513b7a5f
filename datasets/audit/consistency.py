"""Whether energies, forces and stresses of a dataset are in the same units, judged from the data alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.spatial import cKDTree

from simkit.datasets.base import Frame
from simkit.units import BOHR, GPA, HARTREE, KBAR, KCAL_PER_MOL, KJ_PER_MOL

ENERGY_UNITS = {
    "eV": 1.0,
    "kcal/mol": KCAL_PER_MOL,
    "kJ/mol": KJ_PER_MOL,
    "Hartree": HARTREE,
    "Rydberg": HARTREE / 2,
    "meV": 1e-3,
}
FORCE_UNITS = {
    "eV/Å": 1.0,
    "kcal/mol/Å": KCAL_PER_MOL,
    "kJ/mol/Å": KJ_PER_MOL,
    "Hartree/Bohr": HARTREE / BOHR,
    "Rydberg/Bohr": HARTREE / 2 / BOHR,
    "Hartree/Å": HARTREE,
    "eV/Bohr": 1 / BOHR,
    "meV/Å": 1e-3,
}
STRESS_UNITS = {"eV/Å³": 1.0, "GPa": GPA, "kbar": KBAR, "Hartree/Bohr³": HARTREE / BOHR**3, "meV/Å³": 1e-3}

ATOMS = {
    **{1: 0.5, 2: 2.862, 3: 7.433, 4: 14.573, 5: 24.529, 6: 37.689, 7: 54.401, 8: 74.809, 9: 99.409, 10: 128.547},
    **{11: 161.859, 12: 199.615, 13: 241.877, 14: 288.854, 15: 340.719, 16: 397.505, 17: 459.482, 18: 526.817},
    **{19: 599.165, 20: 676.758, 35: 2572.441, 53: 6917.980},
}
"""Minus the total energy of atoms in Hartree (Hartree-Fock limit), to recognise units of all-electron energies."""


@dataclass(frozen=True)
class Slope:
    """Factor between energy differences and the work of the other labels, over pairs of similar frames.

    Attributes:
        ratio: ``±√(Σ ΔE² / Σ W²)`` with the sign of their correlation; 1 if units agree.
        correlation: between ΔE and W; the ratio means something if it is large.
        pairs: number of pairs.
    """

    ratio: float
    correlation: float
    pairs: int

    @property
    def reliable(self) -> bool:
        """Whether there are enough pairs, and correlated ones."""
        return self.pairs >= 8 and abs(self.correlation) > 0.9


def slope(changes: Sequence[float], works: Sequence[float]) -> Slope:
    """The factor between energy differences and works, both of the same pairs."""
    change, work = np.array(changes), np.array(works)
    if not len(work) or not (work**2).sum() or not (change**2).sum():
        return Slope(np.nan, 0.0, len(work))
    correlation = float((change * work).sum() / np.sqrt((change**2).sum() * (work**2).sum()))
    ratio = float(np.sign(correlation) * np.sqrt((change**2).sum() / (work**2).sum()))
    return Slope(ratio, correlation, len(work))


def energy_force_slope(frames: Sequence[Frame], descriptors: Float[ndarray, "frames features"]) -> Slope:
    """Compare ΔE with ``-½ (F_i + F_j)·(x_j - x_i)``, exact for quadratic energies, over pairs of similar frames.

    Args:
        frames: of the same atoms in the same order, with energies and forces; pairs with different cells or with a
            displacement of more than 0.25 Å are left out.
        descriptors: of each frame; pairs are nearest neighbours in this space, and frames that follow one another.
    """
    changes, works = [], []
    for i, j in _pairs(descriptors):
        one, other = frames[i], frames[j]
        if not bool((one.system.lattice == other.system.lattice).all()):
            continue
        displacement, forces = _aligned(one, other)
        if np.abs(displacement).max() > 0.25:
            continue
        works.append(-0.5 * float(((_forces(one) + forces) * displacement).sum()))
        changes.append(_energy(other) - _energy(one))
    return slope(changes, works)


def energy_stress_slope(frames: Sequence[Frame], descriptors: Float[ndarray, "frames features"]) -> Slope:
    """Compare ``ΔE + ½ (F_i + F_j)·u`` with ``V σ:ε`` over pairs of frames that differ by a small strain ε.

    ``u`` is what remains of the displacement after the strain. Only pairs in which the stress does most of the work are
    used.

    Args:
        frames: of the same atoms in the same order, periodic along three axes, with energies, forces and stresses.
        descriptors: of each frame, as for :func:`energy_force_slope`.
    """
    changes, works = [], []
    for i, j in _pairs(descriptors, nearest=8):
        one, other = frames[i], frames[j]
        cells = [frame.system.cell[0].numpy() for frame in (one, other)]
        deformation = np.linalg.solve(cells[0], cells[1])
        strain = 0.5 * (deformation + deformation.T) - np.eye(3)
        if not 1e-4 < np.abs(strain).max() < 0.06 or np.abs(deformation - deformation.T).max() > 0.02:
            continue
        shift = _fractions(other) - _fractions(one)
        internal = (shift - np.round(shift)) @ cells[1]
        internal -= internal.mean(0)
        force_work = -0.5 * float(((_forces(one) + _forces(other)) * internal).sum())
        volume = 0.5 * sum(abs(np.linalg.det(cell)) for cell in cells)
        work = 0.5 * volume * float(((_stress(one) + _stress(other)) * strain).sum())
        change = _energy(other) - _energy(one) - force_work
        if abs(force_work) < 0.3 * abs(change):
            changes.append(change)
            works.append(work)
    return slope(changes, works)


def explain_force_ratio(ratio: float, tolerance: float = 0.2) -> list[str]:
    """Pairs of units of energies and forces whose ratio is near ``ratio``, the nearest first."""
    return _explain(ratio, ENERGY_UNITS, FORCE_UNITS, tolerance)


def explain_stress_ratio(ratio: float, tolerance: float = 0.3) -> list[str]:
    """Units of the stress, with the energies in eV, whose ratio is near ``ratio``, the nearest first."""
    return [text.split(" and ")[1] for text in _explain(ratio, {"eV": 1.0}, STRESS_UNITS, tolerance)]


def _explain(ratio: float, energies: dict[str, float], others: dict[str, float], tolerance: float) -> list[str]:
    distances = {
        f"{energy} and {other}": abs(np.log(abs(ratio) * energies[energy] / others[other]))
        for energy in energies
        for other in others
    }
    near = [text for text, distance in distances.items() if distance < tolerance]
    return sorted(near, key=lambda text: distances[text])


def all_electron_unit(numbers: Sequence[int], energy: float) -> str | None:
    """Unit in which ``energy`` is the total energy, core electrons included, of these atoms; None if in no unit."""
    if any(number not in ATOMS for number in numbers) or energy >= 0:
        return None
    ratio = -energy / sum(ATOMS[number] for number in numbers)
    units = {name: HARTREE / ENERGY_UNITS[name] for name in ("eV", "kcal/mol", "kJ/mol", "Hartree", "Rydberg")}
    return next((name for name, value in units.items() if abs(ratio / value - 1) < 0.03), None)


def _pairs(descriptors: Float[ndarray, "frames features"], nearest: int = 3) -> Iterator[tuple[int, int]]:
    count = len(descriptors)
    pairs = {(index, index + 1) for index in range(count - 1)}
    if count > 2:
        _, found = cKDTree(descriptors).query(descriptors, k=min(nearest + 1, count))
        pairs |= {(min(i, int(j)), max(i, int(j))) for i, row in enumerate(found) for j in row if i != j}
    return iter(sorted(pairs))


def _aligned(one: Frame, other: Frame) -> tuple[ndarray, ndarray]:
    """Displacement from ``one`` to ``other`` without common translation or rotation of molecules, and other's forces.

    Displacements across periodic boundaries are taken to the nearest image.
    """
    first, second, forces = one.system.positions.numpy(), other.system.positions.numpy(), _forces(other)
    lattice = one.system.lattice[0].numpy()
    if one.system.pbc.any():
        fractions = (second - first) @ np.linalg.pinv(lattice)
        displacement = second - first - np.round(fractions) @ lattice
        return displacement - displacement.mean(0), forces
    first, second = first - first.mean(0), second - second.mean(0)
    u, _, vh = np.linalg.svd(second.T @ first)
    rotation = u @ np.diag([1, 1, np.sign(np.linalg.det(u @ vh))]) @ vh
    return second @ rotation - first, forces @ rotation


def _fractions(frame: Frame) -> ndarray:
    return frame.system.positions.numpy() @ np.linalg.inv(frame.system.cell[0].numpy())


def _energy(frame: Frame) -> float:
    assert frame.labels.energy is not None
    return float(frame.labels.energy[0])


def _forces(frame: Frame) -> ndarray:
    assert frame.labels.forces is not None
    return frame.labels.forces.double().numpy()


def _stress(frame: Frame) -> ndarray:
    assert frame.labels.stress is not None
    return frame.labels.stress[0].double().numpy()
