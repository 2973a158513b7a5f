"""Equation of state and elastic constants against lattice sums, ASE's fits and published values."""

from dataclasses import replace
from functools import partial

import ase.eos
import numpy as np
import pytest
import torch
from ase.build import bulk

from simkit.analysis import batches
from simkit.analysis.batches import evaluate_many
from simkit.analysis.elastic import elastic_constants, strained
from simkit.analysis.elastic_moduli import moduli, point_group, symmetrised
from simkit.analysis.equation_of_state import (
    birch_murnaghan,
    fit_equation_of_state,
    scaled_cells,
    vinet,
    volumes_of,
)
from simkit.analysis.minimum import minima
from simkit.errors import DataError, InvalidSystemError, SimkitError
from simkit.evaluation import evaluate
from simkit.potentials.lennard_jones import LennardJones
from simkit.potentials.stillinger_weber import StillingerWeber
from simkit.relaxation.cell import CellFilter
from simkit.relaxation.memory import Budget
from simkit.system import System
from simkit.units import GPA

EPSILON, SIGMA = 0.0104, 3.4
LATTICE_12, LATTICE_6 = 12.13188, 14.45392  # sums of (d/r)^n over fcc, J. E. Jones and A. E. Ingham (1925)
A0 = np.sqrt(2) * (2 * LATTICE_12 / LATTICE_6) ** (1 / 6) * SIGMA


@pytest.fixture(scope="module")
def argon():
    """Lennard-Jones with so long a cutoff that the tail is a part in 10⁴ of the energy."""
    return LennardJones(EPSILON, SIGMA, cutoff=16 * SIGMA).requires_grad_(False)


@pytest.fixture(scope="module")
def fcc():
    return System.from_ase(bulk("Ar", "fcc", a=A0))


def scan(potential, system, low=0.94, high=1.06, count=11):
    systems = scaled_cells(system, np.linspace(low, high, count))
    energies = [float(one.energy[0]) for one in evaluate_many(potential, systems, ("energy",))]
    return volumes_of(systems), np.array(energies)


@pytest.mark.parametrize("equation", ["birch-murnaghan", "vinet"])
def test_equation_of_state_of_argon(argon, fcc, equation):
    found = fit_equation_of_state(*scan(argon, fcc, 0.97, 1.03), equation)
    assert found.energy == pytest.approx(-EPSILON * LATTICE_6**2 / (2 * LATTICE_12), rel=5e-4)
    assert (4 * found.volume) ** (1 / 3) == pytest.approx(A0, rel=1e-4)
    exact = 4 * EPSILON / SIGMA**3 * LATTICE_12 * (LATTICE_6 / LATTICE_12) ** 2.5 / GPA
    assert found.bulk_modulus == pytest.approx(exact, rel=2e-3)
    assert found.derivative == pytest.approx(8, rel=0.03)  # of E = a/v⁴ - b/v²


@pytest.mark.parametrize(("equation", "form", "name"), [
    ("birch-murnaghan", birch_murnaghan, "birchmurnaghan"),
    ("vinet", vinet, "vinet"),
])  # fmt: skip
def test_fit_finds_its_own_parameters_and_those_of_ase(equation, form, name):
    volumes = np.linspace(18, 22.5, 9)
    energies = form(volumes, -5.0, 20.0, 0.6, 4.5)
    found = fit_equation_of_state(volumes[::-1], energies[::-1], equation)
    exact = (20.0, -5.0, 0.6 / GPA, 4.5)
    assert (found.volume, found.energy, found.bulk_modulus, found.derivative) == pytest.approx(exact, rel=1e-6)
    assert found.deviation < 1e-9
    np.testing.assert_allclose(found.energies(volumes), energies, atol=1e-9)
    theirs = ase.eos.EquationOfState(volumes, energies, eos=name)
    volume, energy, modulus = theirs.fit()
    assert (found.volume, found.energy) == pytest.approx((volume, energy), rel=1e-5)
    assert found.bulk_modulus == pytest.approx(modulus / GPA, rel=1e-4)


def test_errors_of_the_fit_are_those_of_repeated_noise():
    rng = np.random.default_rng(0)
    volumes = np.linspace(18, 22.5, 15)
    exact = birch_murnaghan(volumes, -5.0, 20.0, 0.6, 4.5)
    fits = [fit_equation_of_state(volumes, exact + rng.normal(scale=1e-4, size=15)) for _ in range(200)]
    spread = np.std([fit.bulk_modulus for fit in fits])
    assert np.mean([fit.bulk_modulus_error for fit in fits]) == pytest.approx(spread, rel=0.2)


