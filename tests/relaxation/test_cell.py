"""The matrix exponential, its derivative, and forces on the logarithm of the deformation."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.linalg
import torch

from simkit.errors import SimkitError
from simkit.evaluation import evaluate
from simkit.relaxation import CellFilter
from simkit.relaxation.cell import exponential, frechet_adjoint
from simkit.system import System
from simkit.units import GPA


def test_exponential_is_that_of_scipy_alone_and_in_a_batch():
    matrices = torch.randn(9, 3, 3) * torch.linspace(0, 0.9, 9)[:, None, None]
    found = exponential(matrices)
    expected = np.stack([scipy.linalg.expm(matrix.numpy()) for matrix in matrices])
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-13, atol=1e-14)
    assert all(torch.equal(exponential(matrices[k : k + 1])[0], found[k]) for k in range(9))


def test_frechet_derivative_is_that_of_scipy():
    matrices, gradients = torch.randn(4, 3, 3) * 0.3, torch.randn(4, 3, 3)
    found = frechet_adjoint(matrices, gradients).numpy()
    for k in range(4):
        for i, j in np.ndindex(3, 3):
            direction = np.zeros((3, 3))
            direction[i, j] = 1
            along = scipy.linalg.expm_frechet(matrices[k].numpy(), direction, compute_expm=False)
            assert found[k, i, j] == pytest.approx((along * gradients[k].numpy()).sum(), abs=1e-12)


def test_forces_are_derivatives_of_the_enthalpy(argon, crystal):
    system = System.from_ase([crystal(1), crystal(2)])
    logarithm = 0.1 * torch.randn(2, 3, 3)
    cell = CellFilter(pressure=2 * GPA)

    def deformed(logarithm):
        gradient = torch.linalg.matrix_exp(logarithm)
        positions = torch.einsum("ai,aji->aj", system.positions, gradient[system.batch])
        return replace(system, positions=positions, cell=system.cell @ gradient.mT)

    def enthalpy(logarithm):
        present = deformed(logarithm)
        return evaluate(argon, present, outputs=("energy",)).energy + 2 * GPA * present.volume()

    present = deformed(logarithm)
    forces = cell.forces(evaluate(argon, present, outputs=("virial",)).virial, present.volume(), logarithm)
    for i, j in np.ndindex(3, 3):
        step = torch.zeros(3, 3)
        step[i, j] = 1e-5
        slope = (enthalpy(logarithm + step) - enthalpy(logarithm - step)) / 2e-5
        torch.testing.assert_close(forces[:, i, j], -slope, atol=1e-7, rtol=1e-6)


@pytest.mark.parametrize("options", [{"hydrostatic": True, "constant_volume": True}, {"mask": (False,) * 6}])
def test_a_cell_that_cannot_change_is_refused(options):
    with pytest.raises(SimkitError, match="expected a cell that may change"):
        CellFilter(**options)
