"""The posterior of a potential's parameters, given labelled frames."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from pydantic import Field, PositiveFloat, PositiveInt, model_validator
from torch import Tensor

from simkit.datasets.base import Batch, Dataset
from simkit.datasets.loader import Loader
from simkit.errors import DataError, SimkitError
from simkit.evaluation import evaluate
from simkit.potential import Potential
from simkit.settings import Settings
from simkit.training.frames import CheckedFrames
from simkit.training.loss import TERMS, LossSums, loss_sums
from simkit.training.settings import LossSettings
from simkit.uncertainty.parameters import ParameterVector
from simkit.uncertainty.target import Target

TOGETHER = 32
"""Most frames in one evaluation when all data are used."""

SMALLEST_SCALE = 1e-6
"""Least error scale that training errors are taken for: below it they are rounding."""


class PosteriorSettings(Settings):
    """Gaussian errors of what is labelled, and a Gaussian prior of each parameter.

    Error scales that are not given are the root mean square errors of the potentials that the sampling starts from.
    """

    labels: tuple[Literal["energy", "forces", "stress"], ...] = ("energy", "forces")
    scales: Literal["sampled", "fixed"] = Field(
        default="sampled", description="whether the error scales are sampled with the parameters"
    )
    energy_scale: PositiveFloat | None = Field(default=None, description="error of the energy per atom in eV")
    forces_scale: PositiveFloat | None = Field(default=None, description="error of the force components in eV/Å")
    stress_scale: PositiveFloat | None = Field(default=None, description="error of the stress components in eV/Å³")
    prior_std: PositiveFloat = Field(default=1.0, description="standard deviation of every parameter about zero")
    batch_size: PositiveInt | None = Field(default=None, description="frames in a minibatch; all of them by default")
    control_variates: bool = Field(default=False, description="less noise of minibatches, for twice the evaluations")
    free_atoms_only: bool = False

    @model_validator(mode="after")
    def _consistent(self) -> PosteriorSettings:
        if not self.labels:
            raise ValueError("expected at least one of energy, forces and stress, found none")
        if self.control_variates and self.batch_size is None:
            raise ValueError("control_variates are for minibatches: give batch_size, or leave them out")
        return self

    @property
    def loss(self) -> LossSettings:
        """The sums of squares of the likelihood, as a loss of training."""
        used = {term: float(term in self.labels) for term in TERMS}
        return LossSettings(kind="mse", free_atoms_only=self.free_atoms_only, **used)


@dataclass(frozen=True)
class Scales:
    """Standard deviations of the errors of energy per atom (eV), forces (eV/Å) and stress (eV/Å³)."""

    values: Float[Tensor, " terms"]
    sampled: bool

    @property
    def count(self) -> int:
        """Number of entries that they have in the vector of parameters."""
        return len(self.values) if self.sampled else 0


class Posterior(Target):
    """``U(θ) = Σ_t [S_t(θ)/(2 s_t²) + n_t log s_t] + |θ|²/(2σ²)``, minus the logarithm of likelihood and prior.

    ``S_t`` is the sum of squared errors of term t: energy per atom, components of forces and of stress; ``n_t`` is
    their number. With sampled scales the vector of parameters ends with ``η_t = log s_t``, whose prior
    ``p(s) = exp(-s/m)/m`` has the scale that was given or found as its mean m: ``U += s_t/m_t - η_t``. A minibatch
    counts N/n times.

    Args:
        potential: its parameters are set at every evaluation.
        dataset: labelled frames.
        settings: of likelihood and prior.
        scales: where they begin, and the means of their priors.
        seed: of the order of minibatches.

    Raises:
        SimkitError: nothing to sample, or stress of a potential that does not predict it.
    """

    def __init__(
        self, potential: Potential, dataset: Dataset, settings: PosteriorSettings, scales: Scales, seed: int = 0
    ) -> None:
        self.vector = ParameterVector(potential)
        self.potential, self.settings, self.scales = potential, settings, scales
        self._start = self.vector.read()
        minibatches = settings.batch_size is not None
        self.loader = frames_loader(potential, dataset, settings.batch_size or TOGETHER, shuffle=minibatches, seed=seed)
        self.kept: tuple[Batch, ...] | None = (
            None if minibatches else tuple(batch.to(potential.device) for batch in self.loader)
        )

    @property
    def size(self) -> int:
        """Number of frames."""
        return len(self.loader.dataset)

    @property
    def exact(self) -> bool:
        """Whether every evaluation uses all frames."""
        return self.kept is not None

    def start(self) -> Float[Tensor, " parameters"]:
        """The parameters that the potential came with, and logarithms of the scales if these are sampled."""
        values = self._start.clone()
        return torch.cat([values, self.scales.values.log().to(values)]) if self.scales.sampled else values

    def split(
        self, position: Float[Tensor, " parameters"]
    ) -> tuple[Float[Tensor, " weights"], Float[Tensor, " terms"]]:
        """Parameters of the potential, and the error scales that go with them."""
        weights, logarithms = position.split([self.vector.size, self.scales.count])
        return weights, logarithms.exp() if self.scales.sampled else self.scales.values.to(position)

    def evaluate(
        self, position: Float[Tensor, " parameters"], step: int
    ) -> tuple[Float[Tensor, ""], Float[Tensor, " parameters"]]:
        """U and its gradient for all frames, or estimates from the minibatch of a step."""
        weights, scales = self.split(position)
        self.vector.write(weights)
        energy = 0.5 * weights.square().sum() / self.settings.prior_std**2
        gradient = weights / self.settings.prior_std**2
        sums, counts = torch.zeros_like(scales), torch.zeros_like(scales)
        for batch, share in self._batches(step):
            part = squared_errors(self.potential, batch, self.settings.loss)
            used = [TERMS.index(label) for label in self.settings.labels]
            own = share * part.sums[used]
            gradient = gradient + self.vector.gradient((own / (2 * scales.square())).sum())
            sums, counts = sums + own.detach(), counts + share * part.counts[used]
        energy = energy + (sums / (2 * scales.square()) + counts * scales.log()).sum()
        if not self.scales.sampled:
            return energy, gradient
        ratio = scales / self.scales.values.to(scales)
        energy = energy + (ratio - scales.log()).sum()
        return energy, torch.cat([gradient, counts - sums / scales.square() + ratio - 1])

    def _batches(self, step: int) -> Iterator[tuple[Batch, float]]:
        """Batches of a step, and how often each counts."""
        if self.kept is not None:
            yield from ((batch, 1.0) for batch in self.kept)
            return
        epoch, index = divmod(step, len(self.loader))
        batch = next(iter(self.loader.epoch(epoch, index)))
        yield batch.to(self.potential.device), self.size / batch.system.n_systems


def frames_loader(
    potential: Potential, dataset: Dataset, batch_size: int, *, shuffle: bool = False, seed: int = 0
) -> Loader:
    """Batches of checked frames in the potential's floating-point type."""
    frames = CheckedFrames(dataset, potential, potential.dtype)
    return Loader(
        frames,
        potential.cutoff,
        batch_size=batch_size,
        shuffle=shuffle,
        seed=seed,
        dtype=potential.dtype,
    )


