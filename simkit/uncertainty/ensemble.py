"""Deep ensembles: several potentials, trained apart."""

from __future__ import annotations

import os
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
from simkit.potentials.model_file import load_model
from simkit.potentials.sum import joint_capabilities, seen_by
from simkit.system import System
from simkit.uncertainty.base import Committee
from simkit.uncertainty.mean_variance import MeanVariance, with_noise
from simkit.uncertainty.prediction import Provenance, UncertainPrediction
from simkit.uncertainty.side_by_side import (
    energies_side_by_side,
    one_architecture,
    require_one_architecture,
    side_by_side,
    stacked_parameters,
)

CITATION = "B. Lakshminarayanan, A. Pritzel, C. Blundell, Adv. Neural Inf. Process. Syst. 30 (2017), arXiv:1612.01474"


FEW_EDGES = 500
"""Up to so many edges members of one architecture are evaluated together; larger arrays are faster one by one."""
FEW_EDGES_OF = {"mace": 10_000}
"""Other limits, of kinds whose kernels serve all members by one call."""


class Ensemble(Committee):
    """Potentials that were trained apart, from different weights and in different orders of the data.

    Args:
        members: potentials for common elements, of one floating-point type on one device.
        method: name of what made the members, where it is not training alone, such as a sampler of their posterior.
        citations: references of that method.
        together: evaluate members of one architecture together, under one ``vmap``, or one after the other; by default
            together where that is faster, for systems with few edges.

    Raises:
        SimkitError: no members, or members that do not go together.

    Reference: B. Lakshminarayanan et al., NeurIPS 2017, arXiv:1612.01474.
    """

    kind: ClassVar[str] = "ensemble"

    def __init__(
        self,
        *members: Potential,
        method: str = "deep ensemble",
        citations: Sequence[str] = (CITATION,),
        together: bool | None = None,
    ) -> None:
        capabilities = joint_capabilities(members)
        super().__init__(replace(capabilities, citations=(*capabilities.citations, *citations)))
        self.members = nn.ModuleList(members)
        self.method = method
        self.citations = tuple(citations)
        self.together = together
        self._compared: tuple[list[tuple[Tensor, int]], bool] | None = None

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
        members = self.potentials
        if self._goes_together(graph.centre.shape[0]):
            return energies_side_by_side(members[0], stacked_parameters(members), graph)
        return torch.stack([output.energies for output in self._outputs(graph)])

    def forward(self, graph: Graph) -> AtomicOutput:
        """The mean of the members' energies, and of their forces where they predict these directly."""
        if self._goes_together(graph.centre.shape[0]):
            return AtomicOutput(self.member_energies(graph).mean(0))
        outputs = self._outputs(graph)
        energies = torch.stack([output.energies for output in outputs]).mean(0)
        forces = [output.forces for output in outputs if output.forces is not None]
        return AtomicOutput(energies, forces=torch.stack(forces).mean(0) if forces else None)

    def energy_variance(self, graph: Graph) -> Float[Tensor, " systems"]:
        """Variance of the members' energies in eV², and the mean of the variances that they predict of their noise."""
        spread = super().energy_variance(graph)
        noise = [
            member.energy_variance(seen_by(member, graph, self.cutoff))
            for member in self.potentials
            if isinstance(member, MeanVariance)
        ]
        return spread + torch.stack(noise).sum(0) / self.n_members if noise else spread

    def predict(
        self,
        system: System,
        neighbours: Neighbours | None = None,
        outputs: Sequence[str] = ("energy", "forces"),
        *,
        samples: int = 0,
    ) -> UncertainPrediction:
        """Mean and unbiased covariance of the members; samples are members.

        Members that predict the noise of their labels add the mean of its variances, which is then told apart as
        aleatoric; what they disagree in is epistemic. Samples do not contain the noise.

        Raises:
            SimkitError: one member only, or more samples than members.
        """
        if neighbours is None:
            neighbours = build_neighbours(system, self.cutoff)
        found = super().predict(system, neighbours, outputs, samples=samples)
        noise = [member.noise(system, neighbours) for member in self.potentials if isinstance(member, MeanVariance)]
        return with_noise(found, torch.stack(noise).sum(0) / self.n_members, system) if noise else found

    def member_predictions(
        self, system: System, neighbours: Neighbours | None, outputs: Sequence[str]
    ) -> list[Prediction]:
        """Each potential with the same neighbours, all in one evaluation where that is faster."""
        members = self.potentials
        if neighbours is None:
            neighbours = build_neighbours(system, self.cutoff)
        if self._goes_together(neighbours.n_edges):
            return side_by_side(members[0], stacked_parameters(members), system, neighbours, outputs)
        return [evaluate(member, system, neighbours, outputs) for member in members]

    def config(self) -> dict[str, Any]:
        """Specification of each member, and the method, with its references where it is not training alone."""
        facts = {"members": [member.specification() for member in self.potentials], "method": self.method}
        return facts if self.citations == (CITATION,) else {**facts, "citations": list(self.citations)}

    @classmethod
    def from_config(cls, config: dict[str, Any], build: Callable[[dict[str, Any]], Potential]) -> Ensemble:
        """Rebuild every member, then the ensemble."""
        members = [build(one) for one in config["members"]]
        return cls(*members, method=config["method"], citations=config.get("citations", (CITATION,)))

    @classmethod
    def load(cls, *paths: str | os.PathLike[str], dtype: torch.dtype | str | None = None, **options: Any) -> Ensemble:
        """An ensemble of the potentials in model files.

        Args:
            paths: of one potential each, simkit's or mace-torch's.
            dtype: type to compute in; by default that of the files, which must be the same.
            options: others of :func:`simkit.potentials.model_file.load_model`: ``device``, ``head``, ``kinds``.

        Raises:
            ModelFileError: a file that cannot be read.
            SimkitError: no files, or potentials that do not go together.
        """
        return cls(*[load_model(path, dtype=dtype, **options) for path in paths]).eval()

    def _goes_together(self, n_edges: int) -> bool:
        limit = FEW_EDGES_OF.get(self.potentials[0].kind, FEW_EDGES)
        many = self.together is None and n_edges > limit
        transformed = torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active()
        if self.together is False or many or transformed:  # members cannot be compared within transformations
            return False
        constants = [(tensor, tensor._version) for tensor in self.buffers()]
        if self._compared is None or not _same(self._compared[0], constants):
            self._compared = (constants, one_architecture(self.potentials))
        if self.together and not self._compared[1]:
            require_one_architecture(self.potentials)
        return self._compared[1]

    def _outputs(self, graph: Graph) -> list[AtomicOutput]:
        return [member(seen_by(member, graph, self.cutoff)) for member in self.potentials]

    @property
    def potentials(self) -> list[Potential]:
        """The members."""
        return [cast(Potential, member) for member in self.members]


def _same(before: list[tuple[Tensor, int]], now: list[tuple[Tensor, int]]) -> bool:
    """Whether tensors are the same objects, and have not been written to."""
    pairs = zip(before, now, strict=False)
    return len(before) == len(now) and all(old[0] is new[0] and old[1] == new[1] for old, new in pairs)
