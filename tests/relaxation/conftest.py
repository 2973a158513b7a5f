import numpy as np
import pytest
from ase.build import bulk

from simkit.potentials.lennard_jones import LennardJones
from simkit.system import System


@pytest.fixture
def argon():
    return LennardJones(epsilon=0.0104, sigma=3.4, cutoff=7.0, elements=(10, 18))


def strained_crystal(seed=1, a=5.0, repeat=(1, 1, 1)):
    """A crystal with displaced atoms in a sheared cell."""
    rng = np.random.RandomState(seed)
    atoms = bulk("Ar", "fcc", a=a, cubic=True) * repeat
    atoms.rattle(0.15, rng=rng)
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + rng.uniform(-0.04, 0.04, (3, 3))), scale_atoms=True)
    return atoms


@pytest.fixture
def crystal():
    return strained_crystal


@pytest.fixture
def systems():
    """Crystals of several sizes and states."""
    shapes = ((1, 1, 1), (2, 1, 1))
    return [System.from_ase(strained_crystal(k, 5.0 + 0.05 * k, shapes[k % 2])) for k in range(6)]
