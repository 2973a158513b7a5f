"""Fields on a periodic box, by their modes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Complex, Float
from torch import Tensor

from simkit.errors import SimkitError
from simkit.solvers.spectral.grid import FourierGrid
from simkit.system import replaced_rows


@dataclass(frozen=True)
class SpectralState:
    """A batch of independent fields at a time.

    Attributes:
        pairs: real and imaginary parts of the modes.
        time: of each.
    """

    pairs: Float[Tensor, "systems fields *modes 2"]
    time: Float[Tensor, " systems"]

    @classmethod
    def of(cls, grid: FourierGrid, values: Float[Tensor, "systems fields *grid"], time: float = 0.0) -> SpectralState:
        """From values at the points of a grid.

        Raises:
            SimkitError: values of another shape or type.
        """
        if values.shape[2:] != grid.points or values.dtype != grid.dtype:
            raise SimkitError(
                f"expected values of shape (systems, fields, {', '.join(map(str, grid.points))}) in {grid.dtype}; "
                f"found {tuple(values.shape)} in {values.dtype}"
            )
        times = torch.full((len(values),), time, dtype=torch.float64, device=values.device)
        return cls(torch.view_as_real(grid.to_modes(values)), times)

    @property
    def modes(self) -> Complex[Tensor, "systems fields *modes"]:
        """The modes as complex numbers."""
        return torch.view_as_complex(self.pairs)

    def values(self, grid: FourierGrid) -> Float[Tensor, "systems fields *grid"]:
        """At the points of the grid."""
        return grid.to_values(self.modes)

    def advanced(self, modes: Complex[Tensor, "systems fields *modes"], dt: Float[Tensor, " systems"]) -> SpectralState:
        """New modes at a later time."""
        return replace(self, pairs=torch.view_as_real(modes), time=self.time + dt)

    @property
    def n_systems(self) -> int:
        """Number of independent fields."""
        return len(self.time)

    def finite(self) -> Bool[Tensor, " systems"]:
        """Whether all modes of each are finite."""
        return torch.isfinite(self.pairs).flatten(1).all(1)

    def merged(self, other: SpectralState, taken: Bool[Tensor, " systems"]) -> SpectralState:
        """The fields of this state, with those that are ``taken`` from another."""
        return SpectralState(replaced_rows(self.pairs, other.pairs, taken), torch.where(taken, other.time, self.time))
