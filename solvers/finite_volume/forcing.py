"""Random forcing by travelling waves."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from simkit.errors import SimkitError
from simkit.solvers.finite_volume.grid import CellGrid


@dataclass(frozen=True)
class TravellingWaves:
    """``s(t, x) = Σ_j A_j sin(ω_j t + 2π l_j x / L + φ_j)``, for each system its own.

    Attributes:
        amplitudes: A.
        frequencies: ω.
        wavenumbers: l, whole numbers.
        phases: φ.
        length: L, of the periodic interval.
    """

    amplitudes: Float[Tensor, "systems waves"]
    frequencies: Float[Tensor, "systems waves"]
    wavenumbers: Float[Tensor, "systems waves"]
    phases: Float[Tensor, "systems waves"]
    length: float

    @classmethod
    def drawn(
        cls, systems: int, generator: torch.Generator, waves: int = 5, highest: int = 3, length: float = 16.0
    ) -> TravellingWaves:
        """Of A in [-1/2, 1/2), ω in [-2/5, 2/5), l in {1, ..., highest} and φ in [0, 2π), each uniformly."""
        if min(systems, waves, highest) < 1:
            raise SimkitError(
                f"expected at least one system, wave and wavenumber, found {systems}, {waves} and {highest}"
            )

        def uniform(low: float, high: float) -> Tensor:
            return low + (high - low) * torch.rand(systems, waves, generator=generator, dtype=torch.float64)

        amplitudes, frequencies, phases = uniform(-0.5, 0.5), uniform(-0.4, 0.4), uniform(0, 2 * math.pi)
        wavenumbers = torch.randint(1, highest + 1, (systems, waves), generator=generator).to(torch.float64)
        return cls(amplitudes, frequencies, wavenumbers, phases, length)

    def at(
        self, points: Float[Tensor, " points"], time: Float[Tensor, " systems"]
    ) -> Float[Tensor, "systems 1 points"]:
        """Values at some points."""
        return self._at(self.amplitudes, points)(time)

    def averages(self, grid: CellGrid) -> Callable[[Float[Tensor, " systems"]], Float[Tensor, "systems 1 cells"]]:
        """Exact averages over the cells, as a function of time: a source of ``FiniteVolumes``.

        Raises:
            SimkitError: a grid of another length.
        """
        if not math.isclose(grid.length, self.length):
            raise SimkitError(f"expected a grid of the forcing's length {self.length:g}, found {grid.length:g}")
        damped = self.amplitudes * torch.sinc(self.wavenumbers * (grid.width / self.length))
        return self._at(damped, grid.centres)

    def _at(self, amplitudes: Tensor, points: Tensor) -> Callable[[Tensor], Tensor]:
        """By ``sin(α + β) = sin α cos β + cos α sin β``, with α of the time and β of the place, for each wavenumber."""
        numbers = torch.arange(int(self.wavenumbers.max()) + 1, dtype=points.dtype, device=points.device)
        chosen = (self.wavenumbers[..., None] == numbers).to(points.dtype)
        angle = (2 * math.pi / self.length) * numbers[:, None] * points
        cosine, sine = torch.cos(angle), torch.sin(angle)

        def values(time: Tensor) -> Tensor:
            turned = self.frequencies * time[:, None].to(self.phases.dtype) + self.phases
            parts = amplitudes * torch.stack([torch.sin(turned), torch.cos(turned)])
            of_cosine, of_sine = parts[:, :, None].to(points.dtype) @ chosen
            return of_cosine @ cosine + of_sine @ sine

        return values
