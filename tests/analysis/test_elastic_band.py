"""The batched nudged elastic band against ASE's own, image by image."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.mep import NEB
from ase.optimize import FIRE

from simkit.analysis.elastic_band import BatchedNEB, interpolated, reaction_path
from simkit.calculator import Calculator
from simkit.errors import InvalidSystemError, SimkitError
from simkit.potentials.lennard_jones import LennardJones


class CountingCalculator(Calculator):
    """Counts evaluations."""

    count = 0

    def calculate(self, *arguments, **options):
        type(self).count += 1
        super().calculate(*arguments, **options)


@pytest.fixture(scope="module")
def potential():
    return LennardJones(epsilon=0.0104, sigma=3.4, cutoff=5.5).requires_grad_(False)


@pytest.fixture(scope="module")
def ends(potential):
    """An atom of fcc argon that hops into a vacancy."""
    crystal = bulk("Ar", "fcc", a=5.25, cubic=True).repeat(2)
    first, last = crystal.copy(), crystal.copy()
    hop = int(np.argmin(np.linalg.norm(crystal.positions - [0, 2.625, 2.625], axis=1)))
    last.positions[hop] = crystal.positions[0]
    for atoms in (first, last):
        del atoms[0]
        atoms.calc = Calculator(potential)
        assert FIRE(atoms, logfile=None).run(fmax=0.001, steps=300)
        atoms.calc = None
    return first, last


def test_same_path_as_ase_with_fewer_calls(potential, ends):
    band = interpolated(*ends, 3, "linear")
    found = reaction_path(potential, band, fmax=0.05, climb=False)
    CountingCalculator.count = 0
    theirs = [image.copy() for image in band]
    for image in theirs:
        image.calc = CountingCalculator(potential)
    neb = NEB(theirs, k=0.1, method="improvedtangent")
    optimiser = FIRE(neb, logfile=None)
    assert optimiser.run(fmax=0.05, steps=500)
    assert found.converged
    assert found.steps == optimiser.nsteps
    for mine, other in zip(found.images, theirs, strict=True):
        np.testing.assert_allclose(mine.positions, other.positions, atol=1e-8)
    energies = np.array([image.get_potential_energy() for image in theirs])
    np.testing.assert_allclose(found.energy, energies - energies[0], atol=1e-9)
    assert found.evaluations == found.steps + 1
    assert CountingCalculator.count >= 3 * found.evaluations


def test_the_climbing_image_is_a_saddle_point(potential, ends):
    found = reaction_path(potential, interpolated(*ends, 3), fmax=0.01)
    assert found.converged
    top = int(found.energy.argmax())
    assert top == 2  # by symmetry in the middle
    assert np.linalg.norm(found.images[top].get_forces(), axis=1).max() < 0.01
    assert found.slope[top] == pytest.approx(0, abs=0.01)
    assert found.barrier == pytest.approx(found.reverse_barrier, abs=2e-4)
    assert found.energy == pytest.approx(found.energy[::-1], abs=1e-3)
    # the slope is the derivative of the energy along the path
    assert np.trapezoid(found.slope[: top + 1], found.distance[: top + 1]) == pytest.approx(found.barrier, rel=0.1)


def test_ends_that_do_not_match_are_refused(potential, ends):
    first, last = ends
    other = last.copy()
    other.numbers[0] = 10
    with pytest.raises(InvalidSystemError, match="the same atoms in the same order"):
        interpolated(first, other, 3)
    other = last.copy()
    other.cell *= 1.01
    with pytest.raises(InvalidSystemError, match="the same cell"):
        interpolated(first, other, 3)
    other = first.copy()
    other.positions += 0.003
    with pytest.raises(InvalidSystemError, match="expected two different ends, found the same within"):
        interpolated(first, other, 3)
    with pytest.raises(InvalidSystemError, match="at least one image"):
        reaction_path(potential, [first, last])
    with pytest.raises(SimkitError, match="as they are"):
        BatchedNEB([Atoms("Ar"), Atoms("Ar"), Atoms("Ar")], potential, remove_rotation_and_translation=True)
