"""Classical potentials and compositions pass the battery."""

import pytest
from ase.data import covalent_radii

from simkit.potential import Potential
from simkit.potentials.element_shift import ElementShift
from simkit.potentials.lennard_jones import LennardJones
from simkit.potentials.morse import Morse
from simkit.potentials.stillinger_weber import StillingerWeber
from simkit.potentials.sum import Sum
from simkit.potentials.zbl import ZBL
from tests.conformance.battery import Battery


class TestMorse(Battery):
    spacing = 2.6

    def potential(self) -> Morse:
        return Morse(depth=0.35, stiffness=1.4, distance=2.8, cutoff=6.0)


class TestStillingerWeber(Battery):
    spacing = 2.4

    def potential(self) -> StillingerWeber:
        return StillingerWeber.silicon()


class TestZBL(Battery):
    spacing = 1.1

    def potential(self) -> ZBL:
        return ZBL(elements=(6, 8, 14))

    def crossings(self, model: Potential, pair: tuple[int, int]) -> list[float]:
        return [float(covalent_radii[list(pair)].sum())]


class TestSum(Battery):
    """Of terms with different cutoffs, one of them a sum itself."""

    spacing = 2.4

    def potential(self) -> Sum:
        pair = Morse(depth=0.1, stiffness=1.4, distance=2.8, cutoff=4.5)
        return Sum(StillingerWeber.silicon(), Sum(LennardJones(epsilon=0.01, sigma=2.2, cutoff=6.0), pair))

    def crossings(self, model: Potential, pair: tuple[int, int]) -> list[float]:
        return [1.8 * 2.0951, 4.5, 6.0]


class TestElementShift(Battery):
    spacing = 2.6

    def potential(self) -> ElementShift:
        return ElementShift(
            Morse(depth=0.35, stiffness=1.4, distance=2.8, cutoff=6.0), {"H": -13.6, "C": 3.0, "O": -2e3}
        )


class TestDispersionD3(Battery):
    spacing = 1.8

    def potential(self) -> Potential:
        pytest.importorskip("tad_dftd3")
        from simkit.potentials.dispersion import DispersionD3

        return DispersionD3.for_functional("pbe", cutoff=7.0, coordination_cutoff=5.0, elements=(1, 6, 8))

    def crossings(self, model: Potential, pair: tuple[int, int]) -> list[float]:
        return [5.0, 7.0]
