"""ASE's own tools, and phonopy, driven by the calculator: each against an analytic result."""

import math
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import add_adsorbate, bulk, fcc100
from ase.constraints import FixAtoms, FixedLine
from ase.filters import FrechetCellFilter, StrainFilter, UnitCellFilter
from ase.md.verlet import VelocityVerlet
from ase.mep import NEB
from ase.optimize import BFGS, FIRE, LBFGS, MDMin
from ase.vibrations import Vibrations
from scipy import constants

from simkit.calculator import Calculator
from simkit.potentials.morse import Morse
from simkit.potentials.stillinger_weber import StillingerWeber

EPSILON, SIGMA = 2.1683, 2.0951
LATTICE_CONSTANT = 4 / math.sqrt(3) * 2 ** (1 / 6) * SIGMA


@pytest.fixture
def silicon() -> Atoms:
    """Two atoms, away from equilibrium in every way."""
    atoms = bulk("Si", a=5.6)
    atoms.set_cell(atoms.cell.array @ [[1.02, 0.01, 0], [0, 0.99, 0.02], [0, 0, 1]], scale_atoms=True)
    atoms.rattle(0.05, seed=0)
    atoms.calc = Calculator(StillingerWeber.silicon())
    return atoms


@pytest.mark.parametrize("optimiser", [BFGS, LBFGS, FIRE, MDMin])
def test_optimisers(optimiser: type) -> None:
    """A dimer relaxes to the minimum of the pair potential."""
    atoms = Atoms("Cu2", [[0, 0, 0], [2.4, 0.3, -0.1]], calculator=Calculator(Morse(0.34, 1.36, 2.87, 12.0)))
    assert optimiser(atoms, logfile=None).run(fmax=1e-6, steps=300)
    assert atoms.get_distance(0, 1) == pytest.approx(2.87, abs=1e-5)
    assert atoms.get_potential_energy() == pytest.approx(-0.34, abs=1e-10)


@pytest.mark.parametrize(
    ("cell_filter", "optimiser"), [(FrechetCellFilter, LBFGS), (UnitCellFilter, BFGS), (UnitCellFilter, FIRE)]
)
def test_relaxation_of_the_cell(silicon: Atoms, cell_filter: type, optimiser: type) -> None:
    """The crystal becomes cubic diamond again, with two ε per atom."""
    assert optimiser(cell_filter(silicon), logfile=None).run(fmax=1e-4, steps=500)
    assert silicon.get_volume() == pytest.approx(LATTICE_CONSTANT**3 / 4, rel=1e-4)
    assert silicon.get_potential_energy() == pytest.approx(-4 * EPSILON, abs=1e-6)
    assert np.abs(silicon.get_stress()).max() < 1e-4
    assert silicon.cell.angles() == pytest.approx([60, 60, 60], abs=0.05)


def test_strain_filter() -> None:
    atoms = bulk("Si", a=5.6)
    atoms.calc = Calculator(StillingerWeber.silicon())
    assert BFGS(StrainFilter(atoms), logfile=None).run(fmax=1e-4, steps=100)
    assert atoms.get_volume() == pytest.approx(LATTICE_CONSTANT**3 / 4, rel=1e-5)


