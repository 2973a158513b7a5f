"""Deep ensembles: several potentials, trained apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, ClassVar, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from simkit.evaluation import Prediction, evaluate
from simkit.graph import Graph
from simkit.neighbours import Neighbours, build_neighbours
from simkit.potential import AtomicOutput, Potential
from simkit.potentials.sum import joint_capabilities, seen_by
from simkit.system import System
from simkit.uncertainty.base import Committee
from simkit.uncertainty.prediction import Provenance

CITATION = "B. Lakshminarayanan, A. Pritzel, C. Blundell, Adv. Neural Inf. Process. Syst. 30 (2017), arXiv:1612.01474"


class Ensemble(Committee):
    """Potentials that were trained apart, from different weights and in different orders of the data.

    Args:
        members: potentials for common elements, of one floating-point type on one device.
        method: name of what made the members, where it is not training alone, such as a sampler of their posterior.

    Raises:
        SimkitError: no members, or members that do not go together.

    Reference: B. Lakshminarayanan et al., NeurIPS 2017, arXiv:1612.01474.
    """

    kind: ClassVar[str] = "ensemble"

    def __init__(self, *members: Potential, method: str = "deep ensemble") -> None:
        capabilities = joint_capabilities(members)
        super().__init__(replace(capabilities, citations=(*capabilities.citations, CITATION)))
        self.members = nn.ModuleList(members)
        self.method = method

    @property
    def provenance(self) -> Provenance:
        """One evaluation for each member."""
        return Provenance(self.method, "members", dof=self.n_members - 1, cost=self.n_members)

    @property
    def n_members(self) -> int:
        """The number of potentials."""
        return len(self.members)

    def member_energies(self, graph: Graph) -> Float[Tensor, "members atoms"]:
        """Energy of each atom by each potential."""
        return torch.stack([output.energies for output in self._outputs(graph)])

    def forward(self, graph: Graph) -> AtomicOutput:
        """The mean of the members' energies, and of their forces where they predict these directly."""
        outputs = self._outputs(graph)
        energies = torch.stack([output.energies for output in outputs]).mean(0)
        forces = [output.forces for output in outputs if output.forces is not None]
        return AtomicOutput(energies, forces=torch.stack(forces).mean(0) if forces else None)

    def member_predictions(
        self, system: System, neighbours: Neighbours | None, outputs: Sequence[str]
    ) -> list[Prediction]:
        """One evaluation of each potential with the same neighbours."""
        if neighbours is None:
            neighbours = build_neighbours(system, self.cutoff)
        return [evaluate(member, system, neighbours, outputs) for member in self._potentials()]

    def config(self) -> dict[str, Any]:
        """Specification of each member."""
        return {"members": [member.specification() for member in self._potentials()], "method": self.method}

    @classmethod
    def from_config(cls, config: dict[str, Any], build: Callable[[dict[str, Any]], Potential]) -> Ensemble:
        """Rebuild every member, then the ensemble."""
        return cls(*[build(one) for one in config["members"]], method=config["method"])

    def _outputs(self, graph: Graph) -> list[AtomicOutput]:
        return [member(seen_by(member, graph, self.cutoff)) for member in self._potentials()]

    def _potentials(self) -> list[Potential]:
        return [cast(Potential, member) for member in self.members]
