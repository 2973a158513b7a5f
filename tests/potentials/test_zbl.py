"""ZBL repulsion against independent formulae."""

import math

import pytest
from ase import Atoms
from ase.data import covalent_radii

from simkit.evaluation import evaluate
from simkit.potentials.zbl import ZBL
from simkit.system import System


def dimer(symbols: str, distance: float) -> System:
    return System.from_ase(Atoms(symbols, [[0, 0, 0], [0, 0, distance]]))


def screened(z1: int, z2: int, r: float) -> float:
    """The universal potential, with the envelope written out for p = 6."""
    x = r / (0.4543 * 0.529 / (z1**0.3 + z2**0.3))
    pairs = ((0.1818, 3.2), (0.5099, 0.9423), (0.2802, 0.4028), (0.02817, 0.2016))
    u = r / (covalent_radii[z1] + covalent_radii[z2])
    envelope = 1 - 28 * u**6 + 48 * u**7 - 21 * u**8
    return 14.3996 * z1 * z2 / r * sum(c * math.exp(-b * x) for c, b in pairs) * envelope


@pytest.mark.parametrize("r", [0.1, 0.5, 0.9])
def test_energy_of_a_dimer(r: float) -> None:
    found = evaluate(ZBL(elements=(1, 8)), dimer("OH", r), outputs=("energy", "energies"))
    assert float(found.energy) == pytest.approx(screened(8, 1, r), rel=1e-12)
    assert found.energies is not None
    assert float(found.energies[0]) == pytest.approx(float(found.energies[1]))


def test_nothing_beyond_the_covalent_radii() -> None:
    """Though caesium extends the cutoff of the potential beyond that pair."""
    reach = float(covalent_radii[8] + covalent_radii[1])
    model = ZBL(elements=(1, 8, 55))
    assert model.cutoff == pytest.approx(2 * covalent_radii[55])
    assert float(evaluate(model, dimer("OH", reach + 1e-9)).energy) == 0
    assert 0 < float(evaluate(model, dimer("OH", 0.9 * reach)).energy) < screened(8, 1, 0.7 * reach)


def test_coulomb_repulsion_of_bare_nuclei() -> None:
    """The screening functions add up to 1.00007 at contact, so E·r tends to k·Z·Z'."""
    r = 1e-7
    energy = float(evaluate(ZBL(elements=(6, 14)), dimer("CSi", r)).energy)
    assert energy * r == pytest.approx(14.3996 * 6 * 14 * 1.00007, rel=1e-5)


def test_config_round_trip() -> None:
    config = ZBL(elements=(1, 8), envelope_power=5).config()
    assert ZBL(**config).config() == config == {"elements": [1, 8], "envelope_power": 5}
