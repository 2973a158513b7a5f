"""A safe baseline that takes over where a correction is uncertain."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar

from jaxtyping import Float
from torch import Tensor

from simkit.errors import SimkitError
from simkit.graph import Graph
from simkit.potential import AtomicOutput, Potential
from simkit.potentials.sum import joint_capabilities, seen_by
from simkit.uncertainty.base import UncertainPotential

CITATION = "G. Imbalzano et al., J. Chem. Phys. 154, 074102 (2021), doi:10.1063/5.0036522"


class WeightedBaseline(Potential):
    """A baseline potential with a learned correction, weighted by how certain either is.

    ``V = V_b + w V_c`` with ``w = s_b² / (s_b² + s_c²)``, where ``s_c²`` is the variance of the correction's energy:
    the full correction where it is certain, the bare baseline where it is not. Forces and stress have the term of the
    changing weight, ``-V_c ∂w/∂x = V_c w² ∂s_c²/∂x / s_b²``, so that the energy is conserved.

    Args:
        baseline: a potential that is safe everywhere, such as a classical one.
        correction: what was trained on the difference to the baseline, with an uncertainty.
        baseline_std: ``s_b``, the standard error of the baseline's energy of a whole system, in eV.

    Raises:
        SimkitError: an error that is not positive, potentials that do not go together, or forces that are no
            derivatives.

    Reference: G. Imbalzano et al., J. Chem. Phys. 154, 074102 (2021), doi:10.1063/5.0036522.
    """

    kind: ClassVar[str] = "weighted-baseline"

    def __init__(self, baseline: Potential, correction: Potential, baseline_std: float) -> None:
        if not isinstance(correction, UncertainPotential):
            raise SimkitError(
                f"expected a correction with an uncertainty, such as an ensemble; found a {correction.kind} potential"
            )
        if not 0 < baseline_std < math.inf:
            raise SimkitError(f"expected a positive standard error of the baseline in eV, found {baseline_std}")
        facts = joint_capabilities((baseline, correction))
        if not facts.conservative:
            raise SimkitError(
                "expected potentials whose forces are derivatives of their energies, found forces that are predicted "
                "directly: the weight would not act on them"
            )
        citations = tuple(dict.fromkeys((*facts.citations, CITATION)))
        super().__init__(replace(facts, interaction_range=math.inf, citations=citations))
        self.baseline = baseline
        self.correction: UncertainPotential = correction
        self.baseline_std = float(baseline_std)

    def forward(self, graph: Graph) -> AtomicOutput:
        """The baseline's energies and the weighted ones of the correction."""
        own = self.correction(seen_by(self.correction, graph, self.cutoff)).energies
        base = self.baseline(seen_by(self.baseline, graph, self.cutoff)).energies
        weight = self.weight(graph).index_select(0, graph.system.batch)
        return AtomicOutput(base + weight * own)

    def weight(self, graph: Graph) -> Float[Tensor, " systems"]:
        """``w`` of each system, between 0 and 1."""
        variance = self.correction.energy_variance(seen_by(self.correction, graph, self.cutoff)).double()
        return self.baseline_std**2 / (self.baseline_std**2 + variance)

    def config(self) -> dict[str, Any]:
        """Specifications of both potentials, and the baseline's error."""
        return {
            "baseline": self.baseline.specification(),
            "correction": self.correction.specification(),
            "baseline_std": self.baseline_std,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], build: Callable[[dict[str, Any]], Potential]) -> WeightedBaseline:
        """Rebuild both potentials."""
        return cls(build(config["baseline"]), build(config["correction"]), config["baseline_std"])
