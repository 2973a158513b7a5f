"""Structured sampling: groups of parameters that are sampled as if they were independent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from simkit.errors import SimkitError
from simkit.uncertainty.parameters import ParameterVector
from simkit.uncertainty.target import Target

CITATION = "A. Alexos, A. Boyd, S. Mandt, Structured stochastic gradient MCMC, ICML 2022, arXiv:2107.09028"


@dataclass(frozen=True)
class Memory:
    """Past positions, of which other groups' values are drawn; the latest ones, in a ring that is changed in place.

    It begins full of the start, preferably the maximum of the density: with few positions in it the groups would pull
    one another away, and come back only slowly.

    Attributes:
        positions: in no particular order.
        written: how many followed the start.
    """

    positions: Float[Tensor, "memory parameters"]
    written: Int[Tensor, ""]

    @classmethod
    def starting_with(cls, position: Float[Tensor, " parameters"], size: int) -> Memory:
        """A memory of so many positions that are the start."""
        return cls(position.repeat(size, 1), torch.zeros((), dtype=torch.int64))

    def store(self, position: Float[Tensor, " parameters"]) -> None:
        """Put a position in place of the oldest."""
        self.positions[int(self.written) % len(self.positions)] = position
        self.written.add_(1)

    def drawn(self, generator: torch.Generator) -> Float[Tensor, " parameters"]:
        """One of the positions, each as likely as the others."""
        return self.positions[int(torch.randint(len(self.positions), (), generator=generator))]


class Structured(Target):
    """Gradients in which the other groups have values of the past.

    The gradient by group g is taken at ``(θ_g, θ'_h for h ≠ g)`` with θ'_h drawn from stored samples, for each h
    apart. A chain then samples ``q(θ) = Π_g q_g(θ_g)`` with ``log q_g = ⟨log p⟩`` over the other groups, the best
    factorised density, and not the posterior: a Gaussian with precision P, one parameter in a group, gets the variances
    ``1/P_ii``. A step costs one evaluation for each group.

    Args:
        target: of all parameters.
        groups: indices of each group; together all parameters, each once.
        memory: past positions.
        generator: of the draws.

    Reference: A. Alexos, A. Boyd, S. Mandt, ICML 2022, arXiv:2107.09028.
    """

    def __init__(
        self, target: Target, groups: Sequence[Int[Tensor, " _"]], memory: Memory, generator: torch.Generator
    ) -> None:
        self.target, self.groups, self.memory, self.generator = target, groups, memory, generator

    @property
    def size(self) -> int:
        """Number of data."""
        return self.target.size

    @property
    def exact(self) -> bool:
        """Never: the other groups are drawn."""
        return False

    def evaluate(
        self, position: Float[Tensor, " parameters"], step: int
    ) -> tuple[Float[Tensor, ""], Float[Tensor, " parameters"]]:
        """Mean of U over the groups, and the gradient."""
        gradient = torch.zeros_like(position)
        energies = []
        for group in self.groups:
            mixed = torch.empty_like(position)
            for other in self.groups:
                mixed[other] = self.memory.drawn(self.generator)[other]
            mixed[group] = position[group]
            energy, slope = self.target.evaluate(mixed, step)
            gradient[group] = slope[group]
            energies.append(energy)
        return torch.stack(energies).mean(), gradient


def require_partition(groups: Sequence[Int[Tensor, " _"]], size: int) -> None:
    """Check that groups hold each parameter once.

    Raises:
        SimkitError: they do not.
    """
    members = torch.cat(list(groups)).sort().values
    if not torch.equal(members, torch.arange(size)):
        raise SimkitError(
            f"expected groups that together hold each of {size} parameters once, found {len(members)} members, "
            f"{len(members.unique())} of them different"
        )


def parameter_groups(
    vector: ParameterVector, patterns: Sequence[Sequence[str]], beyond: int = 0
) -> list[Int[Tensor, " _"]]:
    """Groups of parameters by patterns of their names; what no pattern matches is a group of its own, with the rest.

    Args:
        vector: the potential's parameters.
        patterns: of each group.
        beyond: number of entries that follow the potential's parameters, such as error scales.

    Raises:
        SimkitError: a pattern that matches nothing, or parameters in two groups.
    """
    groups = [vector.indices(vector.matching(one)) for one in patterns]
    taken = torch.zeros(vector.size + beyond, dtype=torch.int64)
    for group in groups:
        taken[group] += 1
    if bool((taken > 1).any()):
        raise SimkitError(f"expected groups without a common parameter, found {int((taken > 1).sum())} in two of them")
    rest = torch.nonzero(taken == 0)[:, 0]
    return [*groups, rest] if len(rest) else groups
