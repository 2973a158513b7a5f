"""A potential that was trained on several levels of theory, fixed to one of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar

import torch

from simkit.errors import SimkitError
from simkit.graph import Graph
from simkit.potential import AtomicOutput, Potential


class OneHead(Potential):
    """One level of theory of a potential with several: every system is evaluated with this head.

    Args:
        potential: one whose configuration lists ``heads``.
        head: name of the head to use.

    Raises:
        SimkitError: the potential has no such head; the message lists those it has.
    """

    kind: ClassVar[str] = "one-head"

    def __init__(self, potential: Potential, head: str) -> None:
        super().__init__(potential.capabilities)
        names = _heads(potential.config())
        if head not in names:
            known = f"its heads are {', '.join(names)}" if names else "it was trained on a single level of theory"
            raise SimkitError(f"this {potential.kind} potential has no head {head!r}: {known}")
        self.potential = potential
        self.head = head
        self.position = names.index(head)

    def forward(self, graph: Graph) -> AtomicOutput:
        """The potential's output with this head for all systems."""
        system = graph.system
        head = torch.full((system.n_systems,), self.position, dtype=torch.int64, device=system.batch.device)
        return self.potential(replace(graph, system=replace(system, head=head)))

    def config(self) -> dict[str, Any]:
        """Specification of the potential, and the head."""
        return {"potential": self.potential.specification(), "head": self.head}

    @classmethod
    def from_config(cls, config: dict[str, Any], build: Callable[[dict[str, Any]], Potential]) -> OneHead:
        """Rebuild the potential, then fix its head."""
        return cls(build(config["potential"]), config["head"])


def _heads(config: Any) -> list[str]:
    """The first list of heads in a configuration, or in those of what is wrapped."""
    if isinstance(config, list):
        return next((heads for heads in map(_heads, config) if heads), [])
    if not isinstance(config, dict):
        return []
    return list(config.get("heads") or _heads(list(config.values())))
