"""Phonons by finite displacements, through phonopy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms
from jaxtyping import Float
from numpy import ndarray

from simkit.analysis.batches import evaluate_many
from simkit.analysis.trajectory import heights
from simkit.errors import InvalidSystemError, MissingExtraError
from simkit.potential import Potential
from simkit.progress import Task
from simkit.relaxation.memory import Budget
from simkit.system import System

if TYPE_CHECKING:
    from phonopy import Phonopy

IMAGINARY = -0.05
"""In THz; phonopy gives imaginary frequencies as negative numbers, and rounding gives acoustic ones such as -1e-6."""


@dataclass(frozen=True)
class Bands:
    """Frequencies along a path in reciprocal space.

    Attributes:
        distance: along the path, in 1/Å (without 2π).
        frequencies: in THz; imaginary ones are negative.
        ticks: distance of each special point.
        labels: its name; two names where the path jumps.
        points: fractional coordinates of each wave vector, in the reciprocal primitive cell.
    """

    distance: Float[ndarray, " points"]
    frequencies: Float[ndarray, "points bands"]
    ticks: tuple[float, ...]
    labels: tuple[str, ...]
    points: Float[ndarray, "points 3"]


@dataclass(frozen=True)
class DensityOfStates:
    """Number of vibrations per frequency of one primitive cell.

    Attributes:
        frequency: in THz.
        density: in 1/THz; its integral is three times the number of atoms.
        lowest: lowest frequency of the mesh, in THz; clearly negative if the crystal is unstable.
    """

    frequency: Float[ndarray, " frequencies"]
    density: Float[ndarray, " frequencies"]
    lowest: float


@dataclass(frozen=True)
class ThermalProperties:
    """Harmonic vibrations of one primitive cell at constant volume.

    Attributes:
        temperature: in K.
        free_energy: Helmholtz free energy of the vibrations, in kJ/mol.
        entropy: in J/(K mol).
        heat_capacity: C_V in J/(K mol).
        zero_point: energy of the vibrations at 0 K, in kJ/mol.
    """

    temperature: Float[ndarray, " temperatures"]
    free_energy: Float[ndarray, " temperatures"]
    entropy: Float[ndarray, " temperatures"]
    heat_capacity: Float[ndarray, " temperatures"]
    zero_point: float


def supercell_of_size(atoms: Atoms, size: float) -> tuple[int, int, int]:
    """Repetitions of a cell whose heights are then at least ``size`` (Å)."""
    each = heights(atoms.cell.array[None])[0]
    first, second, third = (int(count) for count in np.maximum(np.ceil(size / each - 1e-6), 1))
    return first, second, third


def finite_displacements(
    potential: Potential,
    atoms: Atoms,
    supercell: Sequence[int],
    *,
    displacement: float = 0.01,
    budget: Budget | None = None,
    task: Task | None = None,
) -> Phonopy:
    """Harmonic force constants ``Φ = -∂F/∂u`` of a crystal from the forces in displaced supercells.

    All displaced supercells are evaluated as one batch. The force constants are made to obey translational invariance
    and the symmetry of indices.

    Args:
        potential: any potential.
        atoms: relaxed crystal, periodic along all axes; phonopy finds its primitive cell.
        supercell: repetitions along each lattice vector; twice the range of the potential leaves nothing out.
        displacement: of one atom, in Å.
        budget: what is evaluated together; measured if absent.
        task: told of each supercell that is done.

    Returns:
        phonopy's object with its force constants, for everything that phonopy can do.

    Raises:
        MissingExtraError: phonopy is not installed.
        InvalidSystemError: a system that is not periodic along all axes.

    Reference: A. Togo, L. Chaput, T. Tadano, I. Tanaka, J. Phys.: Condens. Matter 35, 353001 (2023),
    doi:10.1088/1361-648X/acd831.
    """
    try:
        from phonopy import Phonopy
        from phonopy.structure.atoms import PhonopyAtoms
    except ImportError as error:
        raise MissingExtraError("phonopy", "phonons", "computing phonons") from error

    if not atoms.pbc.all():
        raise InvalidSystemError(f"expected a crystal that is periodic along all three axes, found pbc {atoms.pbc}")
    cell = PhonopyAtoms(symbols=atoms.symbols, cell=atoms.cell.array, scaled_positions=atoms.get_scaled_positions())
    phonon = Phonopy(cell, supercell_matrix=np.diag(list(supercell)), primitive_matrix="auto")
    phonon.generate_displacements(distance=displacement)
    systems = [
        System.from_ase(Atoms(one.symbols, cell=one.cell, scaled_positions=one.scaled_positions, pbc=True))
        for one in phonon.supercells_with_displacements or ()
    ]
    predictions = evaluate_many(potential, systems, ("energy", "forces"), budget=budget, task=task)
    phonon.forces = np.array([one.forces.numpy() for one in predictions if one.forces is not None])
    phonon.produce_force_constants()
    phonon.symmetrize_force_constants()
    return phonon


def bands(phonon: Phonopy, points: int = 200) -> Bands:
    """Frequencies along the path between special points that suits the lattice of the primitive cell.

    Args:
        phonon: with force constants.
        points: about so many wave vectors in all.

    Reference: W. Setyawan, S. Curtarolo, Comput. Mater. Sci. 49, 299 (2010), doi:10.1016/j.commatsci.2010.05.010.
    """
    primitive = Atoms(
        phonon.primitive.symbols,
        cell=phonon.primitive.cell,
        scaled_positions=phonon.primitive.scaled_positions,
        pbc=True,
    )
    path = primitive.cell.bandpath(npoints=points, eps=1e-4)
    distance, ticks, labels = path.get_linear_kpoint_axis()
    phonon.run_band_structure([path.kpts])
    assert phonon.band_structure is not None
    names: dict[float, str] = {}
    for tick, label in zip(ticks / (2 * np.pi), labels, strict=True):
        name = "Γ" if label == "G" else label
        position = float(tick)
        names[position] = f"{names[position]}|{name}" if position in names else name
    return Bands(
        distance=np.asarray(distance, dtype=float) / (2 * np.pi),
        frequencies=np.array(phonon.band_structure.frequencies[0]),
        ticks=tuple(names),
        labels=tuple(names.values()),
        points=np.asarray(path.kpts, dtype=float),
    )


def density_of_states(phonon: Phonopy, spacing: float = 0.02, pitch: float = 0.05) -> DensityOfStates:
    """Density of states by linear interpolation in tetrahedra.

    Args:
        phonon: with force constants.
        spacing: between wave vectors of the mesh, in 1/Å (without 2π).
        pitch: between frequencies, in THz.
    """
    phonon.run_mesh(1 / spacing)
    lowest = float(np.min(phonon.mesh.frequencies))  # type: ignore[union-attr]
    phonon.run_total_dos(freq_pitch=pitch)
    dos = phonon.total_dos
    assert dos is not None
    return DensityOfStates(np.array(dos.frequency_points), np.array(dos.dos), lowest)


def thermal_properties(
    phonon: Phonopy, temperatures: Float[ndarray, " temperatures"], spacing: float = 0.02
) -> ThermalProperties:
    """Free energy, entropy and heat capacity of harmonic vibrations; imaginary modes do not count.

    ``F = Σ ½hν + k_B T ln(1 - exp(-hν/k_B T))`` over modes and wave vectors of a mesh; the three translations at Γ are
    left out.

    Args:
        phonon: with force constants.
        temperatures: in K.
        spacing: between wave vectors of the mesh, in 1/Å (without 2π).
    """
    phonon.run_mesh(1 / spacing)
    phonon.run_thermal_properties(temperatures=temperatures, exclude_gamma_acoustic=True)
    found = phonon.thermal_properties
    assert found is not None
    assert found.zero_point_energy is not None
    return ThermalProperties(
        temperature=np.array(found.temperatures),
        free_energy=np.array(found.free_energy),
        entropy=np.array(found.entropy),
        heat_capacity=np.array(found.heat_capacity),
        zero_point=float(found.zero_point_energy),
    )
