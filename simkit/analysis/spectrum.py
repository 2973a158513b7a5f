"""Velocity autocorrelation and vibrational spectrum."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.fft
from jaxtyping import Float
from numpy import ndarray
from scipy import constants

from simkit.analysis.statistics import autocorrelation, mean_and_error
from simkit.analysis.trajectory import Trajectory, without_drift
from simkit.errors import DataError

PER_CM: float = 1e12 / (constants.c * 100)
"""One THz in 1/cm."""

COLUMNS_AT_ONCE = 768


@dataclass(frozen=True)
class Spectrum:
    """Velocity autocorrelation function and vibrational spectrum.

    Attributes:
        time: lags in fs.
        correlation: ``C(t)``, 1 at zero.
        correlation_error: standard error over blocks of time.
        frequency: in THz; times :data:`PER_CM` in 1/cm.
        density: spectrum in 1/THz; its integral is 1.
        density_error: standard error over blocks of time.
        partial: part of each element in the density, by atomic number; they add up to it.
    """

    time: Float[ndarray, " lags"]
    correlation: Float[ndarray, " lags"]
    correlation_error: Float[ndarray, " lags"]
    frequency: Float[ndarray, " frequencies"]
    density: Float[ndarray, " frequencies"]
    density_error: Float[ndarray, " frequencies"]
    partial: dict[int, Float[ndarray, " frequencies"]]


def velocity_autocorrelation(
    velocities: Float[ndarray, "frames atoms 3"], masses: Float[ndarray, " atoms"]
) -> Float[ndarray, " frames"]:
    """``Σ_a m_a <v_a(0)·v_a(t)>`` for all lags, averaged over time origins, in the units of ``m v²``."""
    columns = (velocities * np.sqrt(masses)[:, None]).reshape(len(velocities), -1)
    total = np.zeros(len(velocities))
    for start in range(0, columns.shape[1], COLUMNS_AT_ONCE):
        total += autocorrelation(columns[:, start : start + COLUMNS_AT_ONCE]).sum(1)
    return total


def vibrational_spectrum(
    trajectories: Sequence[Trajectory], *, resolution: float = 0.5, blocks: int = 5, remove_drift: bool = True
) -> Spectrum:
    """Spectrum of the mass-weighted velocity autocorrelation function.

    ``S(ν) = 4 ∫₀^∞ C(t) w(t) cos(2πνt) dt`` with ``C(t) = Σ m <v(0)·v(t)> / Σ m <v²>`` and Hann's window
    ``w(t) = cos²(πt/2T)`` of length T = 1/resolution. For harmonic vibrations it is the density of states.

    Args:
        trajectories: with velocities, saved at least twice in the shortest period.
        resolution: width of a line at half height, in THz.
        blocks: parts of each trajectory, taken as independent for the errors.
        remove_drift: leave out the motion of the centre of mass.

    Raises:
        DataError: no velocities, or blocks shorter than T.

    Reference: J. M. Dickey, A. Paskin, Phys. Rev. 188, 1407 (1969), doi:10.1103/PhysRev.188.1407.
    """
    first = _require_velocities(trajectories)
    lags = round(1e3 / (resolution * first.spacing))
    elements = sorted(set(first.numbers.tolist()))
    correlations = []
    for one in (part for trajectory in trajectories for part in trajectory.segments(blocks)):
        if one.n_frames <= lags:
            raise DataError(
                f"a resolution of {resolution:g} THz needs blocks of more than {lags * first.spacing:g} fs, they have "
                f"{one.duration:g} fs: run longer, or ask for fewer blocks or a coarser resolution"
            )
        assert one.velocities is not None
        velocities = without_drift(one.velocities, one.masses) if remove_drift else one.velocities
        parts = [
            velocity_autocorrelation(velocities[:, one.numbers == z], one.masses[one.numbers == z])[: lags + 1]
            for z in elements
        ]
        correlations.append(np.array(parts) / sum(part[0] for part in parts))
    samples = np.array(correlations)
    frequency, densities = _transformed(samples, first.spacing)
    density, density_error = mean_and_error(densities.sum(1))
    correlation, correlation_error = mean_and_error(samples.sum(1))
    return Spectrum(
        time=first.spacing * np.arange(lags + 1),
        correlation=correlation,
        correlation_error=correlation_error,
        frequency=frequency,
        density=density,
        density_error=density_error,
        partial=dict(zip(elements, densities.mean(0), strict=True)),
    )


def _transformed(samples: Float[ndarray, "... lags"], spacing: float) -> tuple[ndarray, ndarray]:
    """Frequencies in THz and the windowed cosine transform in 1/THz, on a grid four times finer than the resolution."""
    lags = samples.shape[-1] - 1
    windowed = samples * np.cos(np.pi * np.arange(lags + 1) / (2 * lags)) ** 2
    length = scipy.fft.next_fast_len(8 * lags, real=True)
    padded = np.zeros((*samples.shape[:-1], length))
    padded[..., : lags + 1] = windowed
    padded[..., length - lags :] = windowed[..., :0:-1]
    transform = scipy.fft.rfft(padded, axis=-1).real
    return scipy.fft.rfftfreq(length, spacing * 1e-3), 2 * spacing * 1e-3 * transform


def _require_velocities(trajectories: Sequence[Trajectory]) -> Trajectory:
    if not trajectories:
        raise DataError("expected at least one trajectory, found none")
    first = trajectories[0]
    for index, one in enumerate(trajectories):
        if one.velocities is None or not np.any(one.velocities):
            raise DataError(f"trajectory {index} holds no velocities: save momenta with the frames")
        if abs(one.spacing - first.spacing) > 1e-6 * first.spacing or set(one.numbers) != set(first.numbers):
            raise DataError(f"trajectory {index} has other elements or another time between frames than the first")
    return first
