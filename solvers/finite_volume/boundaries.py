"""Boundary conditions by ghost cells outside of the interval."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from simkit.errors import SimkitError
from simkit.solvers.finite_volume.parameters import each
from simkit.solvers.spectral.equations import Parameter

Prescribed = Parameter | Callable[[Float[Tensor, " systems"]], Float[Tensor, " systems"]]
"""A constant of all systems, of each, or a function of the time of each."""


class End(ABC):
    """What is outside of one end of the interval."""

    @abstractmethod
    def ghosts(
        self, inner: Float[Tensor, "systems fields ghosts"], width: float, time: Float[Tensor, " systems"]
    ) -> Float[Tensor, "systems fields ghosts"]:
        """Averages of the ghost cells, from those of as many cells inside; both count from the end.

        Args:
            inner: the averages of the cells nearest to the end.
            width: of a cell.
            time: of each system.
        """


@dataclass(frozen=True)
class Dirichlet(End):
    """``u = g`` at the end: the ghosts continue ``u - g`` as an odd function.

    Attributes:
        value: g.
    """

    value: Prescribed

    def ghosts(self, inner: Tensor, width: float, time: Tensor) -> Float[Tensor, "systems fields ghosts"]:
        """``2 g - u``."""
        return 2 * _prescribed(self.value, inner, time) - inner


@dataclass(frozen=True)
class Neumann(End):
    """``∂u/∂n = q`` at the end, along the normal that points outwards: the ghosts are even but for this slope.

    Attributes:
        slope: q; 0 lets nothing diffuse through.
    """

    slope: Prescribed

    def ghosts(self, inner: Tensor, width: float, time: Tensor) -> Float[Tensor, "systems fields ghosts"]:
        """``u + q d`` with the distance d of a ghost from its mirror image."""
        distance = width * (2 * torch.arange(inner.shape[-1], dtype=inner.dtype, device=inner.device) + 1)
        return inner + _prescribed(self.slope, inner, time) * distance


@dataclass(frozen=True)
class Outflow(End):
    """Waves leave: the ghosts repeat the last cell."""

    def ghosts(self, inner: Tensor, width: float, time: Tensor) -> Float[Tensor, "systems fields ghosts"]:
        """The nearest cell's averages."""
        return inner[..., :1].expand_as(inner)


@dataclass(frozen=True)
class Wall(End):
    """A wall of a fluid: its density or depth, the first field, is even, and its momentum, the last one, odd."""

    def ghosts(self, inner: Tensor, width: float, time: Tensor) -> Float[Tensor, "systems fields ghosts"]:
        """Mirror images.

        Raises:
            SimkitError: a field alone, which has no momentum.
        """
        if inner.shape[1] < 2:
            raise SimkitError("a Wall needs a law with momentum, such as ShallowWater; use Dirichlet, Neumann, Outflow")
        return torch.cat([inner[:, :-1], -inner[:, -1:]], 1)


class Boundary(ABC):
    """The ghost cells of both ends."""

    @abstractmethod
    def padded(
        self, values: Float[Tensor, "systems fields cells"], ghosts: int, width: float, time: Float[Tensor, " systems"]
    ) -> Float[Tensor, "systems fields padded"]:
        """The averages of all cells with those of ``ghosts`` more at each end."""


@dataclass(frozen=True)
class Periodic(Boundary):
    """The end of the interval is its start."""

    def padded(self, values: Tensor, ghosts: int, width: float, time: Tensor) -> Float[Tensor, "systems fields padded"]:
        """Copies from the other end."""
        return torch.cat([values[..., -ghosts:], values, values[..., :ghosts]], -1)


@dataclass(frozen=True)
class Ends(Boundary):
    """A condition for each end.

    Attributes:
        left: at the start of the interval.
        right: at its end.
    """

    left: End
    right: End

    def padded(self, values: Tensor, ghosts: int, width: float, time: Tensor) -> Float[Tensor, "systems fields padded"]:
        """Ghosts of either end, in the order of coordinates."""
        left = self.left.ghosts(values[..., :ghosts], width, time).flip(-1)
        right = self.right.ghosts(values[..., -ghosts:].flip(-1), width, time)
        return torch.cat([left, values, right], -1)


def _prescribed(value: Prescribed, inner: Tensor, time: Tensor) -> Tensor:
    return each(value(time) if callable(value) else value, inner)
