"""The battery itself: it passes a correct potential, and each test catches what it is for."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest
import torch

from simkit.potential import Potential
from tests.conformance import broken
from tests.conformance.battery import Battery

CHARGE, SPIN = ("charge", 0.0, -1.0), ("spin", 1.0, 3.0)

CAUGHT: list[tuple[type[Potential], str, tuple]] = [
    (broken.Constant, "depends_on_geometry", ()),
    (broken.Anisotropic, "orthogonal_transformations", (False,)),
    (broken.Chiral, "orthogonal_transformations", (True,)),
    (broken.Anchored, "translation", ()),
    (broken.Ordered, "permutation", ()),
    (broken.Unwrapped, "periodic_images_of_atoms", ()),
    (broken.CellLengths, "lattice_basis", ([[1, 0, 0], [1, 1, 0], [0, 0, 1]],)),
    (broken.VacuumVolume, "rows_of_non_periodic_axes", ()),
    (broken.Averaged, "supercell", ()),
    (broken.Detached, "forces_by_finite_differences", ()),
    (broken.DetachedCell, "virial_and_stress_by_finite_differences", ()),
    (broken.FirstOrderOnly, "hessian_vector_product", ()),
    (broken.OwnGradient, "func_grad", ()),
    (broken.FrozenWeight, "gradient_of_a_force_loss", ()),
    (broken.Truncated, "smooth_crossings_of_a_pair", ()),
    (broken.KinkAtCutoff, "smooth_crossings_of_a_pair", ()),
    (broken.CountedNeighbours, "smooth_crossing_among_others", ()),
    (broken.Unmasked, "edges_beyond_the_cutoff", ()),
    (broken.Global, "size_consistency", ()),
    (broken.TwoHops, "interaction_range", ()),
    (broken.LogDensity, "isolated_atoms", ()),
    (broken.NeedsEdges, "graphs_without_edges", (3,)),
    (broken.NeedsEdges, "graphs_without_edges", (0,)),
    (broken.UnsafeNorm, "symmetric_structures", ()),
    (broken.UnsortedElements, "capabilities", ()),
    (broken.UndeclaredCharge, "conditions", CHARGE),
    (broken.UnusedSpin, "conditions", SPIN),
    (broken.SharedCharge, "conditions", CHARGE),
    (broken.MixedSystems, "batch_equals_single", ()),
    (broken.ChangesNumbers, "inputs_are_not_mutated", ()),
    (broken.CountsCalls, "inputs_are_not_mutated", ()),
    (broken.Cancelling, "float32", ()),
    (broken.Branching, "vmap_over_parameters", ()),
]


class TestHealthy(Battery):
    def potential(self) -> Potential:
        return broken.Healthy()


@pytest.mark.parametrize(
    ("kind", "name", "arguments"), CAUGHT, ids=lambda value: getattr(value, "__name__", str(value))
)
def test_caught(kind: type[Potential], name: str, arguments: tuple) -> None:
    fails(getattr(Battery(), f"test_{name}"), kind(), *arguments)


def test_forgotten_argument_is_caught() -> None:
    fails(Battery().test_specification_round_trip, broken.ForgetsArgument(power=2.0))


@pytest.mark.compiled
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")
def test_graph_break_is_caught() -> None:
    with pytest.raises((torch._dynamo.exc.Unsupported, torch._dynamo.exc.UserError)):
        Battery().test_compiled(broken.Branching())


def test_every_test_can_fail() -> None:
    shown = {name for _, name, _ in CAUGHT} | {"specification_round_trip", "compiled"}
    assert shown == {name.removeprefix("test_") for name in dir(Battery) if name.startswith("test_")}


def test_chiral_potential_passes_proper_rotations() -> None:
    Battery().test_orthogonal_transformations(broken.Chiral(), False)


@pytest.mark.parametrize("condition", [CHARGE, SPIN])
def test_declared_conditions_pass(condition: tuple[str, float, float]) -> None:
    Battery().test_conditions(broken.Conditional(), *condition)


def test_exceptions_must_name_tests() -> None:
    with pytest.raises(TypeError, match="no test of the battery: supercel"):
        type("TestMisspelt", (Battery,), {"exceptions": {"supercel": "misspelt"}})


def fails(test: Callable[..., None], *arguments: object) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # e.g. of a mean over nothing
        with pytest.raises((AssertionError, RuntimeError)):
            test(*arguments)
