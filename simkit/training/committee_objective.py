"""The objective of members that are trained together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor, nn

from simkit.datasets.base import Batch
from simkit.errors import SimkitError
from simkit.evaluation import Prediction
from simkit.potential import Potential
from simkit.training.loss import LossSums, loss_sums
from simkit.training.objective import Objective
from simkit.training.optimiser import decayed_names
from simkit.training.settings import TrainingSettings
from simkit.uncertainty.stacked import StackedEnsemble

if TYPE_CHECKING:
    from lightning_fabric import Fabric


class CommitteeObjective(Objective):
    """The sum of the losses that the members of a stacked ensemble would have alone, each on the same batches.

    The gradient of each member is that of its own loss, and is clipped by its own norm; Adam works on each entry alone.
    So every member is trained as if it were alone, with the same batches. What differs from trainings apart: the
    members see the frames in one order; best epoch, early stop and plateaus of the learning rate are decided by the
    sum of the losses. The errors in logs are those of the mean prediction.

    Raises:
        SimkitError: the potential is not a stacked ensemble.
    """

    def __init__(self, potential: Potential, settings: TrainingSettings, fabric: Fabric) -> None:
        super().__init__(potential, settings, fabric)
        if not isinstance(potential, StackedEnsemble):
            raise SimkitError(f"expected a stacked ensemble to be trained, found a {potential.kind} potential")
        self.ensemble = potential

    def evaluate(self, batch: Batch, stage: int, training: bool) -> tuple[LossSums, Prediction]:
        """Sums of the members' losses, and the mean prediction."""
        outputs = self.outputs(batch, stage, training)
        members = self.ensemble.evaluate_members(batch.system, batch.neighbours, outputs, create_graph=training)
        parts = [loss_sums(member, batch, self.settings.loss) for member in members]
        sums = torch.stack([part.sums for part in parts]).sum(0)
        return LossSums(sums, parts[0].counts), mean_prediction(members)

    def clip(self, parameters: Sequence[nn.Parameter]) -> Float[Tensor, ""]:
        """Shorten the gradient of each member to the largest norm that is allowed; the largest norm that one had."""
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        norms = torch.stack([torch.linalg.vector_norm(g.flatten(1), dim=1) for g in gradients])
        norm = torch.linalg.vector_norm(norms, dim=0)
        factors = ((self.settings.clip or math.inf) / (norm + 1e-6)).clamp(max=1.0)
        for gradient in gradients:
            gradient.mul_(factors.to(gradient.dtype).view(-1, *[1] * (gradient.dim() - 1)))
        return norm.max()


def mean_prediction(members: Sequence[Prediction]) -> Prediction:
    """The mean of what members predict."""

    def mean(name: str) -> Tensor | None:
        values = [getattr(member, name) for member in members]
        return None if values[0] is None else torch.stack(values).mean(0)

    energy = mean("energy")
    assert energy is not None
    return Prediction(energy, mean("energies"), mean("forces"), mean("virial"), mean("stress"))


def settings_of_members(settings: TrainingSettings, ensemble: StackedEnsemble) -> TrainingSettings:
    """Settings that mean for a stacked ensemble what ``settings`` mean for a member.

    The default rule for weight decay goes by the number of axes of parameters, which stacking changes, and patterns of
    names begin with those of the stack.
    """
    optimiser = settings.optimiser
    decayed = decayed_names(ensemble.unstacked().members[0], optimiser.decayed)
    names = tuple(sorted(f"skeleton.{name}" for name in decayed))
    frozen = tuple(f"skeleton.{pattern}" for pattern in settings.frozen)
    return settings.model_copy(update={"optimiser": optimiser.model_copy(update={"decayed": names}), "frozen": frozen})
