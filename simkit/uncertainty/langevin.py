"""Langevin dynamics with and without momenta, for full and for minibatch gradients."""

from __future__ import annotations

import math
from abc import ABC
from dataclasses import replace
from typing import Literal

import torch
from jaxtyping import Float
from pydantic import Field, PositiveFloat
from torch import Tensor

from simkit.uncertainty.sampler import Move, Sampler, SamplerState
from simkit.uncertainty.target import Target

PROBES, DISPLACEMENT = 4, 1e-3
"""Random directions, and the displacements along them, that tell the size of gradients at equilibrium."""


class Underdamped(Sampler, ABC):
    """Dynamics with momenta, for unit masses, and friction."""

    friction: PositiveFloat | None = Field(default=None, description="γ; a tenth of 1/h by default")

    @property
    def damping(self) -> float:
        """γ."""
        return self.friction or 0.1 / self.size

    def start(self, position: Float[Tensor, " parameters"], target: Target, move: Move) -> SamplerState:
        """Momenta from their distribution."""
        momentum = math.sqrt(move.temperature) * move.noise(position)
        return SamplerState(position, target.evaluate(position, move.index)[0], momentum)

    def heating(
        self, state: SamplerState, noise: Float[Tensor, " parameters"], temperature: float
    ) -> Float[Tensor, " parameters"]:
        """``1 + h V/(2γT)``."""
        return 1 + self.size * noise / (2 * self.damping * temperature)


class BAOA(Underdamped):
    """Underdamped Langevin dynamics: kick h, drift h/2, friction and noise, drift h/2; one gradient a step.

    ``p ← p - h ∇U``, ``θ ← θ + h p/2``, ``p ← c p + √(T(1-c²)) ξ`` with ``c = exp(-γh)``, ``θ ← θ + h p/2``. Positions
    are those of BAOAB, whose harmonic variances are exact; stable for ``h √λ < 2``.

    Reference: B. Leimkuhler, C. Matthews, Appl. Math. Res. Express 2013, 34, doi:10.1093/amrx/abs010.
    """

    kind: Literal["baoa"] = "baoa"

    def advance(self, state: SamplerState, target: Target, move: Move) -> SamplerState:
        """One kick, two half drifts around friction and noise."""
        assert state.momentum is not None
        h = self.size * move.scale
        energy, gradient = target.evaluate(state.position, move.index)
        kicked = state.momentum - h * gradient
        half = state.position + 0.5 * h * kicked
        kept = math.exp(-self.damping * h)
        momentum = kept * kicked + math.sqrt(move.temperature * (1 - kept**2)) * move.noise(kicked)
        return replace(state, position=half + 0.5 * h * momentum, energy=energy, momentum=momentum)

    def tuned(self, curvature: float) -> BAOA:
        """``h √λ = 1``, half of what is stable."""
        root = math.sqrt(curvature)
        return self._sized(1 / root, 2 / root)


class SGHMC(Underdamped):
    """Stochastic gradient Hamiltonian Monte Carlo as published: explicit Euler, for comparison; prefer :class:`BAOA`.

    ``θ ← θ + h p``, ``p ← p - h ∇U - h γ p + √(2γhT) ξ``; stable only for ``h < γ/λ``.

    Reference: T. Chen, E. B. Fox, C. Guestrin, ICML 2014, arXiv:1402.4102.
    """

    kind: Literal["sghmc"] = "sghmc"

    def advance(self, state: SamplerState, target: Target, move: Move) -> SamplerState:
        """One explicit step of both equations."""
        assert state.momentum is not None
        h, damping = self.size * move.scale, self.damping
        energy, gradient = target.evaluate(state.position, move.index)
        noise = math.sqrt(2 * damping * h * move.temperature) * move.noise(gradient)
        momentum = state.momentum - h * gradient - h * damping * state.momentum + noise
        return replace(state, position=state.position + h * state.momentum, energy=energy, momentum=momentum)

    def tuned(self, curvature: float) -> SGHMC:
        """A twentieth of the stable step, with ``γ = √λ`` unless a friction was given."""
        friction = self.friction or math.sqrt(curvature)
        stable = min(friction / curvature, 1 / friction)
        return self._sized(0.05 * stable, stable, friction=friction)


class SGLD(Sampler):
    """Overdamped Langevin dynamics: ``θ ← θ - (ε/2) ∇U + √(εT) ξ``.

    Harmonic variances are too large by ``1/(1 - ελ/4)``; stable for ``ελ < 4``.

    Reference: M. Welling, Y. W. Teh, ICML 2011.
    """

    kind: Literal["sgld"] = "sgld"

    def start(self, position: Float[Tensor, " parameters"], target: Target, move: Move) -> SamplerState:
        """The position alone."""
        return SamplerState(position, target.evaluate(position, move.index)[0])

    def advance(self, state: SamplerState, target: Target, move: Move) -> SamplerState:
        """One step down the gradient, with noise."""
        epsilon = self.size * move.scale
        energy, gradient = target.evaluate(state.position, move.index)
        noise = math.sqrt(epsilon * move.temperature) * move.noise(gradient)
        return replace(state, position=state.position - 0.5 * epsilon * gradient + noise, energy=energy)

    def tuned(self, curvature: float) -> SGLD:
        """``ελ = 0.2``: variances 5 % too large at most."""
        return self._sized(0.2 / curvature, 4 / curvature)

    def heating(
        self, state: SamplerState, noise: Float[Tensor, " parameters"], temperature: float
    ) -> Float[Tensor, " parameters"]:
        """``1 + εV/(4T)``."""
        return 1 + self.size * noise / (4 * temperature)


