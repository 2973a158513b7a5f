"""Bias potentials that drive dynamics to where a model is uncertain."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from simkit.errors import SimkitError
from simkit.evaluation import evaluate
from simkit.graph import Graph
from simkit.neighbours import Neighbours, build_neighbours
from simkit.potential import AtomicOutput, Capabilities, Potential
from simkit.system import System
from simkit.uncertainty.base import UncertainPotential, require_uncertain

UDD_CITATION = "M. Kulichenko et al., Nat. Comput. Sci. 3, 230 (2023), doi:10.1038/s43588-023-00406-5"
HAL_CITATION = "C. van der Oord et al., npj Comput. Mater. 9, 168 (2023), doi:10.1038/s41524-023-01104-6"
STRESS_CITATION = "V. Zaverkin et al., npj Comput. Mater. 10, 83 (2024), doi:10.1038/s41524-024-01254-1"


class Bias(Potential, ABC):
    """An energy that depends on a geometry through the variance of a model's energy alone.

    Add it to the model, ``Sum(model, bias)``: forces, stress and everything else follow. It is shared out evenly among
    the atoms of a system, and every atom feels all others, so the interaction range is infinite.

    Args:
        model: whose uncertainty it is.
        citations: of the method.
    """

    def __init__(self, model: UncertainPotential, citations: tuple[str, ...]) -> None:
        facts = model.capabilities
        if not facts.conservative:
            raise SimkitError(
                f"expected a model whose forces are derivatives of its energy, found a {model.kind} that predicts "
                "forces directly: a bias on its energy would not go with them"
            )
        own = tuple(dict.fromkeys((*facts.citations, *citations)))
        super().__init__(
            Capabilities(facts.cutoff, math.inf, facts.elements, conditions=facts.conditions, citations=own)
        )
        self.model = model

    @abstractmethod
    def energy_of(
        self, variance: Float[Tensor, " systems"], atoms: Float[Tensor, " systems"]
    ) -> Float[Tensor, " systems"]:
        """Bias energy in eV of systems with a variance in eV² and a number of atoms."""

    def forward(self, graph: Graph) -> AtomicOutput:
        """The bias energy, in equal shares."""
        system = graph.system
        atoms = system.counts.clamp(min=1).double()
        share = self.energy_of(self.model.energy_variance(graph).double(), atoms) / atoms
        return AtomicOutput(share.index_select(0, system.batch))

    def members(self) -> float:
        """Number M of members of the model: infinite where the variance is known."""
        return self.model.provenance.dof + 1


class UncertaintyDriven(Bias):
    """Uncertainty-driven dynamics: wells where the model is certain are filled up.

    ``E = A [exp(-σ² / (M N B²)) - 1]`` with ``σ² = ½ Σ_m (E_m - Ē)²``, N atoms and M members; -A < E <= 0. A model with
    another source of uncertainty counts as one with many members: ``σ² / M = ½ var(E)``.

    Args:
        model: whose uncertainty drives the dynamics.
        height: A in eV, the most that the bias takes away.
        width: B in eV: the bias is felt where ``σ / √(M N)`` is about as large.

    Raises:
        SimkitError: height or width are not positive.

    References: M. Kulichenko et al., Nat. Comput. Sci. 3, 230 (2023), doi:10.1038/s43588-023-00406-5; stress:
    V. Zaverkin et al., npj Comput. Mater. 10, 83 (2024), doi:10.1038/s41524-024-01254-1.
    """

    kind: ClassVar[str] = "uncertainty-driven"

    def __init__(self, model: UncertainPotential, height: float, width: float) -> None:
        super().__init__(model, (UDD_CITATION, STRESS_CITATION))
        self.height = _positive(height, "height A in eV")
        self.width = _positive(width, "width B in eV")

    def energy_of(
        self, variance: Float[Tensor, " systems"], atoms: Float[Tensor, " systems"]
    ) -> Float[Tensor, " systems"]:
        """``A [exp(-σ² / (M N B²)) - 1]``."""
        halved = 0.5 * (1 - 1 / self.members()) * variance
        return self.height * torch.expm1(-halved / (atoms * self.width**2))

    def config(self) -> dict[str, Any]:
        """The model's specification, height and width."""
        return {"model": self.model.specification(), "height": self.height, "width": self.width}

    @classmethod
    def from_config(cls, config: dict[str, Any], build: Callable[[dict[str, Any]], Potential]) -> UncertaintyDriven:
        """Rebuild the model, then the bias."""
        return cls(require_uncertain(build(config["model"])), config["height"], config["width"])


class Hyperactive(Bias):
    """Hyperactive learning: a force that grows with the standard deviation of the energy, ``E = -τ σ_E``.

    Where all members agree, ``σ_E`` has a cusp; ``σ = √(var + f²) - f`` with the floor f replaces it.

    Args:
        model: whose uncertainty drives the dynamics.
        strength: τ, without unit; :func:`relative_strength` gives one that suits the forces.
        floor: f in eV.

    Raises:
        SimkitError: strength or floor are not positive.

    Reference: C. van der Oord et al., npj Comput. Mater. 9, 168 (2023), doi:10.1038/s41524-023-01104-6.
    """

    kind: ClassVar[str] = "hyperactive"

    def __init__(self, model: UncertainPotential, strength: float, floor: float = 1e-4) -> None:
        super().__init__(model, (HAL_CITATION, STRESS_CITATION))
        self.strength = _positive(strength, "strength")
        self.floor = _positive(floor, "floor in eV")

    def energy_of(
        self, variance: Float[Tensor, " systems"], atoms: Float[Tensor, " systems"]
    ) -> Float[Tensor, " systems"]:
        """``-τ (√(var + f²) - f)``."""
        return -self.strength * ((variance + self.floor**2).sqrt() - self.floor)

    def config(self) -> dict[str, Any]:
        """The model's specification, strength and floor."""
        return {"model": self.model.specification(), "strength": self.strength, "floor": self.floor}

    @classmethod
    def from_config(cls, config: dict[str, Any], build: Callable[[dict[str, Any]], Potential]) -> Hyperactive:
        """Rebuild the model, then the bias."""
        return cls(require_uncertain(build(config["model"])), config["strength"], config["floor"])


def relative_strength(
    model: UncertainPotential, system: System, fraction: float = 0.1, neighbours: Neighbours | None = None
) -> float:
    """``τ = τ_r Σ ‖F_i‖ / Σ ‖∂σ_E/∂x_i‖``: the strength with which bias forces are a fraction τ_r of the forces.

    Args:
        model: whose uncertainty drives the dynamics.
        system: one or several typical structures, best of a short run without bias.
        fraction: τ_r; 0.05 to 0.25 are usual.
        neighbours: of the system; built here if absent.

    Raises:
        SimkitError: the uncertainty of these structures does not depend on their geometry.
    """
    _positive(fraction, "fraction of the forces")
    if neighbours is None:
        neighbours = build_neighbours(system, model.cutoff)
    unit = Hyperactive(model, 1.0)
    totals = []
    for potential in (model, unit):
        forces = evaluate(potential, system, neighbours, ("forces",)).forces
        assert forces is not None
        totals.append(float(forces.norm(dim=1).sum()))
    if not totals[1] > 0:
        raise SimkitError(
            "expected structures whose uncertainty has a slope, found none: the members agree, or the structures are "
            "symmetric. Take them from a short run"
        )
    return fraction * totals[0] / totals[1]


def _positive(value: float, name: str) -> float:
    if not 0 < value < math.inf:
        raise SimkitError(f"expected a positive {name}, found {value}")
    return float(value)
