"""What a training run can be told: losses, optimiser, schedules, stages and budgets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from simkit.settings import Settings

if TYPE_CHECKING:
    import torch


class LossSettings(Settings):
    """The loss ``w_E·mean ℓ(ΔE/N) + w_F·mean ℓ(ΔF) + w_S·mean ℓ(Δσ)``.

    ``kind`` is the function ℓ: ``mse`` ``x²``, ``mae`` ``|x|``, ``huber`` ``x²/2`` below ``delta`` and
    ``delta·(|x| - delta/2)`` above, or ``universal``: Huber with a delta that falls for large reference forces (see
    :func:`simkit.training.loss.conditional_delta`). Energies per atom are in eV, forces in eV/Å, stress in eV/Å³.
    """

    kind: Literal["mse", "mae", "huber", "universal"] = "mse"
    energy: NonNegativeFloat = Field(default=1.0, description="weight of the energy per atom")
    forces: NonNegativeFloat = Field(default=100.0, description="weight of the components of the forces")
    stress: NonNegativeFloat = Field(default=0.0, description="weight of the components of the stress")
    delta: PositiveFloat = Field(default=0.01, description="Huber's transition, in the unit of each quantity")
    free_atoms_only: bool = Field(default=False, description="leave the forces on fixed atoms out of loss and errors")

    @model_validator(mode="after")
    def _some_weight(self) -> LossSettings:
        if self.energy == self.forces == self.stress == 0:
            raise ValueError("expected a positive weight of energy, forces or stress; found 0 for all three")
        return self


class OptimiserSettings(Settings):
    """Adam (AMSGrad by default) with L2 regularisation, or AdamW with decoupled weight decay.

    ``decayed`` holds patterns of parameter names (``*`` is any text) that decay. By default these are the parameters
    of modules called ``products`` if the potential has them (the rule of the MACE paper), else all matrices.

    References: D. P. Kingma, J. Ba, arXiv:1412.6980; S. J. Reddi et al., arXiv:1904.09237; I. Loshchilov, F. Hutter,
    arXiv:1711.05101.
    """

    kind: Literal["adam", "adamw"] = "adam"
    learning_rate: PositiveFloat = 0.01
    weight_decay: NonNegativeFloat = 5e-7
    decayed: tuple[str, ...] | None = None
    betas: tuple[float, float] = (0.9, 0.999)
    amsgrad: bool = True


class Constant(Settings):
    """The learning rate stays."""

    kind: Literal["constant"] = "constant"


class Cosine(Settings):
    """``f = final + (1 - final)·(1 + cos πt)/2`` with t from 0 to 1 over ``max_epochs`` or until stage two."""

    kind: Literal["cosine"] = "cosine"
    final: float = Field(default=0.01, ge=0, le=1, description="last learning rate as a fraction of the first")


class Exponential(Settings):
    """``f = gamma^epoch``, continuously."""

    kind: Literal["exponential"] = "exponential"
    gamma: float = Field(default=0.9993, gt=0, le=1)


class Plateau(Settings):
    """Multiply by ``factor`` when the validation loss has not improved for ``patience`` validations."""

    kind: Literal["plateau"] = "plateau"
    factor: float = Field(default=0.8, gt=0, lt=1)
    patience: PositiveInt = 50
    minimum: NonNegativeFloat = Field(default=1e-6, description="smallest fraction of the first learning rate")


Schedule = Annotated[Constant | Cosine | Exponential | Plateau, Field(discriminator="kind")]


class StageTwo(Settings):
    """From ``start_epoch`` on (or when stage one stops early): other weights, learning rate and average.

    ``average``: ``keep`` goes on with the running average, ``ema`` restarts it, ``uniform`` averages all weights of
    stage two equally (stochastic weight averaging, P. Izmailov et al., arXiv:1803.05407). The best epoch is searched
    anew, because the two stages' losses are not comparable.
    """

    start_epoch: PositiveInt
    energy: NonNegativeFloat = Field(default=1000.0, description="weight of the energy per atom")
    forces: NonNegativeFloat = Field(default=100.0, description="weight of the components of the forces")
    stress: NonNegativeFloat | None = Field(default=None, description="weight of the stress; by default as before")
    learning_rate: PositiveFloat = 1e-3
    final: float = Field(
        default=1.0, ge=0, le=1, description="last learning rate as a fraction of the first of the stage, by a cosine"
    )
    average: Literal["keep", "ema", "uniform"] = "keep"


class TrainingSettings(Settings):
    """Everything about a training run but its data and its potential.

    ``batch_size`` counts the frames of one optimiser step over all processes together, so that a result does not
    depend on the number of processes.
    """

    max_epochs: PositiveInt = 200
    max_hours: PositiveFloat | None = Field(
        default=None, description="wall-clock budget; training then ends in good order"
    )
    batch_size: PositiveInt = 5
    validation_batch_size: PositiveInt = 16
    dtype: Literal["float32", "float64"] = "float32"
    loss: LossSettings = LossSettings()
    stage_two: StageTwo | None = None
    optimiser: OptimiserSettings = OptimiserSettings()
    schedule: Schedule = Plateau()
    warmup_epochs: NonNegativeFloat = Field(default=0.0, description="the learning rate first rises linearly from zero")
    clip: PositiveFloat | None = Field(default=10.0, description="largest norm of the gradient")
    ema: float | None = Field(
        default=0.99, gt=0, lt=1, description="decay of the exponential moving average of the weights"
    )
    validate_every: PositiveInt = Field(default=1, description="epochs between validations")
    early_stop: PositiveInt | None = Field(
        default=None, description="stop after this many epochs without a better validation"
    )
    checkpoint_minutes: PositiveFloat = Field(
        default=1.0, description="time between checkpoints: what a crash can cost"
    )
    frozen: tuple[str, ...] = Field(default=(), description="patterns of names of parameters that are not trained")
    workers: NonNegativeInt = Field(default=0, description="processes that read frames, for data larger than memory")
    cache_gigabytes: NonNegativeFloat = Field(
        default=4.0, description="memory for frames and their neighbours between epochs"
    )

    @model_validator(mode="after")
    def _stages_in_order(self) -> TrainingSettings:
        if self.stage_two and self.stage_two.start_epoch >= self.max_epochs:
            raise ValueError(
                f"stage_two.start_epoch is {self.stage_two.start_epoch} but max_epochs is {self.max_epochs}: "
                "stage two would never begin; lower the one or raise the other"
            )
        return self

    @model_validator(mode="after")
    def _some_weight_in_stage_two(self) -> TrainingSettings:
        if self.stage_two and not any(self.weights[1]):
            raise ValueError("expected a positive weight of energy, forces or stress in stage_two; found 0 for all")
        return self

    @property
    def weights(self) -> list[tuple[float, float, float]]:
        """Weights of energy, forces and stress in each stage."""
        loss, later = self.loss, self.stage_two
        first = (loss.energy, loss.forces, loss.stress)
        if later is None:
            return [first]
        return [first, (later.energy, later.forces, loss.stress if later.stress is None else later.stress)]

    @property
    def torch_dtype(self) -> torch.dtype:
        """Floating-point type of weights and coordinates."""
        from simkit.floating import TYPES

        return TYPES[self.dtype]


RESUMABLE = frozenset(
    f"settings.{name}"
    for name in ("max_epochs", "max_hours", "early_stop", "checkpoint_minutes", "workers", "cache_gigabytes")
)
"""Settings that may change between an interrupted run and its continuation."""
