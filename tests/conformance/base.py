"""What the parts of the battery share: the potential, its systems and how results are compared."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import pytest
import torch
from torch import Tensor

from simkit.evaluation import Prediction, evaluate
from simkit.potential import Potential
from simkit.system import System, concatenate
from tests.conformance import systems


class Conformance:
    """Settings of a battery.

    Attributes:
        spacing: typical distance of neighbouring atoms in Å, where the forces are moderate.
        elements: atomic numbers in the systems; the first three that the potential supports by default.
        exceptions: tests that the potential fails by design, without ``test_``, and why. They must fail.
        tolerance: relative error of results that should be equal up to rounding.
        difference_tolerance: relative error of finite differences.
    """

    spacing: ClassVar[float] = 1.8
    elements: ClassVar[tuple[int, ...] | None] = None
    exceptions: ClassVar[dict[str, str]] = {}
    tolerance: ClassVar[float] = 1e-9
    difference_tolerance: ClassVar[float] = 1e-6

    def __init_subclass__(cls) -> None:
        unknown = [name for name in cls.exceptions if not callable(getattr(cls, f"test_{name}", None))]
        if unknown:
            raise TypeError(f"{cls.__name__}.exceptions names no test of the battery: {', '.join(unknown)}")

    def potential(self) -> Potential:
        """The potential under test, in float64."""
        raise NotImplementedError

    @pytest.fixture(scope="class")
    @classmethod
    def model(cls) -> Potential:
        torch.manual_seed(0)
        return cls().potential().eval()

    @pytest.fixture(autouse=True)
    def declared_exceptions(self, request: pytest.FixtureRequest) -> None:
        reason = self.exceptions.get(request.function.__name__.removeprefix("test_"))
        if reason is not None:
            request.applymarker(pytest.mark.xfail(reason=reason, strict=True))

    def chosen(self, model: Potential) -> tuple[int, ...]:
        """Elements of the systems."""
        if self.elements is not None:
            return self.elements
        supported = model.capabilities.elements
        return (1, 6, 8) if {1, 6, 8} <= set(supported) else supported[:3]

    def molecule(self, model: Potential) -> System:
        return systems.molecule(self.chosen(model), self.spacing)

    def crystal(self, model: Potential) -> System:
        return systems.crystal(self.chosen(model), self.spacing)

    def slab(self, model: Potential) -> System:
        return systems.slab(self.chosen(model), self.spacing)

    def all_systems(self, model: Potential) -> list[System]:
        return [self.molecule(model), self.crystal(model), self.slab(model)]

    def batch(self, model: Potential) -> System:
        """The three systems in one batch."""
        return concatenate(self.all_systems(model))

    def equal(self, found: Tensor | None, expected: Tensor | None, tolerance: float | None = None) -> None:
        """Check that two results agree, relative to the largest component."""
        if expected is None:
            assert found is None
            return
        relative = self.tolerance if tolerance is None else tolerance
        largest = float(expected.detach().abs().max()) if expected.numel() else 0.0
        torch.testing.assert_close(found, expected, rtol=0, atol=relative * max(largest, 1e-3))


def wanted(model: Potential) -> tuple[str, ...]:
    """All outputs but the stress, which exists for three periodic axes only."""
    outputs = ("energy", "energies", "forces", "features")
    return (*outputs, "virial") if model.capabilities.conservative else outputs


def results(model: Potential, system: System) -> Prediction:
    """Everything that the potential predicts for a system."""
    return evaluate(model, system, outputs=wanted(model))


def energy(model: Potential, system: System) -> Tensor:
    """Energy of each system."""
    return evaluate(model, system, outputs=("energy",)).energy


def forces(model: Potential, system: System) -> Tensor:
    """Forces on all atoms."""
    found = evaluate(model, system, outputs=("forces",)).forces
    assert found is not None
    return found


def moved(system: System, positions: Tensor) -> System:
    """The system with other positions."""
    return replace(system, positions=positions)
