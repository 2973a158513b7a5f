"""Functions of matrices times vectors: exponentials, φ-functions, roots, inverses."""

from simkit.solvers.matrix_functions.apply import matrix_function, matrix_function_diagonal
from simkit.solvers.matrix_functions.choice import NotConvergedError
from simkit.solvers.matrix_functions.outcome import Applied
from simkit.solvers.matrix_functions.scalar_functions import (
    EXP,
    IDENTITY,
    INVERSE,
    INVERSE_SQRT,
    LOG,
    SQRT,
    ScalarFunction,
    analytic,
    phi,
)

__all__ = [
    "EXP",
    "IDENTITY",
    "INVERSE",
    "INVERSE_SQRT",
    "LOG",
    "SQRT",
    "Applied",
    "NotConvergedError",
    "ScalarFunction",
    "analytic",
    "matrix_function",
    "matrix_function_diagonal",
    "phi",
]