def test_one_evaluation_per_step_of_a_cell_relaxation(silicon: Atoms, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    forward = StillingerWeber.forward
    monkeypatch.setattr(StillingerWeber, "forward", lambda self, graph: (calls.append(1), forward(self, graph))[1])
    optimiser = BFGS(FrechetCellFilter(silicon), logfile=None)
    optimiser.run(fmax=1e-3, steps=5)
    assert len(calls) == optimiser.nsteps + 1


def test_elastic_band_of_a_hopping_adatom() -> None:
    """On a square lattice the adatom crosses the bridge: its energy, with the symmetry imposed, is the barrier."""
    first = fcc100("Cu", (3, 3, 2), a=3.7, vacuum=6.0)
    add_adsorbate(first, "Cu", 1.8, "hollow", offset=(0.0, 0.0))
    first.set_constraint(FixAtoms(mask=first.get_tags() > 0))
    last, bridge = first.copy(), first.copy()
    spacing = np.linalg.norm(first.cell[0]) / 3
    last.positions[-1, 0] += spacing
    bridge.positions[-1] += [spacing / 2, 0, 0.4]
    bridge.set_constraint([*bridge.constraints, FixedLine(-1, [0, 0, 1])])
    for atoms in (first, last, bridge):
        atoms.calc = Calculator(Morse(0.3429, 1.3588, 2.866, 6.0))
        assert BFGS(atoms, logfile=None).run(fmax=1e-3, steps=100)
    barrier = bridge.get_potential_energy() - first.get_potential_energy()
    images = [first, *[first.copy() for _ in range(3)], last]
    for image in images[1:-1]:
        image.calc = Calculator(Morse(0.3429, 1.3588, 2.866, 6.0))
    band = NEB(images, climb=True, method="improvedtangent")
    band.interpolate()
    for image in images[1:-1]:
        image.positions[-1, 2] += 0.2
    assert FIRE(band, logfile=None).run(fmax=5e-3, steps=200)
    energies = np.array([image.get_potential_energy() for image in images]) - images[0].get_potential_energy()
    assert barrier > 0.1
    assert energies[2] == pytest.approx(barrier, abs=1e-4)
    np.testing.assert_allclose(energies, energies[::-1], atol=1e-3)


def total_energies(timestep: float, duration: float) -> np.ndarray:
    """In eV, along a trajectory of silicon that starts with momenta of 600 K in the perfect crystal."""
    atoms = bulk("Si", a=LATTICE_CONSTANT, cubic=True)
    atoms.calc = Calculator(StillingerWeber.silicon())
    momenta = np.random.default_rng(7).normal(size=(8, 3)) * np.sqrt(atoms.get_masses() * units.kB * 600)[:, None]
    atoms.set_momenta(momenta - momenta.mean(0))
    energies: list[float] = []
    dynamics = VelocityVerlet(atoms, timestep * units.fs)
    dynamics.attach(lambda: energies.append(atoms.get_total_energy()))
    dynamics.run(round(duration / timestep))
    return np.array(energies)


def test_energy_is_conserved_to_second_order() -> None:
    coarse, fine = total_energies(2.0, 100.0), total_energies(1.0, 100.0)
    assert np.ptp(coarse) / 8 < 1e-3
    assert np.ptp(coarse) / np.ptp(fine) == pytest.approx(4.0, rel=0.15)


def test_vibration_of_a_dimer(tmp_path: Path) -> None:
    """``ω = a √(2D/μ)``."""
    depth, stiffness = 0.3429, 1.3588
    atoms = Atoms("Cu2", [[0, 0, 0], [2.866, 0, 0]], calculator=Calculator(Morse(depth, stiffness, 2.866, 12.0)))
    vibrations = Vibrations(atoms, name=str(tmp_path / "vibrations"), delta=1e-3)
    vibrations.run()
    reduced = atoms.get_masses()[0] / 2 * constants.atomic_mass
    expected = constants.hbar * stiffness * 1e10 * math.sqrt(2 * depth * constants.e / reduced) / constants.e
    energies = vibrations.get_energies()
    assert energies[-1].real == pytest.approx(expected, rel=1e-5)
    assert np.abs(energies[:5]).max() < 1e-5


def optical_frequency(mass: float) -> float:
    """THz, of the zone centre: ``ω² = 2K/m`` with ``K = 4/3 φ'' + 512/27 λε g²/r²`` from expanding the energy by hand.

    Moving one sublattice by u stretches the four bonds by n·u, and changes the cosine of the angle between bonds j and
    k by -(4/3) u·(n_j + n_k)/r.
    """
    x, step = 2 ** (1 / 6), 1e-4

    def pair(x: float) -> float:
        return 7.049556277 * (0.6022245584 / x**4 - 1) * math.exp(1 / (x - 1.8))

    curvature = (pair(x + step) - 2 * pair(x) + pair(x - step)) / step**2
    angular = 21 * math.exp(2 * 1.2 / (x - 1.8)) / x**2
    force_constant = (4 / 3 * curvature + 512 / 27 * angular) * EPSILON / SIGMA**2
    return math.sqrt(2 * force_constant * constants.e * 1e20 / (mass * constants.atomic_mass)) / (2 * math.pi * 1e12)


def test_phonons() -> None:
    phonopy = pytest.importorskip("phonopy")
    from phonopy.structure.atoms import PhonopyAtoms

    cell = bulk("Si", a=LATTICE_CONSTANT)
    unit = PhonopyAtoms(symbols=cell.symbols, cell=cell.cell.array, scaled_positions=cell.get_scaled_positions())
    phonon = phonopy.Phonopy(unit, supercell_matrix=np.diag([2, 2, 2]))
    phonon.generate_displacements(distance=0.005)
    calculator = Calculator(StillingerWeber.silicon())
    forces = []
    for one in phonon.supercells_with_displacements:
        atoms = Atoms(one.symbols, cell=one.cell, scaled_positions=one.scaled_positions, pbc=True)
        atoms.calc = calculator
        forces.append(atoms.get_forces())
    phonon.forces = forces
    phonon.produce_force_constants()
    frequencies = phonon.run_qpoints([[0, 0, 0]]).frequencies[0]
    assert np.abs(frequencies[:3]).max() < 1e-4
    assert frequencies[3:] == pytest.approx(optical_frequency(unit.masses[0]), rel=1e-3)
    assert frequencies[3] == pytest.approx(17.83, abs=0.01)


def test_another_process(silicon: Atoms) -> None:
    """A spawned process has nothing but what was pickled: atoms and calculator."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        found = pool.submit(silicon.get_potential_energy).result()
    assert found == pytest.approx(silicon.get_potential_energy(), rel=1e-14)
