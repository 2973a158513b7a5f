"""Conservation laws with diffusion, dispersion and sources, discretised by finite volumes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from simkit.errors import SimkitError
from simkit.solvers.finite_volume.boundaries import Boundary
from simkit.solvers.finite_volume.fluxes import NumericalFlux
from simkit.solvers.finite_volume.grid import CellGrid
from simkit.solvers.finite_volume.laws import ConservationLaw
from simkit.solvers.finite_volume.parameters import each
from simkit.solvers.finite_volume.reconstruction import GHOSTS, around_faces, face_curvatures, face_slopes, weno5
from simkit.solvers.spectral.equations import Parameter

DIFFUSIVE, DISPERSIVE = 0.4, 0.35
"""Largest ``b dt / h²`` and ``g dt / h³`` of SSPRK3: 2.51 and √3 over 6.05 and 4.61, the moduli of the stencils."""


@dataclass(frozen=True)
class FiniteVolumes:
    """Averages over cells that obey ``u_t + (f(u) - b u_x + g u_xx)_x = s(t)``: the derivative of an ODE.

    What leaves a cell enters its neighbour, so without a source the sum over a periodic grid never changes.

    Attributes:
        law: with the flux f.
        grid: the cells.
        boundary: at both ends.
        numerical_flux: ``godunov`` or ``local_lax_friedrichs``.
        diffusion: b, not negative.
        dispersion: g.
        source: averages of s over the cells, from the time of each system; None for none.

    Raises:
        SimkitError: a negative diffusion.
    """

    law: ConservationLaw
    grid: CellGrid
    boundary: Boundary
    numerical_flux: NumericalFlux
    diffusion: Parameter = 0.0
    dispersion: Parameter = 0.0
    source: Callable[[Float[Tensor, " systems"]], Float[Tensor, "systems fields cells"]] | None = None

    def __post_init__(self) -> None:
        if bool((torch.as_tensor(self.diffusion) < 0).any()):
            raise SimkitError(f"expected a diffusion that is not negative, found {self.diffusion}")

    def __call__(
        self, values: Float[Tensor, "systems fields cells"], time: Float[Tensor, " systems"]
    ) -> Float[Tensor, "systems fields cells"]:
        """``∂u/∂t`` of all terms.

        Raises:
            SimkitError: values that are not on this grid, or of another number of fields.
        """
        cells = self._around_faces(values, time)
        flux = self.numerical_flux(self.law, *weno5(cells))
        if _present(self.diffusion):
            flux = flux - each(self.diffusion, values) * face_slopes(cells, self.grid.width)
        if _present(self.dispersion):
            flux = flux + each(self.dispersion, values) * face_curvatures(cells, self.grid.width)
        return self._gained(flux, time)

    def convection(
        self, values: Float[Tensor, "systems fields cells"], time: Float[Tensor, " systems"]
    ) -> Float[Tensor, "systems fields cells"]:
        """``-f(u)_x + s`` without the linear terms."""
        return self._gained(self.numerical_flux(self.law, *weno5(self._around_faces(values, time))), time)

    def largest_step(
        self, values: Float[Tensor, "systems fields cells"], courant: float, linear: bool = True
    ) -> Float[Tensor, " systems"]:
        """An estimate of the largest stable time step of SSPRK3 for each system.

        ``1/dt = max|f'(u)| / (C h) + b / (0.4 h²) + |g| / (0.35 h³)``; infinite where nothing moves.

        Args:
            values: at the time.
            courant: C, the part of a cell that a wave may cross.
            linear: whether diffusion and dispersion limit the step.
        """
        width = self.grid.width
        rate = self.law.speed_between(values[..., :-1], values[..., 1:]).amax((1, 2)) / (courant * width)
        if linear:
            rate = rate + each(self.diffusion, values)[:, 0, 0] / (DIFFUSIVE * width**2)
            rate = rate + each(self.dispersion, values)[:, 0, 0].abs() / (DISPERSIVE * width**3)
        return 1 / rate

    def _around_faces(self, values: Tensor, time: Tensor) -> list[Tensor]:
        if values.shape[1:] != (self.law.fields, self.grid.cells):
            raise SimkitError(
                f"expected averages of shape (systems, {self.law.fields}, {self.grid.cells}) for "
                f"{type(self.law).__name__}, found {tuple(values.shape)}"
            )
        return around_faces(self.boundary.padded(values, GHOSTS, self.grid.width, time))

    def _gained(self, flux: Tensor, time: Tensor) -> Tensor:
        gained = -flux.diff(dim=-1) / self.grid.width
        return gained if self.source is None else gained + self.source(time)


def _present(parameter: Parameter) -> bool:
    return isinstance(parameter, Tensor) or parameter != 0
