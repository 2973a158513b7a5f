"""Mean squared displacements and diffusion coefficients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray
from scipy import constants

from simkit.analysis.statistics import autocorrelation, mean_and_error
from simkit.analysis.trajectory import Trajectory, unwrapped, without_drift
from simkit.errors import DataError

M2_PER_S: float = 1e-20 / 1e-15
"""One Å²/fs in m²/s."""

ATOMS_AT_ONCE = 256


@dataclass(frozen=True)
class Diffusion:
    """Mean squared displacement of some atoms and the diffusion coefficient from its slope.

    Attributes:
        time: lags in fs.
        msd: mean squared displacement, in Å².
        msd_error: its standard error over blocks of time.
        coefficient: D in Å²/fs; times :data:`M2_PER_S` in m²/s.
        error: standard error of D over blocks of time.
        exponent: slope of log(MSD) over log(time) in the window of the fit: 1 for diffusion, 2 for ballistic motion, 0
            for atoms on their sites; far from 1, D means nothing.
        window: lags in fs between which the line was fitted.
    """

    time: Float[ndarray, " lags"]
    msd: Float[ndarray, " lags"]
    msd_error: Float[ndarray, " lags"]
    coefficient: float
    error: float
    exponent: float
    window: tuple[float, float]


def mean_squared_displacement(positions: Float[ndarray, "frames atoms 3"]) -> Float[ndarray, "frames atoms"]:
    """``MSD(k) = 1/(n-k) Σ_i |x_{i+k} - x_i|²`` in Å² of each atom for all lags k, averaged over all time origins.

    The squares and the products are summed apart, the products by FFT: ``O(n log n)``.

    Reference: V. Calandrini et al., École thématique de la Société Française de la Neutronique 12, 201 (2011),
    doi:10.1051/sfn/201112010.
    """
    count = positions.shape[0]
    centred = positions - positions.mean(0)
    squares = np.square(centred).sum(2)
    before = np.cumsum(np.concatenate([np.zeros_like(squares[:1]), squares]), axis=0)
    lags = np.arange(count)
    # squares of the first n-k and of the last n-k positions
    sums = before[count - lags] + before[count] - before[lags]
    found = sums / (count - lags)[:, None] - 2 * autocorrelation(centred).sum(2)
    found[0] = 0
    return found


def diffusion(
    trajectories: Sequence[Trajectory],
    atoms: Bool[ndarray, " atoms"] | None = None,
    *,
    blocks: int = 5,
    fit: tuple[float, float] = (0.1, 0.5),
    remove_drift: bool = True,
) -> Diffusion:
    """Diffusion coefficient ``D = lim MSD(t) / 6t`` from the slope of the mean squared displacement.

    Each trajectory is cut into blocks. Each block gives a mean squared displacement over its atoms and time origins,
    and by a least-squares line one D; their mean is D, their spread its error. Blocks must be longer than the time in
    which atoms forget how they moved.

    Args:
        trajectories: of the same atoms, saved equally often; positions may be wrapped.
        atoms: mask of those that count; all by default.
        blocks: parts of each trajectory.
        fit: window of the fit, as fractions of the length of a block.
        remove_drift: measure relative to the centre of mass of all atoms.

    Raises:
        DataError: trajectories with other atoms or spacing, too few frames, or a window with fewer than two lags.
    """
    first = _require_alike(trajectories)
    mask = np.ones(len(first.numbers), dtype=bool) if atoms is None else atoms
    curves = []
    for one in trajectories:
        positions = unwrapped(one)
        positions = without_drift(positions, one.masses) if remove_drift else positions
        length = one.n_frames // blocks
        if length < 3:
            raise DataError(f"expected at least {3 * blocks} frames for {blocks} blocks, found {one.n_frames}")
        start = one.n_frames - blocks * length
        curves += [
            _mean_over_atoms(positions[start + i * length : start + (i + 1) * length], mask) for i in range(blocks)
        ]
    shortest = min(len(curve) for curve in curves)
    samples = np.array([curve[:shortest] for curve in curves])
    return _fitted(samples, first.spacing, fit)


def _mean_over_atoms(positions: ndarray, mask: ndarray) -> ndarray:
    chosen = np.flatnonzero(mask)
    total = np.zeros(len(positions))
    for start in range(0, len(chosen), ATOMS_AT_ONCE):
        total += mean_squared_displacement(positions[:, chosen[start : start + ATOMS_AT_ONCE]]).sum(1)
    return total / len(chosen)


def _fitted(samples: Float[ndarray, "blocks lags"], spacing: float, fit: tuple[float, float]) -> Diffusion:
    time = spacing * np.arange(samples.shape[1])
    low, high = (round(fraction * (len(time) - 1)) for fraction in fit)
    rows = slice(max(low, 1), high + 1)
    if not 0 <= fit[0] < fit[1] <= 1 or len(time[rows]) < 2:
        raise DataError(
            f"expected a window of at least two of the {len(time)} lags, as increasing fractions between 0 and 1; "
            f"found {fit[0]:g} to {fit[1]:g}: widen it, or save more frames"
        )
    slopes = np.polyfit(time[rows], samples[:, rows].T, 1)[0] / 6
    coefficient, error = mean_and_error(slopes)
    msd, msd_error = mean_and_error(samples)
    moved = msd[rows] > 0
    exponent = np.nan
    if moved.sum() > 1:
        exponent = np.polyfit(np.log(time[rows][moved]), np.log(msd[rows][moved]), 1)[0]
    window = (float(time[rows][0]), float(time[rows][-1]))
    return Diffusion(time, msd, msd_error, float(coefficient), float(error), float(exponent), window)


def _require_alike(trajectories: Sequence[Trajectory]) -> Trajectory:
    if not trajectories:
        raise DataError("expected at least one trajectory, found none")
    first = trajectories[0]
    for index, one in enumerate(trajectories):
        if one.numbers.tolist() != first.numbers.tolist():
            raise DataError(
                f"trajectory {index} holds other atoms than the first; analyse different systems one by one"
            )
        if abs(one.spacing - first.spacing) > 1e-6 * first.spacing:
            raise DataError(
                f"trajectory {index} has a frame every {one.spacing:g} fs, the first every {first.spacing:g} fs; they "
                "must be saved equally often"
            )
    return first


def finite_size_correction(temperature: float, viscosity: float, length: float) -> float:
    """What a cubic periodic box takes from the diffusion coefficient: ``ξ k_B T / 6πηL`` with ξ = 2.837297, in Å²/fs.

    Args:
        temperature: in K.
        viscosity: shear viscosity η in mPa·s.
        length: edge L of the box in Å.

    Reference: I.-C. Yeh, G. Hummer, J. Phys. Chem. B 108, 15873 (2004), doi:10.1021/jp0477147.
    """
    thermal = constants.k * temperature
    return 2.837297 * thermal / (6 * np.pi * viscosity * 1e-3 * length * 1e-10) / M2_PER_S