def test_a_range_without_minimum_is_refused(argon, fcc):
    with pytest.raises(DataError, match=r"the smallest of them: start from a relaxed crystal"):
        fit_equation_of_state(*scan(argon, fcc, 1.02, 1.10))
    with pytest.raises(DataError, match="at least five volumes"):
        fit_equation_of_state(np.arange(4.0) + 1, np.arange(4.0))


def lattice_sum(a, cutoff):
    """Elastic constants ``1/2V Σ (φ'' - φ'/r) r_i r_j r_k r_l / r²`` of Lennard-Jones fcc without stress, in GPa."""
    n = np.arange(-24, 25)
    points = np.stack(np.meshgrid(n, n, n, indexing="ij"), -1).reshape(-1, 3)
    points = points[(points.sum(1) % 2 == 0) & points.any(1)] * a / 2
    r = np.linalg.norm(points, axis=1)
    points, r = points[r < cutoff], r[r < cutoff]
    first = 4 * EPSILON * (-12 * SIGMA**12 / r**13 + 6 * SIGMA**6 / r**7)
    second = 4 * EPSILON * (156 * SIGMA**12 / r**14 - 42 * SIGMA**6 / r**8)
    x, y, _ = points.T
    weight = (second - first / r) / r**2 / (2 * a**3 / 4) / GPA
    return (weight * x**4).sum(), (weight * x**2 * y**2).sum()


def test_elastic_constants_of_argon(argon, fcc):
    found = elastic_constants(argon, fcc, strain=0.01)
    c11, c12 = lattice_sum(A0, 14 * SIGMA)
    c = found.matrix
    assert np.abs(found.stress).max() < 2e-3
    np.testing.assert_allclose(np.diag(c)[:3], c11, rtol=3e-3)
    np.testing.assert_allclose([c[0, 1], c[0, 2], c[1, 2]], c12, rtol=3e-3)
    np.testing.assert_allclose(np.diag(c)[3:], c12, rtol=3e-3)  # Cauchy's relation of central forces
    assert np.abs(c[:3, 3:]).max() < 1e-6
    assert found.asymmetry < 1e-3 * c11
    assert found.stable
    exact = 4 * EPSILON / SIGMA**3 * LATTICE_12 * (LATTICE_6 / LATTICE_12) ** 2.5 / GPA
    assert moduli(c).bulk == pytest.approx(exact, rel=3e-3)


