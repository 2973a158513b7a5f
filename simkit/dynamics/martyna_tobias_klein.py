"""Martyna-Tobias-Klein dynamics: constant temperature and pressure by deterministic equations of motion."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from simkit.dynamics.deformation import deformed, require_bulk, rotation_back, stretched
from simkit.dynamics.force_field import Forces
from simkit.dynamics.nose_hoover import NoseHooverChain
from simkit.dynamics.pressure import kinetic_tensor, known_virial, trace
from simkit.dynamics.settings import Setting, for_systems, setting
from simkit.dynamics.state import MDState
from simkit.dynamics.verlet import Drift, Kick
from simkit.errors import SimkitError
from simkit.flows import Splitting, symmetric
from simkit.system import System
from simkit.units import BOLTZMANN


@dataclass(frozen=True)
class Piston:
    """The inertia of the cell: kinetic energy ``W/6 tr(v²)`` with ``W = (f + 3) k_B T τ²``, v the cell's velocity.

    v is symmetric: six degrees of freedom, or one if it is a multiple of the unit matrix.

    Attributes:
        temperature: T in K, one for all systems or one for each.
        time_constant: τ in fs, likewise.
        shape: all six degrees of freedom.
        generator: of the velocities in the beginning.
    """

    temperature: Tensor
    time_constant: Tensor
    shape: bool
    generator: torch.Generator | None = None

    def mass(self, state: MDState) -> Float[Tensor, " systems"]:
        """``W / 3`` in eV fs²."""
        energy = BOLTZMANN * for_systems(self.temperature, state.system, "temperature in K")
        time_constant = for_systems(self.time_constant, state.system, "time constant")
        return (state.degrees_of_freedom + 3) / 3 * energy * time_constant**2

    def started(self, state: MDState) -> MDState:
        """The state with a velocity of the cell: in the beginning one of the Maxwell-Boltzmann distribution.

        At rest, a chain would heat the one mode that a symmetric crystal excites, its volume, in place of all six.
        """
        if state.cell_velocity is not None:
            return state
        size, device = (state.n_systems, 3, 3), state.system.device
        noise = torch.randn(size, generator=self.generator, dtype=torch.float64, device=device)
        noise = self.allowed(noise if self.shape else torch.diag_embed(noise[:, 0]))
        energy = BOLTZMANN * for_systems(self.temperature, state.system, "temperature in K")
        return replace(state, cell_velocity=(energy / self.mass(state)).sqrt()[:, None, None] * noise)

    def velocity(self, state: MDState) -> Float[Tensor, "systems 3 3"]:
        """The velocity v of the state in 1/fs, zero if it has none yet."""
        if state.cell_velocity is not None:
            return state.cell_velocity
        return torch.zeros(state.n_systems, 3, 3, dtype=torch.float64, device=state.system.device)

    def kinetic_energy(self, state: MDState) -> Float[Tensor, " systems"]:
        """``W/6 tr(v²)`` in eV."""
        return 0.5 * self.mass(state) * self.velocity(state).square().sum((1, 2))

    def allowed(self, matrices: Float[Tensor, "systems 3 3"]) -> Float[Tensor, "systems 3 3"]:
        """The part of matrices that is symmetric, or a multiple of the unit matrix."""
        if self.shape:
            return 0.5 * (matrices + matrices.mT)
        return (trace(matrices) / 3)[:, None, None] * torch.eye(3, dtype=matrices.dtype, device=matrices.device)


@dataclass(frozen=True)
class CellKick:
    """Flow of the cell's velocity: ``W/3 dv = [V (P - P₀) + 2 K / f] dt``, with the matrices that the piston allows.

    Attributes:
        force_field: with the virial.
        piston: the inertia.
        pressure: P₀ in eV/Å³.
    """

    force_field: Forces
    piston: Piston
    pressure: Tensor

    def __call__(self, state: MDState, dt: Float[Tensor, " systems"]) -> MDState:
        """Advance the velocity of the cell by ``dt`` (fs)."""
        require_bulk(state)
        state = self.force_field(self.piston.started(state))
        kinetic = kinetic_tensor(state)
        outside = for_systems(self.pressure, state.system, "pressure in eV/Å³") * state.system.volume()
        diagonal = trace(kinetic) / state.degrees_of_freedom.clamp(min=1) - outside
        identity = torch.eye(3, dtype=torch.float64, device=kinetic.device)
        drive = (kinetic + known_virial(state)).double() + diagonal[:, None, None] * identity
        change = (dt / self.piston.mass(state))[:, None, None] * self.piston.allowed(drive)
        after = replace(state, cell_velocity=self.piston.velocity(state) + change)
        gained = self.piston.kinetic_energy(after) - self.piston.kinetic_energy(state)
        return replace(after, heat=state.heat - gained)


@dataclass(frozen=True)
class Dilation:
    """Flow of a moving cell: ``dh = h v dt``, ``dx = x v dt``, ``dp = -p (v + tr(v)/f) dt``, solved exactly.

    The cell is turned back, with all in it, so that its lower triangle keeps its place in space. The heat is charged
    with the work ``P₀ dV``.

    Attributes:
        piston: the inertia of the cell.
        pressure: P₀ in eV/Å³.
    """

    piston: Piston
    pressure: Tensor

    def __call__(self, state: MDState, dt: Float[Tensor, " systems"]) -> MDState:
        """Advance cell, positions and momenta by ``dt`` (fs)."""
        state = self.piston.started(state)
        velocity = self.piston.velocity(state)
        friction = torch.exp(-dt * trace(velocity) / state.degrees_of_freedom.clamp(min=1))
        if self.piston.shape:
            after = self._turning(state, velocity, friction, dt)
        else:
            growth = torch.exp(dt * velocity[:, 0, 0])
            after = stretched(state, growth, friction / growth)
        grown = after.system.volume() - state.system.volume()
        work = for_systems(self.pressure, state.system, "pressure in eV/Å³") * grown
        return replace(after, heat=state.heat - work)

    def _turning(self, state: MDState, velocity: Tensor, friction: Tensor, dt: Tensor) -> MDState:
        step = dt[:, None, None] * velocity
        growth = torch.linalg.matrix_exp(step)
        cell = state.system.cell.double()
        back = rotation_back(cell, cell @ growth, dt)
        shrinking = friction[:, None, None] * torch.linalg.matrix_exp(-step)
        after = deformed(state, growth @ back, shrinking @ back)
        turned = torch.where((dt == 0)[:, None, None], velocity, self.piston.allowed(back.mT @ velocity @ back))
        return replace(after, cell_velocity=turned)


@dataclass(frozen=True)
class CellChain:
    """Flow of the Nosé-Hoover chain of the cell.

    Attributes:
        piston: the inertia of the cell.
        chain: the thermostat.
    """

    piston: Piston
    chain: NoseHooverChain

    def __call__(self, state: MDState, dt: Float[Tensor, " systems"]) -> MDState:
        """Advance the velocity of the cell and its chain by ``dt`` (fs); their energies are counted elsewhere."""
        state = self.piston.started(state)
        cell = self.as_particles(state)
        after = self.chain(cell, dt)
        velocity = after.momenta.view(-1, 3, 3) / self.piston.mass(state)[:, None, None]
        return replace(state, cell_velocity=velocity, cell_chain=after.chain)

    def energy(self, state: MDState) -> Float[Tensor, " systems"]:
        """Energy of the chain in eV."""
        return self.chain.energy(self.as_particles(state))

    def as_particles(self, state: MDState) -> MDState:
        """Each cell as three particles of mass ``W/3``, whose velocities are the rows of v, for the chain to act on."""
        velocity, mass = self.piston.velocity(state), self.piston.mass(state)
        rows = velocity.reshape(-1, 3)
        batch = torch.arange(state.n_systems, device=rows.device).repeat_interleave(3)
        numbers = torch.ones_like(batch)
        system = System(torch.zeros_like(rows), numbers, torch.zeros_like(velocity), state.system.pbc, batch)
        masses = mass[batch]
        removed = torch.full_like(state.removed, 3 if self.piston.shape else 8)
        momenta = masses[:, None] * rows
        return MDState(system, momenta, masses, removed, state.time, state.heat, chain=state.cell_chain)


def martyna_tobias_klein(
    force_field: Forces,
    temperature: Setting,
    pressure: Setting,
    *,
    time_constant: Setting,
    cell_time_constant: Setting,
    shape: bool = False,
    links: int = 3,
    generator: torch.Generator | None = None,
) -> Splitting:
    """Constant temperature and pressure by a massive cell and two Nosé-Hoover chains: reversible, of second order.

    CellChain(dt/2) Chain(dt/2) CellKick(dt/2) Kick(dt/2) Dilation(dt/2) Drift(dt) and the same backwards, each solved
    exactly or, the chains, to the fourth order: the measure of the ensemble is preserved. The total energy and
    ``P₀ V``, the kinetic energy of the cell and the energies of both chains add up to a constant; the total energy less
    the heat is constant too. One evaluation of forces and virial per step. The ensemble is that of
    :func:`~simkit.dynamics.cell_rescaling.cell_rescaling`, but the relaxation oscillates, and in small cold crystals
    the modes of the cell exchange energy slowly: equilibrate with cell rescaling first.

    Args:
        force_field: with ``virial=True``.
        temperature: in K, one for all systems or one for each, like all that follow.
        pressure: in eV/Å³.
        time_constant: τ of the chain of the atoms in fs; 100 is common.
        cell_time_constant: τ of the cell and its chain in fs; 1000 is common.
        shape: let lengths and angles of the cell change (fully flexible), not its volume alone (isotropic).
        links: number of thermostats in each chain.
        generator: of the velocities of cells in the beginning, on the device of the systems; PyTorch's own by default.

    Raises:
        SimkitError: a setting out of bounds.

    Reference: G. J. Martyna, D. J. Tobias, M. L. Klein, J. Chem. Phys. 101, 4177 (1994), doi:10.1063/1.467468;
    M. E. Tuckerman, J. Alejandre, R. López-Rendón, A. L. Jochim, G. J. Martyna, J. Phys. A 39, 5629 (2006),
    doi:10.1088/0305-4470/39/19/S18.
    """
    if links < 1:
        raise SimkitError(f"expected chains of at least one link, found {links}")
    kelvin = setting(temperature, "temperature in K", above=0)
    outside = setting(pressure, "pressure in eV/Å³")
    atoms_time = setting(time_constant, "time constant in fs", above=0)
    cell_time = setting(cell_time_constant, "time constant of the cell in fs", above=0)
    piston = Piston(kelvin, cell_time, shape, generator)
    return symmetric(
        CellChain(piston, NoseHooverChain(kelvin, cell_time, links)),
        NoseHooverChain(kelvin, atoms_time, links),
        CellKick(force_field, piston, outside),
        Kick(force_field),
        Dilation(piston, outside),
        Drift(),
    )
