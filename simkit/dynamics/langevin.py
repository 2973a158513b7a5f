"""Langevin dynamics: friction and noise on every atom."""

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
class OrnsteinUhlenbeck:
    """The exact flow of ``dp = -γ p dt + √(2 γ m k_B T) dW``: ``p -> c p + √((1 - c²) m k_B T) ξ``, ``c = e^{-γ dt}``.

    Fixed atoms stay at rest. What the kinetic energy gains is added to the heat.

    Attributes:
        temperature: in K, one for all systems or one for each.
        friction: γ in 1/fs, likewise.
        generator: of the random numbers ξ, on the device of the systems.
        drift: let friction and noise act on the centre of mass too. Otherwise both are projected on the motion
            relative to it, exactly, in systems of several atoms of which none is fixed.
    """

    temperature: Tensor
    friction: Tensor
    generator: torch.Generator | None = None
    drift: bool = False

    def __call__(self, state: MDState, dt: Float[Tensor, " systems"]) -> MDState:
        """Advance momenta by ``dt`` (fs)."""
        temperature = for_systems(self.temperature, state.system, "temperature in K")
        exponent = -for_systems(self.friction, state.system, "friction in 1/fs") * dt
        width = (-torch.expm1(2 * exponent) * BOLTZMANN * temperature).sqrt()
        momenta = state.momenta
        noise = torch.randn(momenta.shape, generator=self.generator, dtype=momenta.dtype, device=momenta.device)
        noise = state.over_atoms(width) * state.masses.sqrt()[:, None] * noise
        if state.system.fixed is not None:
            noise = noise.masked_fill(state.system.fixed[:, None], 0)
        after = replace(state, momenta=state.over_atoms(exponent.exp()) * momenta + noise)
        if not self.drift:
            after = after.without_drift(state.free() & (dt != 0))
        return replace(after, heat=state.heat + after.kinetic_energy() - state.kinetic_energy())


def langevin(
    force_field: Forces,
    temperature: Setting,
    friction: Setting,
    generator: torch.Generator | None = None,
    *,
    drift: bool = False,
) -> Splitting:
    """Langevin dynamics by BAOAB: Kick(dt/2) Drift(dt/2) OrnsteinUhlenbeck(dt) Drift(dt/2) Kick(dt/2).

    Of all orders of these flows, this one samples positions best: their distribution is exact for harmonic forces at
    any stable step, and in general its error falls with ``dt⁴`` at high friction. It costs one evaluation of the forces
    per step, and the state after a step has the energy and forces of its own positions. Momenta of a harmonic mode of
    frequency ω come out colder by ``(ω dt)²/4``, so a thermometer shows slightly less than the temperature.

    Args:
        force_field: of the systems.
        temperature: in K, one for all systems or one for each; zero is allowed and leaves friction alone.
        friction: in 1/fs, likewise; 0.01 is common in liquids, less disturbs the dynamics less.
        generator: of the random numbers, on the device of the systems; PyTorch's own by default.
        drift: let friction and noise act on the centre of mass too; give the same to :func:`~simkit.dynamics.start`.

    Raises:
        SimkitError: a negative temperature or friction.

    Reference: B. Leimkuhler, C. Matthews, J. Chem. Phys. 138, 174102 (2013), doi:10.1063/1.4802990.
    """
    bath = OrnsteinUhlenbeck(
        setting(temperature, "temperature in K", at_least=0),
        setting(friction, "friction in 1/fs", at_least=0),
        generator,
        drift,
    )
    return symmetric(Kick(force_field), Drift(), bath)
