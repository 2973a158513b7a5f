"""Periodic boxes and their Fourier modes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Complex, Float
from torch import Tensor

from simkit.errors import SimkitError


@dataclass(frozen=True)
class FourierGrid:
    """Equidistant points of a periodic box, and the modes of real fields on them.

    Fields have the axes of the grid last; their modes are those of a real FFT, which has half of the last axis only.

    Attributes:
        lengths: of the box along each axis.
        points: number of points along each axis, even numbers.
        dtype: of the fields.
        device: of the fields.

    Raises:
        SimkitError: a number of points that is odd or too small, or lengths that are not positive.
    """

    lengths: tuple[float, ...]
    points: tuple[int, ...]
    dtype: torch.dtype = torch.float64
    device: torch.device | str = "cpu"

    def __post_init__(self) -> None:
        if len(self.lengths) != len(self.points) or not self.points:
            raise SimkitError(
                f"expected a length and a number of points for each axis, found {self.lengths} and {self.points}"
            )
        if any(n < 4 or n % 2 for n in self.points) or not all(0 < length < math.inf for length in self.lengths):
            raise SimkitError(
                f"expected even numbers of at least four points and positive lengths, found {self.points} and "
                f"{self.lengths}"
            )

    @property
    def axes(self) -> tuple[int, ...]:
        """The grid's axes, counted from the end of a field's shape."""
        return tuple(range(-len(self.points), 0))

    @property
    def volume(self) -> float:
        """Of the box."""
        return math.prod(self.lengths)

    @cached_property
    def coordinates(self) -> tuple[Float[Tensor, "*grid"], ...]:
        """Of every point, for each axis; the first one is zero, and the end of the box is not among them."""
        ticks = [
            torch.arange(n, dtype=self.dtype, device=self.device) * (length / n)
            for n, length in zip(self.points, self.lengths, strict=True)
        ]
        return tuple(torch.meshgrid(*ticks, indexing="ij"))

    @cached_property
    def wavenumbers(self) -> tuple[Float[Tensor, "*modes"], ...]:
        """``2π m / L`` of every mode, for each axis."""
        last = len(self.points) - 1
        numbers = [
            (torch.fft.rfftfreq if axis == last else torch.fft.fftfreq)(
                n, d=length / (2 * math.pi * n), dtype=self.dtype, device=self.device
            )
            for axis, (n, length) in enumerate(zip(self.points, self.lengths, strict=True))
        ]
        return tuple(torch.meshgrid(*numbers, indexing="ij"))

    @cached_property
    def squares(self) -> Float[Tensor, "*modes"]:
        """``|k|²`` of every mode."""
        return torch.stack(self.wavenumbers).square().sum(0)

    def derivative(self, axis: int, order: int = 1) -> Complex[Tensor, "*modes"]:
        """``(i k)^order``, by which modes of a derivative differ from those of a field.

        Odd derivatives of the highest mode, which a real field cannot have, are zero.
        """
        symbol = (1j * self.wavenumbers[axis]) ** order
        if order % 2 == 0:
            return symbol
        highest = math.pi * self.points[axis] / self.lengths[axis]
        return torch.where(self.wavenumbers[axis].abs() > highest * (1 - 1e-9), 0, symbol)

    @cached_property
    def kept(self) -> Bool[Tensor, "*modes"]:
        """Modes below two thirds of the highest along every axis: products of two such are free of aliases there.

        Reference: S. A. Orszag, J. Atmos. Sci. 28, 1074 (1971).
        """
        below = [
            k.abs() < 2 / 3 * math.pi * n / length - 1e-9
            for k, n, length in zip(self.wavenumbers, self.points, self.lengths, strict=True)
        ]
        return torch.stack(below).all(0)

    def to_modes(self, values: Float[Tensor, "*batch"]) -> Complex[Tensor, "*modes"]:
        """Modes of fields."""
        return torch.fft.rfftn(values, dim=self.axes)

    def to_values(self, modes: Complex[Tensor, "*modes"]) -> Float[Tensor, "*batch"]:
        """Fields of modes."""
        return torch.fft.irfftn(modes, s=self.points, dim=self.axes)
