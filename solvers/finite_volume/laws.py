"""Conservation laws ``u_t + f(u)_x = 0``: their fluxes, speeds and exact fluxes between two constant states."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from simkit.errors import SimkitError
from simkit.solvers.finite_volume.parameters import each
from simkit.solvers.spectral.equations import Parameter


class ConservationLaw(ABC):
    """A flux of one or more fields."""

    fields: ClassVar[int] = 1

    @abstractmethod
    def flux(self, values: Float[Tensor, "systems fields cells"]) -> Float[Tensor, "systems fields cells"]:
        """The flux f(u)."""

    @abstractmethod
    def speed(self, values: Float[Tensor, "systems fields cells"]) -> Float[Tensor, "systems 1 cells"]:
        """The largest modulus of an eigenvalue of f'(u)."""

    def speed_between(
        self, left: Float[Tensor, "systems fields faces"], right: Float[Tensor, "systems fields faces"]
    ) -> Float[Tensor, "systems 1 faces"]:
        """The largest speed of all states between two: by default one of theirs, as for convex fluxes."""
        return torch.maximum(self.speed(left), self.speed(right))


class ScalarLaw(ConservationLaw):
    """A law of one field whose Riemann problem has a known solution."""

    @abstractmethod
    def between(
        self, left: Float[Tensor, "systems 1 faces"], right: Float[Tensor, "systems 1 faces"]
    ) -> Float[Tensor, "systems 1 faces"]:
        """The flux at the face between two constant states, by the exact entropy solution."""


@dataclass(frozen=True)
class Advection(ScalarLaw):
    """``f = c u``.

    Attributes:
        velocity: c.
    """

    velocity: Parameter

    def flux(self, values: Tensor) -> Float[Tensor, "systems 1 cells"]:
        """``c u``."""
        return each(self.velocity, values) * values

    def speed(self, values: Tensor) -> Float[Tensor, "systems 1 cells"]:
        """``|c|``."""
        return each(self.velocity, values).abs().expand_as(values)

    def between(self, left: Tensor, right: Tensor) -> Float[Tensor, "systems 1 faces"]:
        """Of the state that the wind comes from."""
        velocity = each(self.velocity, left)
        return velocity * torch.where(velocity > 0, left, right)


@dataclass(frozen=True)
class Quadratic(ScalarLaw):
    """``f = a u²``; Burgers' equation has a = 1/2.

    Attributes:
        coefficient: a, of either sign.
    """

    coefficient: Parameter

    def flux(self, values: Tensor) -> Float[Tensor, "systems 1 cells"]:
        """``a u²``."""
        return each(self.coefficient, values) * values.square()

    def speed(self, values: Tensor) -> Float[Tensor, "systems 1 cells"]:
        """``2 |a u|``."""
        return 2 * (each(self.coefficient, values) * values).abs()

    def between(self, left: Tensor, right: Tensor) -> Float[Tensor, "systems 1 faces"]:
        """``a max(max(u_l, 0)², min(u_r, 0)²)`` for positive a; -u obeys the law with -a."""
        coefficient = each(self.coefficient, left)
        sign = torch.where(coefficient < 0, -1.0, 1.0).to(left.dtype)
        downwind = torch.minimum(sign * right, torch.zeros_like(right)).square()
        return coefficient * torch.maximum((sign * left).clamp(min=0).square(), downwind)


@dataclass(frozen=True)
class FluxFunction(ConservationLaw):
    """Any flux of one field, given as functions; it need not be convex.

    Attributes:
        function: f.
        slope: f', whose modulus is the speed of waves.
        samples: number of states between two, both with them, at which the largest speed is searched.
    """

    function: Callable[[Tensor], Tensor]
    slope: Callable[[Tensor], Tensor]
    samples: int = 9

    def flux(self, values: Tensor) -> Float[Tensor, "systems 1 cells"]:
        """The flux f(u)."""
        return self.function(values)

    def speed(self, values: Tensor) -> Float[Tensor, "systems 1 cells"]:
        """``|f'(u)|``."""
        return self.slope(values).abs()

    def speed_between(self, left: Tensor, right: Tensor) -> Float[Tensor, "systems 1 faces"]:
        """The largest of ``|f'|`` at some states on the way from one to the other."""
        shares = torch.linspace(0, 1, self.samples, dtype=left.dtype, device=left.device)
        return self.slope(torch.lerp(left, right, shares.view(-1, 1, 1, 1))).abs().amax(0)


@dataclass(frozen=True)
class ShallowWater(ConservationLaw):
    """Water of depth h and velocity v over a flat bed, with the fields ``(h, h v)``.

    ``f = (h v, h v² + g h²/2)``, whose waves have the speeds ``v ± √(g h)``.

    Attributes:
        gravity: g.
    """

    fields: ClassVar[int] = 2
    gravity: Parameter

    def flux(self, values: Tensor) -> Float[Tensor, "systems 2 cells"]:
        """``(h v, h v² + g h²/2)``."""
        depth, momentum = self._split(values)
        return torch.cat([momentum, momentum**2 / depth + 0.5 * each(self.gravity, values) * depth**2], 1)

    def speed(self, values: Tensor) -> Float[Tensor, "systems 1 cells"]:
        """``|v| + √(g h)``."""
        depth, momentum = self._split(values)
        return (momentum / depth).abs() + (each(self.gravity, values) * depth).sqrt()

    def _split(self, values: Tensor) -> tuple[Tensor, Tensor]:
        depth, momentum = values[:, :1], values[:, 1:]
        if not bool((depth.detach() > 0).all() | ~torch.isfinite(depth.detach()).all()):
            raise SimkitError(
                f"expected water everywhere, found a depth of {float(depth.detach().min()):g}: dry beds are not "
                "supported; start with a positive depth, or use more cells where it falls steeply"
            )
        return depth, momentum
