"""Radial bases and distance transforms against their definitions."""

import math

import pytest
import torch
from ase.data import covalent_radii
from scipy.special import eval_chebyt, spherical_jn

from simkit.errors import SimkitError
from simkit.potentials.constants import Constants
from simkit.potentials.radial import (
    AgnesiTransform,
    BesselBasis,
    ChebyshevBasis,
    GaussianBasis,
    SoftTransform,
    distance_transform,
    radial_basis,
)


def test_bessel_functions_are_orthonormal_in_the_ball() -> None:
    """``∫ b_m b_n x² dx = δ_mn``: they are normalised spherical Bessel functions of order 0."""
    x = torch.linspace(0, 5, 4001)
    values = BesselBasis(5.0, 4)(x)
    gram = torch.trapezoid(values[:, :, None] * values[:, None, :] * (x**2)[:, None, None], x, dim=0)
    torch.testing.assert_close(gram, torch.eye(4), atol=1e-5, rtol=0)
    expected = math.sqrt(2 / 5) * 3 * math.pi / 5 * spherical_jn(0, 3 * math.pi / 5 * x.numpy())
    torch.testing.assert_close(values[:, 2], torch.as_tensor(expected))


def test_bessel_functions_are_finite_at_zero() -> None:
    x = torch.zeros(1, requires_grad=True)
    values = BesselBasis(5.0, 3)(x)
    torch.testing.assert_close(values[0], math.sqrt(2 / 5) * math.pi / 5 * torch.tensor([1.0, 2.0, 3.0]))
    (slope,) = torch.autograd.grad(values.sum(), x)
    assert slope == 0


def test_gaussians_are_one_at_their_centres() -> None:
    values = GaussianBasis(4.0, 5)(torch.arange(5.0))
    torch.testing.assert_close(values.diagonal(), torch.ones(5))
    torch.testing.assert_close(values.diagonal(1), torch.full((4,), math.exp(-0.5)))


def test_chebyshev_polynomials() -> None:
    x = torch.linspace(-1, 1, 11)
    expected = torch.stack([torch.as_tensor(eval_chebyt(n, x.numpy())) for n in range(1, 7)], 1)
    torch.testing.assert_close(ChebyshevBasis(6)(x), expected)


def test_agnesi_transform() -> None:
    """1 at contact; at r = (ρ_i + ρ_j)/2 it is 1/(1 + a/2); it falls monotonically."""
    transform = AgnesiTransform()
    half = float(covalent_radii[6] + covalent_radii[8]) / 2
    r = torch.tensor([1e-9, 0.3, half, 1.5, 3.0, 6.0])
    found = transform(r, torch.full((6,), 6), torch.full((6,), 8))
    assert found[0] == pytest.approx(1, abs=1e-12)
    assert found[2] == pytest.approx(1 / (1 + 1.0805 / 2))
    assert (found.diff() < 0).all()


def test_soft_transform() -> None:
    """The distance itself beyond the bond length, three quarters of it where atoms overlap."""
    bond = 2 * float(covalent_radii[14])
    found = SoftTransform()(torch.tensor([0.1 * bond, 3 * bond]), torch.full((2,), 14), torch.full((2,), 14))
    torch.testing.assert_close(found, torch.tensor([0.75 * bond, 3 * bond]), rtol=1e-5, atol=0)


def test_unknown_names() -> None:
    with pytest.raises(SimkitError, match="bessel, gaussian, chebyshev; found 'fourier'"):
        radial_basis("fourier", 5.0, 8)
    with pytest.raises(SimkitError, match="agnesi, soft or none; found 'linear'"):
        distance_transform("linear")
    with pytest.raises(SimkitError, match="at least 2 Gaussians, found 1"):
        GaussianBasis(5.0, 1)


def test_constants_survive_conversion_to_float32() -> None:
    basis = BesselBasis(4.7, 3)
    exact = basis.frequencies.clone()
    assert not torch.equal(basis.float().frequencies.double(), exact)
    assert torch.equal(basis.double().frequencies, exact)


def test_loaded_constants_survive_too() -> None:
    basis: Constants = BesselBasis(4.7, 3)
    state = {name: value + 1e-3 for name, value in basis.state_dict().items()}
    basis.load_state_dict(state)
    basis.float().double()
    assert torch.equal(basis.frequencies, state["frequencies"])
