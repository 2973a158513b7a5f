"""The forced equation of Burgers, Korteweg and de Vries, as a family of benchmarks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from simkit.solvers.finite_volume.boundaries import Periodic
from simkit.solvers.finite_volume.equation import FiniteVolumes
from simkit.solvers.finite_volume.flows import CourantSteps, explicit_steps, integrating_factor
from simkit.solvers.finite_volume.fluxes import godunov
from simkit.solvers.finite_volume.forcing import TravellingWaves
from simkit.solvers.finite_volume.grid import CellGrid
from simkit.solvers.finite_volume.laws import Quadratic
from simkit.solvers.ode import OdeState
from simkit.solvers.spectral import FourierGrid, SemilinearEquation


@dataclass(frozen=True)
class ForcedBurgersKdV:
    """``u_t + (a u² - b u_x + g u_xx)_x = s(t, x)`` with ``u(0) = s(0)`` on a periodic interval of length 16.

    Attributes:
        a: of the convection.
        b: of the diffusion.
        g: of the dispersion.
        forcing: s.

    Reference: J. Brandstetter, D. Worrall, M. Welling, ICLR (2022), arXiv:2202.03376, section 4.
    """

    a: Float[Tensor, " systems"]
    b: Float[Tensor, " systems"]
    g: Float[Tensor, " systems"]
    forcing: TravellingWaves

    @classmethod
    def e1(cls, systems: int, seed: int, highest: int = 3) -> ForcedBurgersKdV:
        """The paper's E1: a = 1/2, b = g = 0, waves up to the wavenumber ``highest``."""
        return cls._drawn(systems, seed, highest, (0.5, 0.5), (0.0, 0.0), (0.0, 0.0))

    @classmethod
    def e2(cls, systems: int, seed: int, highest: int = 3) -> ForcedBurgersKdV:
        """The paper's E2: a = 1/2, b in [0, 1/5), g = 0."""
        return cls._drawn(systems, seed, highest, (0.5, 0.5), (0.0, 0.2), (0.0, 0.0))

    @classmethod
    def e3(cls, systems: int, seed: int, highest: int = 3) -> ForcedBurgersKdV:
        """The paper's E3: a in [0, 3), b in [0, 2/5), g in [0, 1)."""
        return cls._drawn(systems, seed, highest, (0.0, 3.0), (0.0, 0.4), (0.0, 1.0))

    @classmethod
    def _drawn(cls, systems: int, seed: int, highest: int, *ranges: tuple[float, float]) -> ForcedBurgersKdV:
        generator = torch.Generator().manual_seed(seed)
        forcing = TravellingWaves.drawn(systems, generator, highest=highest)
        a, b, g = (
            low + (high - low) * torch.rand(systems, generator=generator, dtype=torch.float64) for low, high in ranges
        )
        return cls(a, b, g, forcing)

    def grid(self, cells: int) -> CellGrid:
        """Cells of the periodic interval."""
        return CellGrid(0.0, self.forcing.length, cells)

    def start(self, grid: CellGrid) -> OdeState:
        """``u(0) = s(0)``, averaged over cells."""
        return OdeState.of(self.forcing.averages(grid)(torch.zeros(len(self.a), dtype=grid.dtype)))

    def flow(self, grid: CellGrid, courant: float = 0.4) -> CourantSteps:
        """Finite volumes; diffusion and dispersion are exact where there are any."""
        linear = {"diffusion": self.b, "dispersion": self.g} if bool(((self.b != 0) | (self.g != 0)).any()) else {}
        equation = FiniteVolumes(
            Quadratic(self.a), grid, Periodic(), godunov, source=self.forcing.averages(grid), **linear
        )
        return (integrating_factor if linear else explicit_steps)(equation, courant)

    def spectral(self) -> SemilinearEquation:
        """The same for Fourier methods, for solutions without shocks."""
        return _Spectral(self)


@dataclass(frozen=True)
class _Spectral(SemilinearEquation):
    """Modes of values at points."""

    dimensions: ClassVar[int] = 1
    family: ForcedBurgersKdV

    def linear(self, grid: FourierGrid) -> Complex[Tensor, "systems_or_one 1 modes"]:
        """``-b k² - g (i k)³``."""
        b, g = self.family.b.view(-1, 1, 1), self.family.g.view(-1, 1, 1)
        return -b * grid.squares - g * grid.derivative(0, 3)

    def nonlinear(self, grid: FourierGrid, modes: Tensor, time: Tensor) -> Complex[Tensor, "systems 1 modes"]:
        """``-(a u²)_x + s``."""
        values = grid.to_values(torch.where(grid.kept, modes, 0))
        square = torch.where(grid.kept, grid.to_modes(values.square()), 0)
        forcing = grid.to_modes(self.family.forcing.at(grid.coordinates[0], time))
        return forcing - self.family.a.view(-1, 1, 1) * grid.derivative(0) * square