def squared_errors(potential: Potential, batch: Batch, settings: LossSettings) -> LossSums:
    """Sums of squared errors of what has a weight in ``settings``, differentiable by the parameters."""
    outputs = ["energy"]
    outputs += [term for term in TERMS[1:] if getattr(settings, term) > 0 and getattr(batch.labels, term) is not None]
    prediction = evaluate(potential, batch.system, batch.neighbours, outputs, create_graph=True)
    return loss_sums(prediction, batch, settings)


def start_scales(potentials: list[Potential], dataset: Dataset, settings: PosteriorSettings) -> Scales:
    """Error scales as given or, for what is not given, the root mean square errors of all potentials together.

    Raises:
        DataError: no frame has one of the labels.
        SimkitError: stress of a potential that predicts its forces directly.
    """
    direct = [potential.kind for potential in potentials if not potential.capabilities.conservative]
    if direct and "stress" in settings.labels:
        raise SimkitError(f"the posterior uses stress, which this {direct[0]} potential does not predict: leave it out")
    totals = torch.zeros(2, len(TERMS), dtype=torch.float64)
    for potential in potentials:
        for batch in frames_loader(potential, dataset, TOGETHER):
            part = squared_errors(potential, batch.to(potential.device), settings.loss)
            totals += torch.stack([part.sums.detach(), part.counts]).cpu()
    values = []
    for label in settings.labels:
        total, count = totals[:, TERMS.index(label)].tolist()
        if count == 0:
            raise DataError(
                f"the posterior uses {label}, but no frame has such labels: leave {label} out of labels, or check the "
                "names of the labels in the data file"
            )
        given = getattr(settings, f"{label}_scale")
        values.append(max((total / count) ** 0.5, SMALLEST_SCALE) if given is None else given)
    return Scales(torch.tensor(values, dtype=torch.float64), settings.scales == "sampled")
