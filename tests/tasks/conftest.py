import numpy as np
import pytest
from ase.build import bulk
from ase.cluster import Icosahedron

import simkit
from simkit.potentials.lennard_jones import LennardJones
from simkit.progress import Progress
from simkit.uncertainty.ensemble import Ensemble


class Interrupted(Exception):
    """Stands for a kill."""


class StopAfter(Progress):
    """Progress that ends the work at a given report, as a kill would."""

    def __init__(self, reports):
        self.left = reports

    def task(self, title, total, done=0):
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def advance(self, parts=1, note=""):
        self.left -= 1
        if self.left == 0:
            raise Interrupted

    def say(self, text):
        pass


@pytest.fixture
def stop_after():
    return StopAfter


@pytest.fixture
def interrupted():
    return Interrupted


@pytest.fixture
def argon_model(tmp_path):
    """A Lennard-Jones model file for argon and neon."""
    path = tmp_path / "argon.simkit"
    simkit.save_model(path, LennardJones(epsilon=0.0104, sigma=3.4, cutoff=7.0, elements=(10, 18)))
    return path


@pytest.fixture
def argon_ensemble(tmp_path):
    """An ensemble of three Lennard-Jones potentials in a file."""
    wells = (0.0100, 0.0104, 0.0110)
    members = [LennardJones(epsilon=epsilon, sigma=3.4, cutoff=7.0, elements=(18,)) for epsilon in wells]
    path = tmp_path / "ensemble.simkit"
    simkit.save_model(path, Ensemble(*members))
    return path


@pytest.fixture
def crystal():
    atoms = bulk("Ar", "fcc", a=5.3, cubic=True)
    atoms.rattle(0.05, rng=np.random.RandomState(1))
    return atoms


@pytest.fixture
def cluster():
    atoms = Icosahedron("Ar", 2, latticeconstant=5.4)
    atoms.rattle(0.1, rng=np.random.RandomState(2))
    return atoms
