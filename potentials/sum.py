"""Sum of potentials."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from simkit.errors import SimkitError
from simkit.graph import Graph
from simkit.potential import AtomicOutput, Capabilities, Potential, symbols


class Sum(Potential):
    """Sum of potentials, each seeing the pairs within its own cutoff.

    ``E_i = Σ_k E_i^(k)``; forces and stress add likewise because they are derivatives of the sum. Features are
    concatenated in the order of the terms.

    Args:
        terms: potentials of one floating-point type on one device, e.g. a learned one and a dispersion correction.

    Raises:
        SimkitError: no terms, terms of different floating-point types or devices, terms without a common element, or
            terms of which only some derive their forces from the energy.
    """

    kind: ClassVar[str] = "sum"

    def __init__(self, *terms: Potential) -> None:
        super().__init__(joint_capabilities(terms))
        self.terms = nn.ModuleList(terms)

    def forward(self, graph: Graph) -> AtomicOutput:
        """Energies of each atom added up over the terms."""
        outputs = [term(seen_by(term, graph, self.cutoff)) for term in self._potentials()]
        features = [output.features for output in outputs if output.features is not None]
        last_layer = [output.last_layer for output in outputs if output.last_layer is not None]
        return AtomicOutput(
            energies=_added([output.energies for output in outputs]),
            features=torch.cat(features, dim=1) if features else None,
            forces=None if self.capabilities.conservative else _added([output.forces for output in outputs]),
            last_layer=torch.cat(last_layer, dim=1) if last_layer else None,
        )

    def config(self) -> dict[str, Any]:
        """Specification of each term."""
        return {"terms": [term.specification() for term in self._potentials()]}

    @classmethod
    def from_config(cls, config: dict[str, Any], build: Callable[[dict[str, Any]], Potential]) -> Sum:
        """Rebuild every term, then their sum."""
        return cls(*[build(specification) for specification in config["terms"]])

    def _potentials(self) -> list[Potential]:
        return [cast(Potential, term) for term in self.terms]


def seen_by(term: Potential, graph: Graph, cutoff: float) -> Graph:
    """The part of a graph, made for ``cutoff`` (Å), within a term's own cutoff.

    Dropping edges only saves time, and it would break a compiled graph.
    """
    if term.cutoff >= cutoff or torch.compiler.is_compiling():
        return graph
    return graph.within(term.cutoff)


def _added(values: list[Tensor]) -> Tensor:
    total = values[0]
    for value in values[1:]:
        total = total + value
    return total


def joint_capabilities(terms: Sequence[Potential]) -> Capabilities:
    """What potentials can do together: the longest cutoff, common elements and outputs.

    Raises:
        SimkitError: no potentials, of different floating-point types or devices, without a common element, or of which
            only some derive their forces from the energy.
    """
    if not terms:
        raise SimkitError("expected at least one potential, found none")
    _require_same_tensors(terms)
    facts = [term.capabilities for term in terms]
    if len({fact.conservative for fact in facts}) > 1:
        direct = [term.kind for term in terms if not term.capabilities.conservative]
        raise SimkitError(
            f"expected potentials that all derive their forces from the energy, or none; {', '.join(direct)} predicts "
            "forces directly: its forces and those of the others do not go together. Use a conservative potential"
        )
    elements = set(facts[0].elements).intersection(*[fact.elements for fact in facts[1:]])
    if not elements:
        supported = "; ".join(f"{term.kind}: {symbols(term.capabilities.elements)}" for term in terms)
        raise SimkitError(f"expected potentials with an element in common, found {supported}")
    return Capabilities(
        cutoff=max(fact.cutoff for fact in facts),
        interaction_range=max(fact.interaction_range for fact in facts),
        elements=tuple(sorted(elements)),
        conservative=facts[0].conservative,
        outputs={name: out for name, out in facts[0].outputs.items() if all(name in fact.outputs for fact in facts)},
        conditions=tuple(dict.fromkeys(condition for fact in facts for condition in fact.conditions)),
        citations=tuple(dict.fromkeys(citation for fact in facts for citation in fact.citations)),
    )


def _require_same_tensors(terms: Sequence[Potential]) -> None:
    """One floating-point type and device; terms without tensors go with any."""
    with_tensors = [term for term in terms if any(True for _ in [*term.parameters(), *term.buffers()])]
    if len({(term.dtype, term.device) for term in with_tensors}) > 1:
        found = ", ".join(f"{term.kind}: {term.dtype} on {term.device}" for term in with_tensors)
        raise SimkitError(
            f"expected potentials of one floating-point type on one device, found {found}. Convert them first, "
            "e.g. potential.to(device=..., dtype=torch.float32); --dtype float64 opens model files so"
        )
