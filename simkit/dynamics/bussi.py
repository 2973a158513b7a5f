"""Stochastic velocity rescaling: the canonical ensemble by one random number for all momenta of a system."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from simkit.dynamics.force_field import Forces
from simkit.dynamics.settings import Setting, for_systems, setting
from simkit.dynamics.state import MDState
from simkit.dynamics.verlet import Drift, Kick
from simkit.flows import Splitting, symmetric
from simkit.units import BOLTZMANN


@dataclass(frozen=True)
class StochasticRescaling:
    """The exact flow of the kinetic energy K of f degrees of freedom towards its canonical distribution.

    ``dK = (K̄ - K) dt/τ + 2 √(K K̄ / f τ) dW`` with ``K̄ = f k_B T / 2`` has the solution, with ``c = e^{-dt/τ}``, normal
    deviates R_i and ``k = (1 - c) K̄ / f``,

    ``K -> c K + k Σ_{i=1}^{f} R_i² + 2 R_1 √(c k K)``; momenta scale by ``√(K'/K)`` with the sign of
    ``R_1 + √(c K/k)``.

    What the kinetic energy gains is added to the heat. Systems at rest stay so: no factor could heat them.

    Attributes:
        temperature: in K, one for all systems or one for each.
        time_constant: τ in fs, likewise.
        generator: of the random numbers, on the device of the systems.
        drift: leave the motion of the centre of mass as it is. Otherwise it is stopped, in systems of several atoms of
            which none is fixed: rounding errors would grow into a drift, as nothing takes energy from it.
    """

    temperature: Tensor
    time_constant: Tensor
    generator: torch.Generator | None = None
    drift: bool = False

    def __call__(self, state: MDState, dt: Float[Tensor, " systems"]) -> MDState:
        """Advance momenta by ``dt`` (fs)."""
        before = state.kinetic_energy()
        moving = state if self.drift else state.without_drift(state.free() & (dt != 0))
        kinetic = before if self.drift else moving.kinetic_energy()
        decay = -dt / for_systems(self.time_constant, state.system, "time constant in fs")
        unit = -torch.expm1(decay) * BOLTZMANN * for_systems(self.temperature, state.system, "temperature in K") / 2
        kept = decay.exp() * kinetic
        first, squares = self._noise(state)
        after = kept + unit * squares + 2 * first * (kept * unit).sqrt()
        factor = (after.clamp(min=0) / kinetic).sqrt() * torch.where(first * unit.sqrt() + kept.sqrt() < 0, -1, 1)
        factor = torch.where((dt == 0) | (kinetic == 0), 1, factor)
        momenta = state.over_atoms(factor) * moving.momenta
        return replace(state, momenta=momenta, heat=state.heat + factor.square() * kinetic - before)

    def _noise(self, state: MDState) -> tuple[Float[Tensor, " systems"], Float[Tensor, " systems"]]:
        """One normal deviate for each degree of freedom of a system: the first, and the sum of the squares of all."""
        momenta, system = state.momenta, state.system
        noise = torch.randn(momenta.shape, generator=self.generator, dtype=torch.float64, device=momenta.device)
        first = 3 * (system.counts.cumsum(0) - system.counts)
        place = torch.arange(noise.numel(), device=noise.device).view(noise.shape) - first[system.batch, None]
        counted = place < state.degrees_of_freedom[system.batch, None]
        squares = state.sum_over_atoms(torch.where(counted, noise, 0).square().sum(1))
        return noise.flatten()[first.clamp(max=noise.numel() - 1)], squares


def bussi(
    force_field: Forces,
    temperature: Setting,
    time_constant: Setting,
    generator: torch.Generator | None = None,
    *,
    drift: bool = False,
) -> Splitting:
    """Canonical dynamics by stochastic velocity rescaling: Kick(dt/2) Drift(dt/2) Rescaling(dt) Drift(dt/2) Kick(dt/2).

    It leaves directions of motion alone, so diffusion and spectra are hardly disturbed, and relaxes the kinetic energy
    within τ whatever the number of atoms. One evaluation of the forces per step.

    Args:
        force_field: of the systems.
        temperature: in K, one for all systems or one for each.
        time_constant: τ in fs, likewise; 100 is common.
        generator: of the random numbers, on the device of the systems; PyTorch's own by default.
        drift: keep the motion of the centre of mass; give the same to :func:`~simkit.dynamics.start`.

    Raises:
        SimkitError: a negative temperature or a time constant that is not positive.

    Reference: G. Bussi, D. Donadio, M. Parrinello, J. Chem. Phys. 126, 014101 (2007), eq. (A7) and (A8),
    doi:10.1063/1.2408420.
    """
    bath = StochasticRescaling(
        setting(temperature, "temperature in K", at_least=0),
        setting(time_constant, "time constant in fs", above=0),
        generator,
        drift,
    )
    return symmetric(Kick(force_field), Drift(), bath)
