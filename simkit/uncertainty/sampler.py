"""The contract of samplers of ``p_T(θ) ∝ exp(-U(θ)/T)``: frozen states, one step at a time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from pydantic import Field, PositiveFloat
from torch import Tensor

from simkit.errors import SimkitError
from simkit.settings import Settings
from simkit.uncertainty.target import Target

HOTTEST = 1.2
"""Ratio of effective temperatures above which samples are not to be called those of the posterior."""


@dataclass(frozen=True)
class SamplerState:
    """Where a chain stands; what a method has no use of is None.

    Attributes:
        position: θ.
        energy: U where the last gradient was taken, or its estimate from a minibatch.
        momentum: for unit masses.
        second_moment: running mean of the squared gradient per datum.
        step_factor: what an adaptive step was multiplied by.
        acceptance: probability with which the last proposal was accepted.
    """

    position: Float[Tensor, " parameters"]
    energy: Float[Tensor, ""]
    momentum: Float[Tensor, " parameters"] | None = None
    second_moment: Float[Tensor, " parameters"] | None = None
    step_factor: Float[Tensor, ""] | None = None
    acceptance: Float[Tensor, ""] | None = None


@dataclass(frozen=True)
class Move:
    """What one step of a chain is given beside the state.

    Attributes:
        index: number of the step, from 0.
        temperature: T.
        generator: of the noise.
        scale: factor of the step size, from a schedule.
        adapting: whether the method may still adapt itself (burn-in).
    """

    index: int
    temperature: float
    generator: torch.Generator
    scale: float = 1.0
    adapting: bool = False

    def noise(self, like: Float[Tensor, " parameters"]) -> Float[Tensor, " parameters"]:
        """Independent standard normal numbers."""
        noise = torch.randn(like.shape, generator=self.generator, dtype=like.dtype, device=self.generator.device)
        return noise.to(like.device)


class Sampler(Settings, ABC):
    """One method. Its settings never change; what does is in the state."""

    step: PositiveFloat | None = Field(
        default=None, description="step size; chosen from the largest curvature of U by default"
    )

    @property
    def size(self) -> float:
        """The step size.

        Raises:
            SimkitError: it was not given, and :meth:`tuned` was not called.
        """
        if self.step is None:
            raise SimkitError(f"expected a step size of {type(self).__name__}: give one, or call tuned()")
        return self.step

    @abstractmethod
    def start(self, position: Float[Tensor, " parameters"], target: Target, move: Move) -> SamplerState:
        """The first state."""

    @abstractmethod
    def advance(self, state: SamplerState, target: Target, move: Move) -> SamplerState:
        """The state after one step."""

    @abstractmethod
    def tuned(self, curvature: float) -> Sampler:
        """The same method with a step that is stable and accurate up to a curvature, unless one was given.

        Raises:
            SimkitError: the step that was given is not stable.
        """

    @abstractmethod
    def heating(
        self, state: SamplerState, noise: Float[Tensor, " parameters"], temperature: float
    ) -> Float[Tensor, " parameters"]:
        """Effective temperature over T in each direction, for gradients with that variance of their noise."""

    def scaling(self, state: SamplerState) -> Float[Tensor, " parameters"] | None:
        """Units of the coordinates in which the step is taken; None for one in all."""
        return None

    def _sized(self, step: float, stable: float, **others: Any) -> Any:
        if self.step is not None and self.step >= stable:
            raise SimkitError(
                f"the step {self.step:.3g} of {type(self).__name__} is not stable: at the largest curvature of the "
                f"target it must be below {stable:.3g}. Give a smaller one, or none to have it chosen"
            )
        return self.model_copy(update={"step": self.step or step, **others})
