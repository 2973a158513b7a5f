"""Hamiltonian Monte Carlo."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal

import torch
from jaxtyping import Float
from pydantic import Field, PositiveInt
from torch import Tensor

from simkit.errors import SimkitError
from simkit.uncertainty.sampler import Move, Sampler, SamplerState
from simkit.uncertainty.target import Target


class HMC(Sampler):
    """Hamiltonian Monte Carlo with leapfrog steps and Metropolis' test: exact, for few parameters and all data.

    Proposals of a random number of leapfrog steps, from half of ``leapfrog`` up to it, are accepted with probability
    ``min(1, exp(-ΔH/T))``. During the burn-in the step adapts to the wanted acceptance.

    Reference: R. M. Neal, in Handbook of Markov Chain Monte Carlo (2011), arXiv:1206.1901.
    """

    kind: Literal["hmc"] = "hmc"
    leapfrog: PositiveInt = Field(default=10, description="most leapfrog steps of a proposal")
    acceptance: float = Field(default=0.8, gt=0, lt=1, description="wanted acceptance")

    def start(self, position: Float[Tensor, " parameters"], target: Target, move: Move) -> SamplerState:
        """Check the target, and take the step as given.

        Raises:
            SimkitError: the target is estimated from minibatches.
        """
        if not target.exact:
            raise SimkitError("HMC needs the energy of all data: leave batch_size out, or use BAOA")
        energy, _ = target.evaluate(position, move.index)
        return SamplerState(position, energy, step_factor=energy.new_ones(()), acceptance=energy.new_ones(()))

    def advance(self, state: SamplerState, target: Target, move: Move) -> SamplerState:
        """One proposal."""
        assert state.step_factor is not None
        h = self.size * move.scale * float(state.step_factor)
        momentum = math.sqrt(move.temperature) * move.noise(state.position)
        count = int(torch.randint((self.leapfrog + 1) // 2, self.leapfrog + 1, (), generator=move.generator))
        position, energy, last = self._proposal(state.position, momentum, target, h, count, move.index)
        change = energy + 0.5 * last.square().sum() - state.energy - 0.5 * momentum.square().sum()
        finite = torch.nan_to_num(-change / move.temperature, nan=-math.inf)
        probability = finite.clamp(max=0).exp()
        drawn = float(torch.rand((), generator=move.generator, dtype=torch.float64))
        factor = state.step_factor
        if move.adapting:
            factor = factor * torch.exp((probability - self.acceptance) / (move.index + 1) ** 0.6)
        after = replace(state, acceptance=probability, step_factor=factor)
        return replace(after, position=position, energy=energy) if drawn < float(probability) else after

    def _proposal(
        self, position: Tensor, momentum: Tensor, target: Target, h: float, count: int, index: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        energy, gradient = target.evaluate(position, index)
        for _ in range(count):
            momentum = momentum - 0.5 * h * gradient
            position = position + h * momentum
            energy, gradient = target.evaluate(position, index)
            momentum = momentum - 0.5 * h * gradient
        return position, energy, momentum

    def tuned(self, curvature: float) -> HMC:
        """``h √λ = 0.5`` to begin with."""
        root = math.sqrt(curvature)
        return self._sized(0.5 / root, 2 / root)

    def heating(
        self, state: SamplerState, noise: Float[Tensor, " parameters"], temperature: float
    ) -> Float[Tensor, " parameters"]:
        """One: there is no noise."""
        return torch.ones_like(noise)
