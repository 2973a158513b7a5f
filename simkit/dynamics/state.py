"""The state of molecular dynamics: atoms, momenta and what is known about them."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from ase.data import atomic_masses
from jaxtyping import Bool, Float, Int
from torch import Tensor

from simkit.dynamics.settings import Setting, for_systems, setting
from simkit.errors import SimkitError
from simkit.system import PER_ATOM, System, replaced_rows
from simkit.units import BOLTZMANN, DALTON

ATOMWISE = ("momenta", "masses", "forces", "slow_forces")
"""Fields of :class:`MDState` with a row for each atom; the others have one for each system."""

COMPUTED = ("energy", "forces", "virial", "slow_forces", "slow_virial")
"""Fields that follow from the positions."""


@dataclass(frozen=True)
class MDState:
    """A batch of systems in motion. Units are Å, eV and fs, so no equation needs a conversion.

    Energy, forces and virial are those of the present positions, or None where nobody has needed them yet.

    Attributes:
        system: the atoms.
        momenta: in eV fs/Å.
        masses: in eV fs²/Å².
        removed: momentum components of each system that are conserved or constrained, and carry no temperature:
            3 without drift, 3 for each fixed atom, 1 for each bond.
        time: in fs.
        heat: energy in eV that thermostats and barostats have given to each system since the start: the total energy
            less the heat is conserved.
        energy: potential energy in eV.
        forces: in eV/Å; of fixed atoms too.
        virial: ``-∂E/∂ε`` in eV.
        slow_forces: share of the slow potential in the forces, with multiple time steps.
        slow_virial: its share in the virial.
        chain: positions and velocities (1/fs) of Nosé-Hoover chains.
        cell_velocity: velocity of the logarithm of the cell, in 1/fs.
        cell_chain: positions and velocities (1/fs) of the Nosé-Hoover chains of the cell.
    """

    system: System
    momenta: Float[Tensor, "atoms 3"]
    masses: Float[Tensor, " atoms"]
    removed: Int[Tensor, " systems"]
    time: Float[Tensor, " systems"]
    heat: Float[Tensor, " systems"]
    energy: Float[Tensor, " systems"] | None = None
    forces: Float[Tensor, "atoms 3"] | None = None
    virial: Float[Tensor, "systems 3 3"] | None = None
    slow_forces: Float[Tensor, "atoms 3"] | None = None
    slow_virial: Float[Tensor, "systems 3 3"] | None = None
    chain: Float[Tensor, "systems links 2"] | None = None
    cell_velocity: Float[Tensor, "systems 3 3"] | None = None
    cell_chain: Float[Tensor, "systems links 2"] | None = None

    @property
    def n_systems(self) -> int:
        """Number of systems."""
        return self.system.n_systems

    @property
    def degrees_of_freedom(self) -> Int[Tensor, " systems"]:
        """Momentum components that carry temperature: three for each atom, less the removed ones."""
        return 3 * self.system.counts - self.removed

    def kinetic_energy(self) -> Float[Tensor, " systems"]:
        """``K = Σ p² / 2m`` of each system, in eV."""
        return self.sum_over_atoms(self.momenta.square().sum(1) / (2 * self.masses))

    def temperature(self) -> Float[Tensor, " systems"]:
        """``T = 2 K / (f k_B)`` in K, with f the degrees of freedom; zero where there are none."""
        return 2 * self.kinetic_energy() / BOLTZMANN / self.degrees_of_freedom.clamp(min=1)

    def over_atoms(self, values: Float[Tensor, " systems"]) -> Float[Tensor, "#atoms 1"]:
        """One value for each system as a column that multiplies rows of atoms, in the type of the momenta."""
        values = values.to(self.momenta.dtype)[:, None]
        return values if self.n_systems == 1 else values[self.system.batch]

    def sum_over_atoms(self, values: Tensor) -> Tensor:
        """Sum of values of atoms over the atoms of each system."""
        if self.n_systems == 1:
            return values.sum(0, keepdim=True)
        return values.new_zeros(self.n_systems, *values.shape[1:]).index_add(0, self.system.batch, values)

    def free(self) -> Bool[Tensor, " systems"]:
        """Whether a system has several atoms, none of them fixed, so that its centre of mass can be kept at rest."""
        free = self.system.counts > 1
        if self.system.fixed is not None:
            free = free & (self.sum_over_atoms(self.system.fixed.long()) == 0)
        return free

    def without_drift(self, stopped: Bool[Tensor, " systems"]) -> MDState:
        """The state with the centres of mass of the ``stopped`` systems at rest, ``p_i -> p_i - (m_i/M) Σ_j p_j``."""
        velocity = self.sum_over_atoms(self.momenta) / self.sum_over_atoms(self.masses).clamp(min=1e-30)[:, None]
        velocity = torch.where(stopped[:, None], velocity, 0)
        if self.n_systems > 1:
            velocity = velocity[self.system.batch]
        return replace(self, momenta=self.momenta - self.masses[:, None] * velocity)

    def moved(self, positions: Float[Tensor, "atoms 3"], cell: Float[Tensor, "systems 3 3"] | None = None) -> MDState:
        """The state at other positions, and another cell, in Å; energy, forces and virial are to be computed anew."""
        system = replace(self.system, positions=positions, cell=self.system.cell if cell is None else cell)
        return replace(self, system=system, energy=None, forces=None, virial=None, slow_forces=None, slow_virial=None)

    def finite(self) -> Bool[Tensor, " systems"]:
        """Whether positions, momenta, forces and energy of each system are finite numbers."""
        per_atom = self.system.positions.sum(1) + self.momenta.sum(1)
        if self.forces is not None:
            per_atom = per_atom + self.forces.sum(1)
        total = self.sum_over_atoms(per_atom) + self.system.cell.sum((1, 2))
        return torch.isfinite(total if self.energy is None else total + self.energy)

    def merged(self, other: MDState, taken: Bool[Tensor, " systems"]) -> MDState:
        """The systems of this state, with those that are ``taken`` from another state of them.

        What only one of the states knows is None if it can be computed anew, else zero for the other's systems.
        """
        atoms = taken[self.system.batch]

        def choose(name: str, mine: Tensor | None, theirs: Tensor | None) -> Tensor | None:
            known = mine if theirs is None else theirs
            if known is None or (name in COMPUTED and (mine is None or theirs is None)):
                return None
            mask = atoms if name in ATOMWISE or name in PER_ATOM else taken
            zero = torch.zeros_like(known)
            return replaced_rows(zero if mine is None else mine, zero if theirs is None else theirs, mask)

        system = {
            field.name: choose(field.name, getattr(self.system, field.name), getattr(other.system, field.name))
            for field in fields(System)
        }
        values: dict[str, Any] = {
            field.name: choose(field.name, getattr(self, field.name), getattr(other, field.name))
            for field in fields(self)
            if field.name != "system"
        }
        return MDState(system=System(**system), **values)  # type: ignore[arg-type]


def start(
    system: System,
    temperature: Setting = 0.0,
    *,
    generator: torch.Generator | None = None,
    masses: Float[Tensor, " atoms"] | None = None,
    drift: bool = False,
) -> MDState:
    """A state at time zero with momenta drawn from the Maxwell-Boltzmann distribution ``exp(-p²/2m k_B T)``.

    Args:
        system: positions in float64 conserve energy best, whatever the potential computes in.
        temperature: in K, one for all systems or one for each; from the positions of a minimum, half of it will go
            into potential energy.
        generator: of the random numbers, on the device of the system.
        masses: in u; the standard atomic weights by default.
        drift: keep the momentum of the centre of mass, as suits thermostats that act on it (Langevin). Otherwise it is
            zero and its three components carry no temperature. Systems with fixed atoms always keep it.

    Raises:
        SimkitError: a negative temperature or a mass that is not positive.
    """
    if masses is None:
        masses = system.positions.new_tensor(atomic_masses)[system.numbers]
    if not bool((masses > 0).all()):
        raise SimkitError(f"expected positive masses in u, found {float(masses.min()):g}")
    masses = masses.to(system.positions) * DALTON
    kelvin = for_systems(setting(temperature, "temperature in K", at_least=0), system, "temperature in K")
    wanted = kelvin.to(system.positions).expand(system.n_systems)
    widths = (masses * BOLTZMANN * wanted[system.batch]).sqrt()
    noise = torch.randn(system.positions.shape, generator=generator, dtype=system.dtype, device=system.device)
    momenta = widths[:, None] * noise
    zeros = torch.zeros(system.n_systems, dtype=torch.float64, device=system.device)
    state = MDState(system, momenta, masses, removed=zeros.long(), time=zeros, heat=zeros)
    if system.fixed is not None:
        held = state.sum_over_atoms(system.fixed.long())
        state = replace(state, momenta=momenta.masked_fill(system.fixed[:, None], 0), removed=3 * held)
    if drift:
        return state
    free = state.free()
    return replace(state.without_drift(free), removed=state.removed + 3 * free.long())


torch.utils._pytree.register_dataclass(MDState)
