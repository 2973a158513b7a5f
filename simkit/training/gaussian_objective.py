"""The objective of potentials that predict a distribution: scores of energies and forces."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from simkit.datasets.base import Batch
from simkit.errors import SimkitError
from simkit.evaluation import Prediction
from simkit.potential import Potential
from simkit.training.loss import LossSums, force_rows, loss_sums, residuals, row_weights
from simkit.training.objective import MakeObjective, Objective
from simkit.training.scores import ENERGY_FLOOR, FORCES_FLOOR, SCORES, Score
from simkit.training.settings import TrainingSettings
from simkit.uncertainty.gaussian import GaussianPotential, Gaussians

if TYPE_CHECKING:
    from lightning_fabric import Fabric


class GaussianObjective(Objective):
    """Scores of energies per atom and of components of forces; before stage two, if there is one, the usual loss.

    The usual loss is that of the mean, which needs one backward pass, and lets it find its place before variances are
    trained. Stress, whose variance is not trained, keeps the usual loss. Floors are added to the variances: 1e-8 eV²
    of energies per atom, 1e-5 (eV/Å)² of forces.

    Args:
        potential: one that predicts Gaussians.
        settings: of the training; with weights of the scores in their last stage.
        fabric: the processes.
        score: of errors and variances.
        detached: whether the scores train the variances alone, and the usual loss goes on to train the mean.

    Raises:
        SimkitError: a potential that does not predict Gaussians.
    """

    def __init__(
        self,
        potential: Potential,
        settings: TrainingSettings,
        fabric: Fabric,
        score: Score = "crps",
        detached: bool = False,
    ) -> None:
        super().__init__(potential, settings, fabric)
        if not isinstance(potential, GaussianPotential):
            raise SimkitError(
                f"expected a potential that predicts its own variance, such as a shallow ensemble, found a "
                f"{potential.kind} potential: wrap it"
            )
        self.model = potential
        self.score = SCORES[score]
        self.detached = detached

    def evaluate(self, batch: Batch, stage: int, training: bool) -> tuple[LossSums, Prediction]:
        """Sums of scores, and the mean prediction."""
        if stage < len(self.settings.weights):
            return super().evaluate(batch, stage, training)
        outputs = self.outputs(batch, stage, training)
        found = self.model.gaussians(batch.system, batch.neighbours, outputs, create_graph=training)
        return self._sums(found, batch), found.mean

    def _sums(self, found: Gaussians, batch: Batch) -> LossSums:
        free_atoms_only = self.settings.loss.free_atoms_only
        usual = loss_sums(found.mean, batch, self.settings.loss)
        sums = list(usual.sums.unbind())
        for term, (residual, variance) in enumerate(
            zip(residuals(found.mean, batch, free_atoms_only), self._variances(found, batch), strict=False)
        ):
            if residual is None or variance is None:
                continue
            errors = residual.detach() if self.detached else residual
            score = (self.score(errors, variance) * row_weights(batch, term, free_atoms_only)).sum()
            sums[term] = score + sums[term] if self.detached else score
        return LossSums(torch.stack(sums), usual.counts)

    def _variances(self, found: Gaussians, batch: Batch) -> list[Tensor | None]:
        """Variances of the labelled energies per atom and forces, in float64."""
        energy = found.energy_variance.double() / batch.system.counts.square() + ENERGY_FLOOR
        if found.forces_variance is None:
            return [energy[batch.has_energy], None]
        rows = force_rows(batch, self.settings.loss.free_atoms_only)
        return [energy[batch.has_energy], found.forces_variance[rows].double() + FORCES_FLOOR]


def gaussian_objective(score: Score, detached: bool = False) -> MakeObjective:
    """What :class:`~simkit.training.trainer.Trainer` takes to train by a score."""
    return partial(GaussianObjective, score=score, detached=detached)
