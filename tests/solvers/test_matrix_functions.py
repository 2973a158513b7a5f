"""Functions of matrices beside eigendecompositions, sine transforms and finite differences."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.fft
import scipy.linalg
import scipy.sparse
import torch
from torch import Tensor

from simkit.errors import SimkitError
from simkit.solvers.matrix_functions import (
    EXP,
    IDENTITY,
    INVERSE,
    INVERSE_SQRT,
    LOG,
    SQRT,
    NotConvergedError,
    ScalarFunction,
    analytic,
    matrix_function,
    matrix_function_diagonal,
    phi,
)
from simkit.solvers.matrix_functions.poles import deviation, on_interval, talbot
from simkit.solvers.matrix_functions.scalar_functions import phi_of_matrix, phi_values
from simkit.solvers.matrix_functions.selected_inversion import inverse_diagonal

pytestmark = pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta")

COS = analytic("cos", np.cos)


def laplacian(n: int, scale: float = 1.0) -> scipy.sparse.csr_array:
    """Five points on the unit square with n² inner points and Dirichlet boundaries, times ``scale``."""
    one = scipy.sparse.diags_array([1.0, -2.0, 1.0], offsets=(-1, 0, 1), shape=(n, n)) * (n + 1) ** 2 * scale
    unit = scipy.sparse.eye_array(n)
    return scipy.sparse.csr_array(scipy.sparse.kron(one, unit) + scipy.sparse.kron(unit, one))


def advection(n: int, diffusion: float) -> scipy.sparse.csr_array:
    """Periodic central differences on n points: not symmetric."""
    shift = scipy.sparse.csr_array(np.roll(np.eye(n), 1, axis=1))
    unit = scipy.sparse.eye_array(n)
    slope, curvature = n * (shift - shift.T) / 2, n**2 * (shift + shift.T - 2 * unit)
    return scipy.sparse.csr_array(-slope + diffusion * curvature)


def by_sine_transform(n: int, scale: float, function: ScalarFunction, vector: np.ndarray) -> np.ndarray:
    """``f(A) b`` for the Laplacian, exactly."""
    eigenvalues = -4 * (n + 1) ** 2 * scale * np.sin(np.pi * np.arange(1, n + 1) / (2 * (n + 1))) ** 2
    modes = scipy.fft.dstn(vector.reshape(n, n), type=1, norm="ortho")
    values = function.values((eigenvalues[:, None] + eigenvalues).astype(complex)).real
    return scipy.fft.dstn(values * modes, type=1, norm="ortho").ravel()


def vector_of(n: int, seed: int = 0) -> Tensor:
    return torch.randn(n, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def relative(found: Tensor, expected: np.ndarray) -> float:
    return float(np.linalg.norm(found.numpy() - expected) / np.linalg.norm(expected))


@pytest.mark.parametrize("k", range(5))
def test_phi_recurrence(k: int) -> None:
    """``z φ_{k+1} = φ_k - 1/k!``, also where the formula cancels, and values of a series in high precision."""
    z = np.array([1e-9, 1e-3, 0.5, 0.999, 1.001, -3.0, 2j, -40.0, -1e5])
    left, right = z * phi_values(k + 1, z), phi_values(k, z) - 1 / scipy.special.factorial(k)
    assert np.allclose(left, right, rtol=1e-12, atol=1e-15)
    assert np.allclose(phi_values(k, np.array([1e-8])), 1 / scipy.special.factorial(k), rtol=1e-7)


def test_phi_of_matrix() -> None:
    matrix = np.random.default_rng(0).standard_normal((6, 6))
    values, vectors = np.linalg.eig(matrix)
    for k in range(4):
        expected = (vectors * phi_values(k, values)) @ np.linalg.inv(vectors)
        assert np.allclose(phi_of_matrix(k, matrix), expected.real, atol=1e-12)


@pytest.mark.parametrize(
    ("function", "tolerance"), [(EXP, 1e-10), (phi(1), 1e-9), (phi(3), 1e-7), (SQRT, 1e-9), (LOG, 1e-9)]
)
def test_expansions_reach_their_tolerance(function: ScalarFunction, tolerance: float) -> None:
    interval = (-1e4, 0.0) if function.entire else (1e-2, 1e3)
    expansion = on_interval(function, *interval, tolerance)
    points = np.linspace(*interval, 7001).astype(complex)
    scale = np.abs(function.values(points)).max()
    assert np.abs(expansion(points) - function.values(points)).max() <= 2 * tolerance * max(scale, expansion.error)


def test_talbot_converges_geometrically() -> None:
    errors = [deviation(talbot(EXP, n), EXP, (-1e8, 0.0), 0.0) for n in (8, 12, 16, 20)]
    rates = np.array(errors[:-1]) / np.array(errors[1:])
    assert np.all(rates > 100)
    assert np.all(rates < 3.89**4 * 1.6)


@pytest.mark.parametrize("scale", [1e-3, 0.05, 2.0])
@pytest.mark.parametrize("method", ["auto", "krylov", "shift-invert", "contour", "poles"])
@pytest.mark.parametrize("function", [EXP, phi(1), phi(2)], ids=lambda f: f.name)
def test_heat(function: ScalarFunction, method: str, scale: float) -> None:
    """Every method of the heat equation within its tolerance, and an estimate not below a tenth of the error."""
    n, tolerance = 24, 1e-7
    vector = vector_of(n * n)
    found = matrix_function(laplacian(n, scale), function, vector, method=method, tolerance=tolerance)
    expected = by_sine_transform(n, scale, function, vector.numpy())
    size = max(float(np.linalg.norm(expected)), float(vector.norm()) if function.order == 0 else 0)
    error = float(np.linalg.norm(found.values.numpy() - expected)) / size
    assert error <= tolerance
    assert error <= 10 * found.error + 1e-13


@pytest.mark.parametrize("function", [SQRT, INVERSE_SQRT, LOG, INVERSE, IDENTITY, COS], ids=lambda f: f.name)
def test_functions_of_symmetric_matrices(function: ScalarFunction) -> None:
    matrix = -laplacian(14, 0.01)
    vector = vector_of(196)
    values, vectors = np.linalg.eigh(matrix.toarray())
    expected = (vectors * function.values(values.astype(complex)).real) @ (vectors.T @ vector.numpy())
    found = matrix_function(matrix, function, vector, tolerance=1e-9)
    assert relative(found.values, expected) <= 1e-9
    dense = matrix_function(torch.from_numpy(matrix.toarray()), function, vector)
    assert relative(dense.values, expected) <= 1e-11


def test_large_norm_is_not_silently_wrong() -> None:
    """At ``‖A‖ = 1e4``, where restarted Krylov methods stop early."""
    n = 50
    scale = 1e4 / (8 * (n + 1) ** 2)
    vector = vector_of(n * n)
    found = matrix_function(laplacian(n, scale), EXP, vector, tolerance=1e-8)
    expected = by_sine_transform(n, scale, EXP, vector.numpy())
    assert np.linalg.norm(found.values.numpy() - expected) <= 1e-8 * float(vector.norm())
    assert found.method == "shift-invert"


@pytest.mark.parametrize("diffusion", [0.0, 1e-3, 1.0])
@pytest.mark.parametrize("function", [EXP, phi(1), phi(2)], ids=lambda f: f.name)
def test_advection_and_diffusion(function: ScalarFunction, diffusion: float) -> None:
    """Spectra along the imaginary axis and along the negative real one."""
    matrix, vector = advection(64, diffusion), vector_of(64)
    found = matrix_function(matrix, function, vector, tolerance=1e-9)
    expected = function.of_matrix(matrix.toarray()) @ vector.numpy()
    assert relative(found.values, expected) <= 1e-9


@pytest.mark.parametrize("method", ["krylov", "shift-invert"])
def test_near_defective(method: str) -> None:
    """A Jordan block, and one with a tiny perturbation."""
    for entry in (0.0, 1e-12):
        matrix = scipy.sparse.diags_array([-np.ones(40), np.ones(39)], offsets=(0, 1)).tolil()
        matrix[39, 0] = entry
        vector = vector_of(40)
        found = matrix_function(matrix.tocsr(), EXP, vector, method=method, tolerance=1e-9)
        assert relative(found.values, scipy.linalg.expm(matrix.toarray()) @ vector.numpy()) <= 1e-9


def test_semigroup() -> None:
    whole, half = laplacian(16, 0.02), laplacian(16, 0.01)
    vector = vector_of(256)
    once = matrix_function(whole, EXP, vector, tolerance=1e-11).values
    first = matrix_function(half, EXP, vector, tolerance=1e-11).values
    assert torch.allclose(once, matrix_function(half, EXP, first, tolerance=1e-11).values, rtol=1e-9, atol=1e-11)


def test_diagonal_of_inverse() -> None:
    matrix = scipy.sparse.csc_array(-laplacian(20))
    expected = np.diag(np.linalg.inv(matrix.toarray()))
    assert np.allclose(inverse_diagonal(matrix), expected, rtol=1e-12)
    shifted = scipy.sparse.csc_array(matrix + (0.3 + 2j) * 400 * scipy.sparse.eye_array(400))
    assert np.allclose(inverse_diagonal(shifted), np.diag(np.linalg.inv(shifted.toarray())), rtol=1e-12)


@pytest.mark.parametrize("function", [EXP, SQRT, INVERSE], ids=lambda f: f.name)
def test_diagonal_of_functions(function: ScalarFunction) -> None:
    matrix = laplacian(12, 0.01) if function.entire else -laplacian(12, 0.01)
    values, vectors = np.linalg.eigh(matrix.toarray())
    expected = (vectors**2) @ function.values(values.astype(complex)).real
    found = matrix_function_diagonal(matrix, function, tolerance=1e-11).numpy()
    assert np.allclose(found, expected, atol=1e-10 * np.abs(expected).max())


@pytest.mark.parametrize("symmetric", [True, False])
def test_dense_gradients(symmetric: bool) -> None:
    generator = torch.Generator().manual_seed(1)
    matrices = torch.randn(2, 5, 5, dtype=torch.float64, generator=generator)
    matrices = matrices @ matrices.mT + torch.eye(5, dtype=torch.float64) if symmetric else matrices
    vectors = torch.randn(2, 5, dtype=torch.float64, generator=generator).requires_grad_()
    matrices.requires_grad_()
    for function in (EXP, phi(2), *((SQRT, LOG) if symmetric else ())):
        assert torch.autograd.gradcheck(lambda a, b, f=function: matrix_function(a, f, b).values, (matrices, vectors))


def test_gradient_at_equal_eigenvalues() -> None:
    """The unit matrix, whose eigenvectors have no derivatives: ``d tr(C exp A) / dA = e Cᵀ``."""
    matrix = torch.eye(4, dtype=torch.float64, requires_grad=True)
    left, right = vector_of(4, 1), vector_of(4, 2)
    (matrix_function(matrix, EXP, right).values @ left).backward()
    assert matrix.grad is not None
    assert torch.allclose(matrix.grad, np.e * torch.outer(left, right), rtol=1e-9)


@pytest.mark.parametrize("function", [EXP, phi(1), SQRT], ids=lambda f: f.name)
def test_sparse_gradients(function: ScalarFunction) -> None:
    """By every stored entry and by the vector, beside the dense derivative."""
    matrix = laplacian(5, 0.02) if function.entire else -laplacian(5, 0.02)
    dense = torch.from_numpy(matrix.toarray()).requires_grad_()
    first, second = vector_of(25, 3).requires_grad_(), vector_of(25, 3).requires_grad_()
    entries = dense.detach().to_sparse_csr().requires_grad_()
    weights = vector_of(25, 4)
    (matrix_function(dense, function, first).values @ weights).backward()
    (
        matrix_function(entries, function, second, tolerance=1e-10 if function.entire else 1e-6).values @ weights
    ).backward()
    assert dense.grad is not None
    assert entries.grad is not None
    assert torch.allclose(first.grad, second.grad, rtol=1e-7, atol=1e-9)
    found = entries.grad.to_dense()
    stored = dense.detach() != 0
    assert torch.allclose(found[stored], dense.grad[stored], rtol=1e-7, atol=1e-9)


def test_gradients_of_a_matrix_that_is_not_symmetric() -> None:
    matrix = 0.1 * advection(16, 0.05)
    dense = torch.from_numpy(matrix.toarray()).requires_grad_()
    entries = dense.detach().to_sparse_csr().requires_grad_()
    left, right = vector_of(16, 1), vector_of(16, 2)
    (matrix_function(dense, EXP, right).values @ left).backward()
    (matrix_function(entries, EXP, right, tolerance=1e-6).values @ left).backward()
    assert dense.grad is not None
    assert entries.grad is not None
    stored = dense.detach() != 0
    assert torch.allclose(entries.grad.to_dense()[stored], dense.grad[stored], rtol=1e-5, atol=1e-7)


def test_one_method_that_does_not_converge() -> None:
    """A contour around the negative axis, and eigenvalues far up the imaginary one."""
    with pytest.raises(NotConvergedError, match=r"did not reach the relative error 1\.0e-08 \(contour: "):
        matrix_function(advection(64, 0.0), EXP, vector_of(64), method="contour")


@pytest.mark.parametrize(
    ("matrix", "function", "vector", "message"),
    [
        (scipy.sparse.csr_array((3, 4)), EXP, vector_of(4), "expected a square matrix"),
        (laplacian(3), EXP, vector_of(8), "expected a vector of 9 numbers"),
        (laplacian(3), EXP, vector_of(9).float(), "float64"),
        (laplacian(3) * np.nan, EXP, vector_of(9), "finite entries of the matrix"),
        (laplacian(3), EXP, vector_of(9) * np.inf, "finite entries of the vector"),
        (laplacian(3) * 1j, EXP, vector_of(9), "real matrix"),
        (torch.eye(3, dtype=torch.float64), EXP, vector_of(2), "square matrices and a vector for each"),
        (torch.eye(3).float(), EXP, torch.ones(3).float(), "float32 cannot reach"),
    ],
)
def test_bad_input(matrix, function: ScalarFunction, vector: Tensor, message: str) -> None:
    with pytest.raises(SimkitError, match=message):
        matrix_function(matrix, function, vector)


def test_methods_that_do_not_apply() -> None:
    with pytest.raises(SimkitError, match="is for exp and φ_k, not for sqrt"):
        matrix_function(-laplacian(3), SQRT, vector_of(9), method="shift-invert")
    with pytest.raises(SimkitError, match="real and finite for the eigenvalues"):
        matrix_function(laplacian(3), SQRT, vector_of(9), method="poles")


def test_zero() -> None:
    assert float(matrix_function(laplacian(4), EXP, torch.zeros(16, dtype=torch.float64)).values.norm()) == 0
    none = scipy.sparse.csr_array((4, 4))
    assert torch.allclose(matrix_function(none, EXP, vector_of(4)).values, vector_of(4))
