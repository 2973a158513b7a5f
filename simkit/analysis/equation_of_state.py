"""Equation of state: energy over volume, and the bulk modulus from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from scipy.optimize import OptimizeWarning, curve_fit

from simkit.errors import DataError
from simkit.system import System
from simkit.units import GPA

EquationName = Literal["birch-murnaghan", "vinet"]


@dataclass(frozen=True)
class EquationOfState:
    """A fitted equation of state; errors are standard errors of the fit.

    Attributes:
        equation: name of the form.
        volume: at the minimum, V₀ in Å³.
        energy: at the minimum, E₀ in eV.
        bulk_modulus: B₀ in GPa.
        derivative: B₀' = dB/dP at zero pressure, without unit.
        volume_error, energy_error, bulk_modulus_error, derivative_error: in the same units.
        deviation: root-mean-square difference between the energies and the fit, in eV.
    """

    equation: EquationName
    volume: float
    energy: float
    bulk_modulus: float
    derivative: float
    volume_error: float
    energy_error: float
    bulk_modulus_error: float
    derivative_error: float
    deviation: float

    def energies(self, volumes: Float[ndarray, " volumes"]) -> Float[ndarray, " volumes"]:
        """Energies in eV of volumes in Å³."""
        return FORMS[self.equation](volumes, self.energy, self.volume, self.bulk_modulus * GPA, self.derivative)


def birch_murnaghan(
    v: Float[ndarray, " volumes"], e0: float, v0: float, b0: float, b1: float
) -> Float[ndarray, " volumes"]:
    """``E₀ + 9/16 V₀ B₀ {(x-1)³ B₀' + (x-1)² (6 - 4x)}`` with ``x = (V₀/V)^{2/3}``: third order in finite strain.

    Reference: F. Birch, Phys. Rev. 71, 809 (1947), doi:10.1103/PhysRev.71.809.
    """
    x = (v0 / v) ** (2 / 3)
    return e0 + 9 / 16 * v0 * b0 * ((x - 1) ** 3 * b1 + (x - 1) ** 2 * (6 - 4 * x))


def vinet(v: Float[ndarray, " volumes"], e0: float, v0: float, b0: float, b1: float) -> Float[ndarray, " volumes"]:
    """``E₀ + 4 V₀ B₀/(B₀'-1)² {1 - (1 + η) exp(-η)}`` with ``η = 3/2 (B₀'-1) [(V/V₀)^{1/3} - 1]``.

    Reference: P. Vinet, J. R. Smith, J. Ferrante, J. H. Rose, Phys. Rev. B 35, 1945 (1987),
    doi:10.1103/PhysRevB.35.1945.
    """
    eta = 1.5 * (b1 - 1) * ((v / v0) ** (1 / 3) - 1)
    return e0 + 4 * v0 * b0 / (b1 - 1) ** 2 * (1 - (1 + eta) * np.exp(-eta))


FORMS: Mapping[str, Callable[..., ndarray]] = {"birch-murnaghan": birch_murnaghan, "vinet": vinet}


def fit_equation_of_state(
    volumes: Float[ndarray, " volumes"],
    energies: Float[ndarray, " volumes"],
    equation: EquationName = "birch-murnaghan",
) -> EquationOfState:
    """Least-squares fit of an equation of state.

    Args:
        volumes: in Å³.
        energies: in eV.
        equation: ``birch-murnaghan`` or ``vinet``.

    Raises:
        DataError: fewer than five volumes, or energies without a minimum between them.
    """
    if len(volumes) < 5:
        raise DataError(f"expected at least five volumes for four parameters and their errors, found {len(volumes)}")
    order = np.argsort(volumes)
    volumes, energies = np.asarray(volumes, float)[order], np.asarray(energies, float)[order]
    lowest = int(energies.argmin())
    if lowest in (0, len(volumes) - 1) or not np.isfinite(energies).all():
        raise DataError(
            f"expected a minimum of the energy between the volumes, found the lowest at {volumes[lowest]:.3f} Å³, the "
            f"{'smallest' if lowest == 0 else 'largest'} of them: start from a relaxed crystal, or take a wider range"
        )
    scale = volumes[lowest]
    curvature = np.polyfit(volumes / scale - 1, energies - energies[lowest], 2)[0]
    start = (0.0, 1.0, max(2 * curvature, 1e-6), 4.0)
    form, above = FORMS[equation], energies - energies[lowest]
    try:
        # volumes in units of one of them, energies from the lowest: numbers of order one, whatever the cell
        best, covariance = curve_fit(form, volumes / scale, above, start, maxfev=20_000)
    except (RuntimeError, OptimizeWarning) as error:
        raise DataError(f"the {equation} equation does not fit the energies ({error}): plot them") from error
    e0, v0, b0, b1 = best
    errors = np.sqrt(np.diag(covariance))
    residual = form(volumes / scale, *best) - above
    return EquationOfState(
        equation=equation,
        volume=float(v0 * scale),
        energy=float(e0 + energies[lowest]),
        bulk_modulus=float(b0 / scale / GPA),
        derivative=float(b1),
        volume_error=float(errors[1] * scale),
        energy_error=float(errors[0]),
        bulk_modulus_error=float(errors[2] / scale / GPA),
        derivative_error=float(errors[3]),
        deviation=float(np.sqrt(np.mean(residual**2))),
    )


def scaled_cells(system: System, ratios: Float[ndarray, " volumes"]) -> list[System]:
    """One system with its volume multiplied by each ratio; the shape of the cell and the fractions stay."""
    found = []
    for factor in np.cbrt(ratios):
        found.append(replace(system, positions=system.positions * factor, cell=system.cell * factor))
    return found


def volumes_of(systems: list[System]) -> Float[ndarray, " volumes"]:
    """Volume of each system in Å³."""
    return torch.cat([system.volume() for system in systems]).double().cpu().numpy()
