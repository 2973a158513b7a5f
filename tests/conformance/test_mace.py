"""MACE passes the battery, in every kind of interaction block."""

from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
from ase.data import covalent_radii

from simkit.potential import Potential
from simkit.potentials.kernels import kernels
from simkit.potentials.mace import MACE, SplinedMACE
from tests.conformance.battery import Battery

SMALL: dict[str, Any] = {
    "elements": (1, 6, 8),
    "cutoff": 3.2,
    "hidden_irreps": "4x0e+4x1o",
    "max_ell": 2,
    "n_radial": 4,
    "radial_mlp": (8,),
    "average_neighbours": 4.0,
    "reference_energies": [[-13.6, -1027.6, -2041.8]],
    "shift": 0.1,
}


class Reference(Battery):
    """In plain torch."""

    @pytest.fixture(autouse=True)
    def computed_by(self) -> Iterator[None]:
        with kernels("reference"):
            yield


class Uncompiled(Reference):
    """Without compilation, which takes long and is tested with one kind of block."""

    test_compiled = None


class TestResidual(Reference):
    def potential(self) -> MACE:
        return MACE(**SMALL)


class TestAgnosticFirst(Uncompiled):
    """Of three layers, with features up to degree 2 and products of different order."""

    def potential(self) -> MACE:
        arguments = {**SMALL, "hidden_irreps": "2x0e+2x1o+2x2e", "layers": 3, "correlation": (3, 2, 1)}
        return MACE(**arguments, first_interaction="agnostic", radial_basis="gaussian")


class TestDensityRepulsion(Uncompiled):
    """With distance transform and the nuclear repulsion of foundation models."""

    spacing = 1.3

    def potential(self) -> MACE:
        blocks: dict[str, Any] = {"first_interaction": "density", "interaction": "density_residual"}
        return MACE(**SMALL, **blocks, zbl="inside", distance_transform="agnesi", scale=0.8)

    def crossings(self, model: Potential, pair: tuple[int, int]) -> list[float]:
        return [float(covalent_radii[list(pair)].sum()), model.cutoff]


class TestNonLinear(Uncompiled):
    def potential(self) -> MACE:
        blocks: dict[str, Any] = {"first_interaction": "residual_nonlinear", "interaction": "residual_nonlinear"}
        model = MACE(**SMALL, **blocks, apply_cutoff=False, distance_transform="soft", element_weights=False)
        for block in model.interactions:
            block.beta.data.fill_(0.5)
        return model


class ByKernels:
    """By kernels, also where torch transforms or compiles."""

    @pytest.fixture(autouse=True)
    def computed_by(self) -> Iterator[None]:
        pytest.importorskip("numba")
        with kernels("numba"):
            yield


class TestResidualByKernels(ByKernels, TestResidual):
    pass


class TestAgnosticFirstByKernels(ByKernels, TestAgnosticFirst):
    pass


class TestNonLinearByKernels(ByKernels, TestNonLinear):
    pass


class TestSplined(ByKernels, Uncompiled):
    """With radial networks by splines."""

    exceptions: ClassVar[dict[str, str]] = {
        "specification_round_trip": "splines are made anew from the MACE that is saved",
        "vmap_over_parameters": "the tables of splines are not parameters, and torch cannot vectorise them",
    }

    def potential(self) -> SplinedMACE:
        return SplinedMACE(MACE(**SMALL, distance_transform="agnesi"), 1e-9)
