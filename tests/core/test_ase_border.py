import numpy as np
import pytest
from ase import Atoms

from simkit.ase_border import ase_stress, has_volume


def test_stress_is_the_negative_virial_per_volume_in_the_order_of_voigt():
    virial = np.array([[1.0, 6.0, 5.0], [6.0, 2.0, 4.0], [5.0, 4.0, 3.0]])
    slab = Atoms("H", cell=[2, 2, 5], pbc=(True, True, False))
    np.testing.assert_allclose(ase_stress(virial, slab), -np.arange(1, 7) / 20)


@pytest.mark.parametrize(
    ("cell", "expected"), [([2, 2, 5], True), ([2, 2, 0], False), ([[1, 0, 0], [1, 0, 0], [0, 0, 1]], False)]
)
def test_volume(cell, expected):
    assert has_volume(Atoms("H", cell=cell)) is expected
