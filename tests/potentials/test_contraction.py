"""The symmetric contraction against its definition."""

from itertools import permutations

import pytest
import torch
from e3nn import o3
from torch import Tensor

from simkit.potentials.mace.clebsch_gordan import clebsch_gordan
from simkit.potentials.mace.contraction import SymmetricContraction, contiguous
from simkit.potentials.mace.couplings import full_couplings, monomials, polynomial_coefficients, recursion

ODD_SIGNS = {(1, 1, 1): 1, (1, 2, 2): -1, (1, 3, 3): -1, (2, 2, 3): 1, (3, 3, 3): 1, (3, 4, 6): -1, (4, 4, 5): -1}
"""Sign of mace-torch's Wigner symbols relative to those of Condon and Shortley, where l1 + l2 + l3 is odd."""


def rotated(lmax: int, matrix: Tensor) -> Tensor:
    """The matrix of a rotation for features of degrees 0 ... lmax and natural parity."""
    return o3.Irreps.spherical_harmonics(lmax).D_from_matrix(matrix)


@pytest.mark.parametrize("degrees", [(0, 1, 1), (1, 1, 2), (2, 1, 3), (2, 2, 2), (3, 2, 3)])
def test_clebsch_gordan_equals_the_wigner_symbol(degrees: tuple[int, int, int]) -> None:
    expected = o3.wigner_3j(*degrees, dtype=torch.float64) * (2 * degrees[2] + 1) ** 0.5
    torch.testing.assert_close(clebsch_gordan(*degrees), expected, atol=1e-14, rtol=0)


@pytest.mark.parametrize(("degrees", "sign"), ODD_SIGNS.items())
def test_signs_of_odd_clebsch_gordan(degrees: tuple[int, int, int], sign: int) -> None:
    l1, l2, l3 = degrees
    expected = sign * o3.wigner_3j(*degrees, dtype=torch.float64) * (2 * l3 + 1) ** 0.5
    torch.testing.assert_close(clebsch_gordan(*degrees), expected, atol=1e-14, rtol=0)
    exchanged = clebsch_gordan(l2, l1, l3).transpose(0, 1)
    torch.testing.assert_close(exchanged, -expected, atol=1e-14, rtol=0)


@pytest.mark.parametrize(("degree", "counts"), [(0, (1, 4, 23)), (1, (1, 6, 51)), (2, (1, 7, 65))])
def test_numbers_of_couplings(degree: int, counts: tuple[int, ...]) -> None:
    """For lmax = 3, as in published models; fewer of them are independent when factors are exchanged."""
    assert tuple(full_couplings(3, order, degree).shape[-1] for order in (1, 2, 3)) == counts
    independent = {0: (1, 4, 8), 1: (1, 3, 12), 2: (1, 5, 14)}[degree]
    for order, expected in zip((1, 2, 3), independent, strict=True):
        coefficients = polynomial_coefficients(full_couplings(3, order, degree)).flatten(1)
        assert int(torch.linalg.matrix_rank(coefficients, rtol=1e-10)) == expected


def test_fourth_order_keeps_natural_parity_between() -> None:
    """``n_4(0) = n_3(0) + n_3(1)`` and so on, from ``n_3 = (4, 5, 3, 1)`` chains of degree 0 to 3."""
    assert [full_couplings(1, 4, degree).shape[-1] for degree in (0, 1)] == [4 + 5, 4 + 5 + 3]


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("degree", [0, 1, 2])
def test_couplings_are_equivariant(order: int, degree: int) -> None:
    matrix = o3.rand_matrix()
    turn, out = rotated(2, matrix), rotated(degree, matrix)[degree**2 :, degree**2 :]
    couplings = full_couplings(2, order, degree)
    turned = couplings
    for axis in range(1, order + 1):
        turned = torch.tensordot(turned, turn, ([axis], [0])).movedim(-1, axis)
    torch.testing.assert_close(turned, torch.tensordot(out, couplings, 1), atol=1e-12, rtol=0)


def test_coefficients_do_not_depend_on_the_order_of_factors() -> None:
    couplings = full_couplings(1, 3, 1)
    expected = polynomial_coefficients(couplings)
    for order in permutations((1, 2, 3)):
        torch.testing.assert_close(polynomial_coefficients(couplings.permute(0, *order, 4)), expected)


def test_monomials_are_built_recursively() -> None:
    x = torch.randn(4)
    values = x
    for order in (2, 3):
        parent, last = recursion(4, order)
        values = values[parent] * x[last]
        expected = torch.stack([x[list(indices)].prod() for indices in monomials(4, order)])
        torch.testing.assert_close(values, expected)


@pytest.mark.parametrize("correlation", [1, 2, 3, 4])
def test_contraction_equals_its_definition(correlation: int) -> None:
    """``Σ_ν W^ν · U^ν[A, ..., A]`` with the couplings that are not symmetrised, for two channels."""
    lmax, atoms, channels = 1, 3, 2
    module = SymmetricContraction(lmax, 1, correlation, channels, 1)
    features = torch.randn(atoms, (lmax + 1) ** 2, channels)
    expected = []
    for degree, part in enumerate(module.contractions):
        weights = [part.weights_max, *part.weights]
        total = 0
        for order, weight in zip(range(correlation, 0, -1), weights, strict=True):
            value = full_couplings(lmax, order, degree)[None, ..., None]  # atoms, M, factors, chains, channels
            value = value.expand(atoms, *value.shape[1:-1], channels)
            for _ in range(order):
                shape = (atoms, 1, -1, *[1] * (value.dim() - 4), channels)
                value = (value * features.view(shape)).sum(2)
            total = total + (value * weight[0]).sum(2)
        expected.append(total)
    torch.testing.assert_close(module(features, None), torch.cat(expected, 1))


def test_second_derivatives() -> None:
    module = SymmetricContraction(1, 1, 3, 2, 1)
    features = torch.randn(2, 4, 2, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda x: module(x, None), features)


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_forward_mode_derivatives() -> None:
    """Along any direction they equal those of the reverse mode."""
    module = SymmetricContraction(1, 1, 3, 2, 1)
    features, direction = torch.randn(2, 4, 2), torch.randn(2, 4, 2)
    _, found = torch.func.jvp(lambda x: module(x, None), (features,), (direction,))
    jacobian = torch.autograd.functional.jacobian(lambda x: module(x, None), features)
    torch.testing.assert_close(found, torch.tensordot(jacobian, direction, 3))


def test_contiguous_derivatives() -> None:
    """Whatever the layout of a gradient that arrives."""
    x = torch.randn(2, 3, 4, requires_grad=True)
    gradient = torch.randn(2, 3, 4).permute(2, 1, 0)
    (found,) = torch.autograd.grad(contiguous(x.permute(2, 1, 0)), x, gradient)
    assert found.permute(2, 1, 0).is_contiguous()
    assert torch.equal(found, gradient.permute(2, 1, 0))
