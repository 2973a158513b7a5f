"""Ensembles whose members are trained together, their parameters stacked under one ``vmap``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any, ClassVar

from jaxtyping import Float
from torch import Tensor, nn

from simkit.evaluation import Prediction
from simkit.graph import Graph
from simkit.neighbours import Neighbours
from simkit.potential import Potential
from simkit.system import System
from simkit.uncertainty.base import Committee
from simkit.uncertainty.ensemble import CITATION, Ensemble
from simkit.uncertainty.prediction import Provenance
from simkit.uncertainty.side_by_side import (
    energies_side_by_side,
    require_one_architecture,
    side_by_side,
    stacked_parameters,
)


class StackedEnsemble(Committee):
    """Potentials of one architecture whose parameters are stacked, to be trained together.

    Each parameter of ``skeleton`` has an additional first axis over the members, and each elementwise optimiser treats
    the members as if they were alone. :meth:`unstacked` gives the members back.

    Args:
        members: potentials that differ in their parameters alone.

    Raises:
        SimkitError: no members, members that differ in more than their parameters, or that have none.
    """

    kind: ClassVar[str] = "stacked-ensemble"

    def __init__(self, *members: Potential) -> None:
        require_one_architecture(members)
        capabilities = members[0].capabilities
        super().__init__(replace(capabilities, citations=(*capabilities.citations, CITATION)))
        self.size = len(members)
        self.member = members[0].specification()
        self.skeleton = deepcopy(members[0])
        for name, own in stacked_parameters(members).items():
            module = self.skeleton.get_submodule(name.rpartition(".")[0])
            trained = members[0].get_parameter(name).requires_grad
            setattr(module, name.rpartition(".")[2], nn.Parameter(own.detach().clone(), requires_grad=trained))

    @property
    def provenance(self) -> Provenance:
        """One evaluation for each member."""
        return Provenance("deep ensemble", "members", dof=self.size - 1, cost=self.size)

    @property
    def n_members(self) -> int:
        """The number of potentials."""
        return self.size

    def member_energies(self, graph: Graph) -> Float[Tensor, "members atoms"]:
        """Energy of each atom by each potential."""
        return energies_side_by_side(self.skeleton, dict(self.skeleton.named_parameters()), graph)

    def member_predictions(
        self, system: System, neighbours: Neighbours | None, outputs: Sequence[str]
    ) -> list[Prediction]:
        """All potentials in one evaluation."""
        return self.evaluate_members(system, neighbours, outputs)

    def evaluate_members(
        self, system: System, neighbours: Neighbours | None, outputs: Sequence[str], create_graph: bool = False
    ) -> list[Prediction]:
        """As :meth:`member_predictions`; ``create_graph`` keeps what derivatives by the parameters need."""
        parameters = dict(self.skeleton.named_parameters())
        return side_by_side(self.skeleton, parameters, system, neighbours, outputs, create_graph)

    def unstacked(self) -> Ensemble:
        """The members as potentials of their own."""
        return Ensemble(*[self._member(index) for index in range(self.size)])

    def config(self) -> dict[str, Any]:
        """Specification of the architecture, and the number of members."""
        return {"member": self.member, "members": self.size}

    @classmethod
    def from_config(cls, config: dict[str, Any], build: Callable[[dict[str, Any]], Potential]) -> StackedEnsemble:
        """Rebuild the members, then stack them."""
        return cls(*[build(config["member"]) for _ in range(config["members"])])

    def _member(self, index: int) -> Potential:
        member = deepcopy(self.skeleton)
        for name, own in self.skeleton.named_parameters():
            module = member.get_submodule(name.rpartition(".")[0])
            value = nn.Parameter(own[index].detach().clone(), requires_grad=own.requires_grad)
            setattr(module, name.rpartition(".")[2], value)
        return member