def test_elastic_constants_do_not_depend_on_the_orientation(argon, fcc):
    """A rotated crystal has the rotated tensor, and its own symmetry brings nothing new."""
    angle = 0.3
    turn = np.array([[np.cos(angle), np.sin(angle), 0], [-np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    matrix = torch.as_tensor(turn)
    turned = replace(fcc, cell=fcc.cell @ matrix, positions=fcc.positions @ matrix)
    plain = elastic_constants(argon, fcc).matrix
    found = elastic_constants(argon, turned).matrix
    expected = symmetrised(plain, turn.T[None])
    np.testing.assert_allclose(found, expected, atol=2e-3 * plain[0, 0])
    assert abs(found[0, 5]) > 0.05 * plain[0, 0]
    rotations = point_group(turned)
    assert len(rotations) == 48
    np.testing.assert_allclose(rotations @ rotations.swapaxes(1, 2), np.broadcast_to(np.eye(3), (48, 3, 3)), atol=1e-7)
    np.testing.assert_allclose(symmetrised(found, rotations), found, atol=2e-3 * plain[0, 0])


def test_silicon_as_published():
    """Relaxed: E. R. Cowley, Phys. Rev. Lett. 60, 2379 (1988), doi:10.1103/PhysRevLett.60.2379.

    Clamped: H. Balamane, T. Halicioglu, W. A. Tiller, Phys. Rev. B 46, 2250 (1992), doi:10.1103/PhysRevB.46.2250, who
    scale the energy by 2.315/2.1683; their relaxed constants are Cowley's times that.
    """
    potential = StillingerWeber.silicon().requires_grad_(False)
    silicon = System.from_ase(bulk("Si", "diamond", a=5.431))
    clamped = elastic_constants(potential, silicon).matrix
    relaxed = elastic_constants(potential, silicon, relax=partial(minima, potential, fmax=1e-5)).matrix
    assert (relaxed[0, 0], relaxed[0, 1], relaxed[3, 3]) == pytest.approx((151.4, 76.4, 56.4), abs=0.1)
    assert clamped[3, 3] * 2.315 / 2.1683 == pytest.approx(117.2, abs=0.2)
    np.testing.assert_allclose(clamped[:3, :3], relaxed[:3, :3], atol=0.05)  # symmetry holds the atoms


def test_minima_that_are_not_reached_are_named():
    potential = LennardJones(EPSILON, SIGMA, cutoff=6.0)
    frame = bulk("Ar", "fcc", a=5.2, cubic=True)
    frame.rattle(0.1, rng=np.random.RandomState(0))
    systems = [System.from_ase(bulk("Ar", "fcc", a=5.2)), System.from_ase(frame)]
    with pytest.raises(SimkitError, match=r"system 1 of 2 did not reach its minimum: not converged after 2 steps"):
        minima(potential, systems, max_steps=2)
    found = minima(potential, systems, cell=CellFilter())[1]
    assert evaluate(potential, found).forces.norm(dim=1).max() < 1e-4


def test_moduli_of_isotropic_and_cubic_crystals():
    bulk_modulus, shear = 80.0, 30.0
    isotropic = np.diag([4 / 3 * shear] * 3 + [shear] * 3)
    isotropic[:3, :3] += bulk_modulus - 2 / 3 * shear * (1 - np.eye(3))
    found = moduli(isotropic)
    assert (found.bulk_voigt, found.bulk_reuss) == pytest.approx((bulk_modulus, bulk_modulus))
    assert (found.shear_voigt, found.shear_reuss, found.anisotropy) == pytest.approx((shear, shear, 0), abs=1e-9)
    assert found.young == pytest.approx(9 * 80 * 30 / (240 + 30))
    assert found.poisson == pytest.approx(found.young / (2 * shear) - 1)
    c11, c12, c44 = 168.4, 121.4, 75.4  # copper
    cubic = np.diag([c11 - c12] * 3 + [c44] * 3)
    cubic[:3, :3] += c12
    found = moduli(cubic)
    assert found.shear_voigt == pytest.approx((c11 - c12 + 3 * c44) / 5)
    assert found.shear_reuss == pytest.approx(5 * (c11 - c12) * c44 / (4 * c44 + 3 * (c11 - c12)))
    with pytest.raises(InvalidSystemError, match="some strain of this crystal is free"):
        moduli(np.diag([1.0, 1, 1, 1, 1, 0]))


def test_strain_gives_the_energy_of_the_virial(argon, fcc):
    step = 1e-4 * np.array([[1.0, 0.3, 0], [0.3, -0.5, 0.2], [0, 0.2, 0.7]])
    compressed = scaled_cells(fcc, np.array([0.9]))[0]
    up, down = (evaluate(argon, strained(compressed, sign * step)).energy for sign in (1, -1))
    virial = evaluate(argon, compressed, outputs=("virial",)).virial[0].numpy()
    assert float(up - down) / 2 == pytest.approx(-np.sum(virial * step), rel=1e-5)


def test_wrong_crystals_are_refused(argon, fcc):
    slab = replace(fcc, pbc=torch.tensor([[True, True, False]]))
    with pytest.raises(InvalidSystemError, match="periodic along all three axes"):
        elastic_constants(argon, slab)
    with pytest.raises(InvalidSystemError, match="an even number"):
        elastic_constants(argon, fcc, points=5)


def test_batches_give_what_single_evaluations_give(monkeypatch):
    potential = LennardJones(EPSILON, SIGMA, cutoff=6.0)
    rng = np.random.RandomState(0)
    frames = [bulk("Ar", "fcc", a=5.2).repeat((1, 1, n)) for n in (1, 2, 3, 4)]
    for frame in frames:
        frame.rattle(0.1, rng=rng)
    systems = [System.from_ase(frame) for frame in frames]
    wanted = [evaluate(potential, one, outputs=("energy", "forces", "stress")) for one in systems]
    sizes = []

    def small_memory(potential, system, **options):
        sizes.append(system.n_atoms)
        if system.n_atoms > 5:
            raise torch.OutOfMemoryError
        return evaluate(potential, system, **options)

    monkeypatch.setattr(batches, "evaluate", small_memory)
    found = evaluate_many(potential, systems, ("energy", "forces", "stress"), budget=Budget(max_atoms=8))
    assert sizes == [6, 1, 5, 4]
    sizes.clear()
    evaluate_many(potential, systems[:2], ("energy",), budget=Budget(max_pairs=50))
    assert sizes == [1, 2]
    for mine, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(mine.energy, theirs.energy.detach())
        torch.testing.assert_close(mine.forces, theirs.forces.detach())
        torch.testing.assert_close(mine.stress, theirs.stress.detach())


def test_values_that_are_not_finite_are_refused():
    potential = LennardJones(EPSILON, SIGMA, cutoff=6.0)
    good = System.from_ase(bulk("Ar", "fcc", a=5.2).repeat((1, 1, 2)))
    bad = replace(good, positions=good.positions * 0)
    with pytest.raises(SimkitError, match="not finite for system 1"):
        evaluate_many(potential, [good, bad])
