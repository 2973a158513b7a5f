"""Lennard-Jones passes the battery."""

from simkit.potentials.lennard_jones import LennardJones
from tests.conformance.battery import Battery


class TestLennardJones(Battery):
    spacing = 3.6

    def potential(self) -> LennardJones:
        return LennardJones(epsilon=0.0104, sigma=3.4, cutoff=8.5)