class PSGLD(Sampler):
    """Langevin dynamics preconditioned by the running size of the gradient, as in RMSprop.

    With the mean gradient ``ĝ = ∇Û/N`` over N data: ``v ← βv + (1-β)ĝ²``, ``G = 1/(λ+√v)``,
    ``θ ← θ - (ε/2)(G ∇U - T Γ) + √(εTG) ξ``. v stays as it is after the burn-in; then Γ, ``Γ_i = ∂G_i/∂θ_i``, is zero.
    While v adapts Γ is left out, which biases the samples, unless ``correction`` asks for it; it costs two evaluations
    more, and its second derivatives come from one random probe: exact where the Hessian is diagonal, else unbiased.

    Reference: C. Li et al., AAAI 2016, arXiv:1512.07666.
    """

    kind: Literal["psgld"] = "psgld"
    beta: float = Field(default=0.99, ge=0, lt=1)
    regulariser: PositiveFloat = Field(default=1e-3, description="λ")
    correction: bool = Field(default=False, description="whether Γ is computed while v adapts")
    freeze: bool = Field(default=True, description="whether v stays as it is after the burn-in")

    def start(self, position: Float[Tensor, " parameters"], target: Target, move: Move) -> SamplerState:
        """Begin with ``v = ⟨ĝ²⟩ + T h/N²``, as at equilibrium; at a maximum of the posterior the gradient vanishes.

        ``h² = ⟨(Hz)²⟩`` over random signs z is at least the squared diagonal of the Hessian H.
        """
        energy, gradient = target.evaluate(position, move.index)
        others = [] if target.exact else [target.evaluate(position, move.index + k)[1] for k in range(1, PROBES)]
        v = (torch.stack([gradient, *others]) / target.size).square().mean(0)
        if move.temperature > 0:
            changes = []
            for _ in range(PROBES):
                displaced = position + DISPLACEMENT * move.noise(position).sign()
                changes.append(target.evaluate(displaced, move.index)[1] - gradient)
            curvature = torch.stack(changes).square().mean(0).sqrt() / DISPLACEMENT
            v = v + move.temperature * curvature / target.size**2
        return SamplerState(position, energy, second_moment=v)

    def advance(self, state: SamplerState, target: Target, move: Move) -> SamplerState:
        """One preconditioned step."""
        assert state.second_moment is not None
        epsilon = self.size * move.scale
        energy, gradient = target.evaluate(state.position, move.index)
        v, drift = state.second_moment, torch.zeros_like(gradient)
        if move.adapting or not self.freeze:
            mean = gradient / target.size
            v = self.beta * v + (1 - self.beta) * mean.square()
            if self.correction:
                drift = move.temperature * self._derivative(state.position, mean, v, target, move)
        conditioner = 1 / (self.regulariser + v.sqrt())
        noise = (epsilon * move.temperature * conditioner).sqrt() * move.noise(gradient)
        position = state.position - 0.5 * epsilon * (conditioner * gradient - drift) + noise
        return replace(state, position=position, energy=energy, second_moment=v)

    def _derivative(self, position: Tensor, mean: Tensor, v: Tensor, target: Target, move: Move) -> Tensor:
        """``∂G_i/∂θ_i = -(1-β) ĝ_i ∂ĝ_i/∂θ_i / (√v_i (λ+√v_i)²)``; zero where v is zero."""
        probe = move.noise(position).sign()
        size = 1e-4
        above, below = (target.evaluate(position + sign * size * probe, move.index)[1] for sign in (1, -1))
        curvature = probe * (above - below) / (2 * size * target.size)
        root = v.sqrt()
        slope = -(1 - self.beta) * mean * curvature / (root * (self.regulariser + root).square())
        return torch.where(root > 0, slope, 0)

    def tuned(self, curvature: float) -> PSGLD:
        """``ελ = 0.2`` in the preconditioned coordinates."""
        return self._sized(0.2 / curvature, 4 / curvature)

    def heating(
        self, state: SamplerState, noise: Float[Tensor, " parameters"], temperature: float
    ) -> Float[Tensor, " parameters"]:
        """``1 + εGV/(4T)``."""
        units = self.scaling(state)
        return 1 + self.size * units.square() * noise / (4 * temperature)

    def scaling(self, state: SamplerState) -> Float[Tensor, " parameters"]:
        """``√G``."""
        assert state.second_moment is not None
        return (self.regulariser + state.second_moment.sqrt()).rsqrt()
