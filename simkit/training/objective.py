"""Loss and errors of a potential on batches and on whole datasets."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn

from simkit.datasets.base import Batch, Dataset, collate
from simkit.datasets.loader import Loader
from simkit.errors import DataError, SimkitError
from simkit.evaluation import Prediction, evaluate
from simkit.potential import Potential
from simkit.training.frames import CheckedFrames, on_device
from simkit.training.loss import TERMS, LossSums, loss_sums
from simkit.training.metrics import Running
from simkit.training.settings import TrainingSettings

if TYPE_CHECKING:
    from lightning_fabric import Fabric


class Objective:
    """What training lowers: evaluates a potential on labelled batches, shared among processes.

    Here the loss of the mean prediction; subclasses have others.

    Raises:
        SimkitError: a weight for something that the potential does not predict.
    """

    def __init__(self, potential: Potential, settings: TrainingSettings, fabric: Fabric) -> None:
        self.potential = potential
        self.settings = settings
        self.fabric = fabric
        rows = settings.weights
        self._weights = torch.tensor(rows, dtype=torch.float64, device=fabric.device)
        self._wanted = [[weight > 0 for weight in row] for row in rows]
        if not potential.capabilities.conservative and any(row[2] for row in rows):
            raise SimkitError(
                f"the loss has a weight for stress, which this {potential.kind} potential does not predict"
            )

    def weights(self, stage: int) -> Float[Tensor, " terms"]:
        """Weights of energy, forces and stress in stage 1 or 2."""
        return self._weights[stage - 1]

    def evaluate(self, batch: Batch, stage: int, training: bool) -> tuple[LossSums, Prediction]:
        """Sums and counts of the loss of this process's share of a batch.

        In training only what has a weight is computed; otherwise all that is labelled is.
        """
        outputs = self.outputs(batch, stage, training)
        prediction = evaluate(self.potential, batch.system, batch.neighbours, outputs, create_graph=training)
        return loss_sums(prediction, batch, self.settings.loss), prediction

    def outputs(self, batch: Batch, stage: int, training: bool) -> list[str]:
        """What has to be computed: in training what has a weight, otherwise all that is labelled."""
        labels, wanted = batch.labels, self._wanted[stage - 1]
        outputs = ["energy"]
        if labels.forces is not None and (wanted[1] or not training):
            outputs.append("forces")
        periodic = labels.stress is not None and self.potential.capabilities.conservative
        if periodic and (wanted[2] or not training):
            outputs.append("stress")
        return outputs

    def clip(self, parameters: Sequence[nn.Parameter]) -> Float[Tensor, ""]:
        """Shorten the gradient to the largest norm that is allowed; the norm that it had."""
        return torch.nn.utils.clip_grad_norm_(parameters, self.settings.clip or math.inf)

    def loader(self, dataset: Dataset, batch_size: int, *, shuffle: bool, seed: int = 0) -> Loader:
        """Batches of a dataset for this process; they hold checked frames, which stay in memory."""
        return Loader(
            CheckedFrames(dataset, self.potential, self.settings.torch_dtype),
            self.potential.cutoff,
            batch_size=batch_size,
            shuffle=shuffle,
            seed=seed,
            dtype=self.settings.torch_dtype,
            rank=self.fabric.global_rank,
            world_size=self.fabric.world_size,
            workers=self.settings.workers,
            memory=self.settings.cache_gigabytes * 1e9,
        )

    def assess(self, loader: Loader, stage: int, per_element: bool = False) -> tuple[float, dict[str, float]]:
        """Loss and errors on a whole dataset, over all processes, without graphs for the parameters' gradients."""
        free_atoms_only = self.settings.loss.free_atoms_only
        running = Running(self.fabric, free_atoms_only=free_atoms_only, per_element=per_element)
        with _without_parameter_gradients(self.potential):
            for batch in on_device(loader, self.fabric.device):
                running.add(*self.evaluate(batch, stage, training=False), batch)
        running.join()
        return running.loss(self.weights(stage)), running.errors.result()

    def require_labels(self, counts: Float[Tensor, " terms"], stage: int) -> None:
        """Check that everything with a weight was labelled somewhere in the training data.

        Raises:
            DataError: naming what has a weight but no labels.
        """
        found = counts.tolist()
        missing = [term for term, want, n in zip(TERMS, self._wanted[stage - 1], found, strict=True) if want and not n]
        if missing:
            raise DataError(
                f"the loss has a weight for {' and '.join(missing)}, but no training frame has such labels: "
                "set that weight to 0, or check the names of the labels in the data file"
            )

    def blame(self, loader: Loader, indices: Sequence[int], stage: int) -> str:
        """What to say about a batch whose loss is not finite."""
        broken = []
        with _without_parameter_gradients(self.potential):
            for index in indices:
                batch = collate([loader.dataset[index]], loader.cutoff, loader.dtype).to(self.fabric.device)
                part, _ = self.evaluate(batch, stage, training=False)
                if not bool(torch.isfinite(part.sums).all()):
                    broken.append(index)
        names = ", ".join(loader.dataset[index].name for index in (broken or indices)[:8])
        if broken and len(broken) < len(indices):
            return f"the loss of these frames is NaN or infinite: {names}. Check their structures and labels"
        return (
            f"the loss became NaN or infinite at a batch with the frames {names}. Lower the learning rate, clip the "
            "gradient, lengthen the warm-up or train in float64; then delete the folder's checkpoints and start anew"
        )


MakeObjective: TypeAlias = "Callable[[Potential, TrainingSettings, Fabric], Objective]"
"""What a training is told to lower: an objective made for a potential, settings and processes."""


@contextmanager
def _without_parameter_gradients(module: nn.Module) -> Iterator[None]:
    """Within the block the parameters need no gradients: forces then cost no memory for them."""
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)
