"""What samplers sample: minus the logarithm of a density, and facts about it that bound their steps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor


class Target(ABC):
    """``U(θ) = -log p(θ)`` up to a constant, for a flat vector of parameters.

    Minibatch estimates depend on the number of the step and on nothing else that changes, so a chain that goes on
    from a checkpoint sees the same ones.
    """

    @property
    @abstractmethod
    def size(self) -> int:
        """Number of independent data that U adds up."""

    @property
    @abstractmethod
    def exact(self) -> bool:
        """Whether U and its gradient are those of all data, not estimates from a minibatch."""

    @abstractmethod
    def evaluate(
        self, position: Float[Tensor, " parameters"], step: int
    ) -> tuple[Float[Tensor, ""], Float[Tensor, " parameters"]]:
        """U and its gradient, or unbiased estimates of both from the minibatch of a step."""


class Density(Target):
    """A target that is a differentiable function.

    Args:
        energy: the pure function U.
        size: number of data that it stands for.
    """

    def __init__(self, energy: Callable[[Float[Tensor, " parameters"]], Float[Tensor, ""]], size: int = 1) -> None:
        self.energy = energy
        self._size = size

    @property
    def size(self) -> int:
        """As given."""
        return self._size

    @property
    def exact(self) -> bool:
        """Always."""
        return True

    def evaluate(
        self, position: Float[Tensor, " parameters"], step: int
    ) -> tuple[Float[Tensor, ""], Float[Tensor, " parameters"]]:
        """U and its gradient by automatic differentiation."""
        gradient, energy = torch.func.grad_and_value(self.energy)(position)
        return energy.detach(), gradient.detach()


class ControlVariate(Target):
    """Minibatch gradients with less noise near a point θ*, usually the maximum of the posterior.

    ``∇Û(θ) - ∇Û(θ*) + ∇U(θ*)`` with the same minibatch in the first two terms; unbiased, and exact at θ*. It costs two
    evaluations a step.

    Args:
        target: the target by minibatches.
        full: the same target with all data.
        centre: θ*.

    Reference: J. Baker et al., Stat. Comput. 29, 599 (2019), doi:10.1007/s11222-018-9826-2.
    """

    def __init__(self, target: Target, full: Target, centre: Float[Tensor, " parameters"]) -> None:
        self.target = target
        self.centre = centre.clone()
        self.energy, self.gradient = full.evaluate(self.centre, 0)

    @property
    def size(self) -> int:
        """Number of data."""
        return self.target.size

    @property
    def exact(self) -> bool:
        """Only at θ*."""
        return False

    def evaluate(
        self, position: Float[Tensor, " parameters"], step: int
    ) -> tuple[Float[Tensor, ""], Float[Tensor, " parameters"]]:
        """Estimates from the minibatch of a step and what is known at θ*."""
        energy, gradient = self.target.evaluate(position, step)
        energy_there, gradient_there = self.target.evaluate(self.centre, step)
        return energy - energy_there + self.energy, gradient - gradient_there + self.gradient


def largest_curvature(
    target: Target,
    position: Float[Tensor, " parameters"],
    scaling: Float[Tensor, " parameters"] | None = None,
    *,
    iterations: int = 15,
    displacement: float = 1e-3,
    seed: int = 0,
) -> float:
    """Largest eigenvalue of the Hessian of U by power iteration with differences of gradients.

    Args:
        target: the same minibatch, that of step 0, serves all evaluations.
        position: where.
        scaling: coordinates ``u = θ/s`` in place of θ; the Hessian is then ``s H s``.
        iterations: evaluations of the gradient beside the first; the estimate comes from below.
        displacement: length of the displacements of u.
        seed: of the first direction.
    """
    generator = torch.Generator().manual_seed(seed)
    scale = torch.ones_like(position) if scaling is None else scaling
    _, here = target.evaluate(position, 0)
    direction = torch.randn(position.shape, generator=generator, dtype=position.dtype).to(position.device)
    size = 0.0
    for _ in range(iterations):
        direction = direction / direction.norm()
        _, there = target.evaluate(position + displacement * scale * direction, 0)
        direction = scale * (there - here) / displacement
        size = float(direction.norm())
        if size == 0:
            break
    return size


def gradient_noise(
    target: Target, position: Float[Tensor, " parameters"], batches: int = 8
) -> Float[Tensor, " parameters"]:
    """Variance of each component of the minibatch gradient of U, over the minibatches of the first steps."""
    if target.exact:
        return torch.zeros_like(position)
    return torch.stack([target.evaluate(position, step)[1] for step in range(batches)]).var(0)
