"""Nosé-Hoover chains: the canonical ensemble by deterministic, reversible equations of motion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from simkit.dynamics.force_field import Forces
from simkit.dynamics.settings import Setting, for_systems, setting
from simkit.dynamics.state import MDState
from simkit.dynamics.verlet import Drift, Kick
from simkit.errors import SimkitError
from simkit.flows import Splitting, symmetric
from simkit.units import BOLTZMANN


def _suzuki_yoshida(outer: Sequence[float]) -> tuple[float, ...]:
    """The symmetric sequence with these outer fractions, and what they leave of the step in its middle."""
    return (*outer, 1 - 2 * sum(outer), *outer[::-1])


SUZUKI_YOSHIDA: dict[int, tuple[float, ...]] = {
    1: _suzuki_yoshida([]),
    3: _suzuki_yoshida([1 / (2 - 2 ** (1 / 3))]),
    5: _suzuki_yoshida([1 / (4 - 4 ** (1 / 3))] * 2),
    7: _suzuki_yoshida([0.784513610477560, 0.235573213359357, -1.17767998417887]),
}
"""Fractions of a step, by their number; composing a reversible method of order 2 of them makes it one of 2, 4, 4, 6.

Reference: M. Suzuki, J. Math. Phys. 32, 400 (1991), doi:10.1063/1.529425; H. Yoshida, Phys. Lett. A 150, 262 (1990),
solution A of order 6, doi:10.1016/0375-9601(90)90092-3.
"""


@dataclass(frozen=True)
class NoseHooverChain:
    """Flow of a chain of thermostats, each controlled by the next, and the first by the kinetic energy K.

    ``dp = -v₁ p dt``, ``dξ_j = v_j dt``, ``Q_j dv_j = (G_j - Q_j v_j v_{j+1}) dt`` with ``G₁ = 2 K - f k_B T``,
    ``G_j = Q_{j-1} v_{j-1}² - k_B T``, ``Q₁ = f k_B T τ²``, ``Q_j = k_B T τ²``. It keeps K plus the energy of the
    chain, :meth:`energy`, up to an error of the fourth order of dt; what the kinetic energy gains is added to the heat.

    Attributes:
        temperature: in K, one for all systems or one for each.
        time_constant: τ in fs, likewise.
        links: number of thermostats in the chain.
        factorisation: number of Suzuki-Yoshida fractions that a step is composed of: 1, 3, 5 or 7.
        repetitions: number of equal parts that a step is cut into before.
    """

    temperature: Tensor
    time_constant: Tensor
    links: int = 3
    factorisation: int = 3
    repetitions: int = 1

    def __call__(self, state: MDState, dt: Float[Tensor, " systems"]) -> MDState:
        """Advance momenta and chain by ``dt`` (fs)."""
        before = kinetic = state.kinetic_energy().double()
        energies, masses = self._scales(state)
        positions, velocities = self._chain(state).unbind(2)
        factor = torch.ones_like(kinetic)
        for fraction in SUZUKI_YOSHIDA[self.factorisation] * self.repetitions:
            step = fraction / self.repetitions * dt
            links = list(velocities.unbind(1))
            for link in reversed(range(self.links)):
                self._accelerate(links, link, kinetic, energies, masses, step)
            scale = torch.exp(-step * links[0])
            factor, kinetic = factor * scale, kinetic * scale.square()
            positions = positions + step[:, None] * torch.stack(links, 1)
            for link in range(self.links):
                self._accelerate(links, link, kinetic, energies, masses, step)
            velocities = torch.stack(links, 1)
        momenta = state.over_atoms(factor) * state.momenta
        chain = torch.stack([positions, velocities], dim=2)
        return replace(state, momenta=momenta, chain=chain, heat=state.heat + kinetic - before)

    def energy(self, state: MDState) -> Float[Tensor, " systems"]:
        """Energy of the chain, ``½ Σ Q_j v_j² + f k_B T ξ₁ + k_B T Σ_{j>1} ξ_j``, in eV."""
        energies, masses = self._scales(state)
        positions, velocities = self._chain(state).unbind(2)
        return (0.5 * masses * velocities.square() + energies * positions).sum(1)

    def _accelerate(
        self, links: list[Tensor], link: int, kinetic: Tensor, energies: Tensor, masses: Tensor, step: Tensor
    ) -> None:
        """Half a step of the velocity of one link, within two quarters of its friction by the next link."""
        drive = 2 * kinetic if link == 0 else masses[:, link - 1] * links[link - 1].square()
        kick = 0.5 * step * (drive - energies[:, link]) / masses[:, link]
        if link + 1 < self.links:
            friction = torch.exp(-0.25 * step * links[link + 1])
            links[link] = (links[link] * friction + kick) * friction
        else:
            links[link] = links[link] + kick

    def _scales(self, state: MDState) -> tuple[Float[Tensor, "systems links"], Float[Tensor, "systems links"]]:
        """Twice the mean kinetic energy that each link controls, in eV, and the masses Q in eV fs²."""
        each = torch.ones(state.n_systems, dtype=torch.float64, device=state.system.device)
        unit = BOLTZMANN * for_systems(self.temperature, state.system, "temperature in K") * each
        first = state.degrees_of_freedom.clamp(min=1) * unit
        energies = torch.stack([first, *[unit] * (self.links - 1)], dim=1)
        time_constant = for_systems(self.time_constant, state.system, "time constant in fs") * each
        return energies, energies * time_constant[:, None].square()

    def _chain(self, state: MDState) -> Float[Tensor, "systems links 2"]:
        """The chain of the state, at rest in the beginning."""
        if state.chain is None:
            return torch.zeros(state.n_systems, self.links, 2, dtype=torch.float64, device=state.system.device)
        if state.chain.shape[1] != self.links:
            raise SimkitError(f"expected a state with a chain of {self.links} links, found {state.chain.shape[1]}")
        return state.chain


def nose_hoover(
    force_field: Forces,
    temperature: Setting,
    time_constant: Setting,
    *,
    links: int = 3,
    factorisation: int = 3,
    repetitions: int = 1,
) -> Splitting:
    """Canonical dynamics by a Nosé-Hoover chain: Kick(dt/2) Drift(dt/2) Chain(dt) Drift(dt/2) Kick(dt/2).

    Deterministic, reversible and of second order; the kinetic and potential energy and the energy of the chain add up
    to a constant. It relaxes temperatures in oscillations of period about 2πτ/√2; to heat or cool a system, a
    stochastic thermostat is better. One evaluation of the forces per step.

    Args:
        force_field: of the systems.
        temperature: in K, one for all systems or one for each.
        time_constant: τ in fs, likewise; 100 is common, and no less than 20 time steps.
        links: number of thermostats in the chain; one alone does not sample small or stiff systems well.
        factorisation: number of Suzuki-Yoshida fractions of a step of the chain: 1, 3, 5 or 7.
        repetitions: parts that a step of the chain is cut into before.

    Raises:
        SimkitError: a setting out of bounds.

    Reference: G. J. Martyna, M. E. Tuckerman, D. J. Tobias, M. L. Klein, Mol. Phys. 87, 1117 (1996),
    doi:10.1080/00268979600100761; G. J. Martyna, M. L. Klein, M. E. Tuckerman, J. Chem. Phys. 97, 2635 (1992),
    doi:10.1063/1.463940.
    """
    if factorisation not in SUZUKI_YOSHIDA:
        raise SimkitError(f"expected a factorisation into 1, 3, 5 or 7 fractions, found {factorisation}")
    if links < 1 or repetitions < 1:
        raise SimkitError(f"expected at least one link and one repetition, found {links} and {repetitions}")
    chain = NoseHooverChain(
        setting(temperature, "temperature in K", above=0),
        setting(time_constant, "time constant in fs", above=0),
        links,
        factorisation,
        repetitions,
    )
    return symmetric(Kick(force_field), Drift(), chain)
