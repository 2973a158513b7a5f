"""Stochastic cell rescaling: constant temperature and pressure by a random walk of the cell."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from simkit.dynamics.deformation import deformed, require_bulk, rotation_back, stretched
from simkit.dynamics.force_field import Forces
from simkit.dynamics.pressure import pressure_tensor, trace
from simkit.dynamics.settings import Setting, for_systems, setting
from simkit.dynamics.state import MDState
from simkit.dynamics.verlet import Drift, Kick
from simkit.flows import Flow, Splitting, symmetric
from simkit.units import BOLTZMANN


@dataclass(frozen=True)
class Jump:
    """One random step of cells, as the probability of its reverse needs it.

    Attributes:
        root: change of ``λ = √V`` in Å^{3/2}.
        mobility: of λ, in Å³/fs.
        strain: symmetric traceless matrix, or zero.
        turned: the strain as seen after the cell has been turned back.
        shape_mobility: of the strain, in 1/fs.
    """

    root: Float[Tensor, " systems"]
    mobility: Float[Tensor, " systems"]
    strain: Float[Tensor, "systems 3 3"]
    turned: Float[Tensor, "systems 3 3"]
    shape_mobility: Float[Tensor, " systems"]


class RescalingVerlet:
    """A velocity Verlet step with a random step of the cell in the middle of its drift.

    The square root of the volume, ``λ = √V``, and the strain S of the cell at constant volume, symmetric and traceless,
    follow

    ``dλ = (β_T λ / 2τ) (P - P₀ + k_B T / 2V) dt + √(k_B T β_T / 2τ) dW``,

    ``dS = (β_T / 3τ) P_dev dt + √(2 k_B T β_T / 3 V τ) dW_dev``,

    with the pressure P of :func:`~simkit.dynamics.pressure.pressure_tensor` and its deviator P_dev; isotropic cells
    have no S. Cell and positions are multiplied by ``M = (V'/V)^{1/3} e^S`` from the right, momenta by ``M⁻¹``; then
    all are turned back together, so that the lower triangle of the cell keeps its place in space. The coefficients are
    taken at the beginning of the step, that of ``dW_dev`` halfway between the volumes: one evaluation of the forces per
    step. The heat counts the ratio of the probabilities of the step and of its reverse, so that the total energy less
    the heat is the effective energy, which is constant up to an error that vanishes with dt.

    Args:
        force_field: with the virial.
        temperature: T in K, one for all systems or one for each, like all that follow.
        pressure: P₀ in eV/Å³.
        time_constant: τ in fs.
        compressibility: β_T in Å³/eV; only its ratio to τ matters.
        shape: let the shape change too.
        generator: of the random numbers, on the device of the systems.
    """

    def __init__(
        self,
        force_field: Forces,
        temperature: Setting,
        pressure: Setting,
        *,
        time_constant: Setting,
        compressibility: Setting,
        shape: bool,
        generator: torch.Generator | None = None,
    ) -> None:
        self.force_field = force_field
        self.temperature = setting(temperature, "temperature in K", above=0)
        self.pressure = setting(pressure, "pressure in eV/Å³")
        self.time_constant = setting(time_constant, "time constant in fs", above=0)
        self.compressibility = setting(compressibility, "compressibility in Å³/eV", above=0)
        self.shape = shape
        self.generator = generator
        self._kick, self._drift = Kick(force_field), Drift()

    def __call__(self, state: MDState, dt: Float[Tensor, " systems"]) -> MDState:
        """Advance momenta, positions and cell by ``dt`` (fs)."""
        require_bulk(state)
        before = self.force_field(state)
        moving = self._drift(self._kick(before, dt / 2), dt / 2)
        moving, jump = self._jumped(before, moving, dt)
        after = self._kick(self._drift(moving, dt / 2), dt / 2)
        return replace(after, heat=state.heat - self._work(before, after, jump, dt))

    def _jumped(self, before: MDState, moving: MDState, dt: Tensor) -> tuple[MDState, Jump]:
        energy = BOLTZMANN * for_systems(self.temperature, before.system, "temperature in K")
        rate = for_systems(self.compressibility, before.system, "compressibility in Å³/eV")
        rate = rate / for_systems(self.time_constant, before.system, "time constant in fs")
        mobility = (energy * rate / 4).to(dt.device).expand(before.n_systems)
        root, slope, deviator = self._slopes(before)
        noise = self._noise(before, ())
        step = mobility * slope * dt + (2 * mobility * dt).sqrt() * noise
        factor = (1 + step / root).abs() ** (2 / 3)
        if not self.shape:
            none = torch.zeros_like(deviator)
            return stretched(moving, factor, 1 / factor), Jump(step, mobility, none, none, torch.zeros_like(step))
        shape_mobility = 4 * mobility / (3 * root * (root + step).abs())
        noise = _deviator(self._noise(before, (3, 3)))
        drift = (shape_mobility * dt)[:, None, None] * deviator
        strain = drift + (2 * shape_mobility * dt).sqrt()[:, None, None] * noise
        growth = torch.linalg.matrix_exp(strain)
        cell = before.system.cell.double()
        back = rotation_back(cell, cell @ growth, dt)
        matrix = factor[:, None, None] * growth @ back
        momentum_matrix = torch.linalg.matrix_exp(-strain) @ back / factor[:, None, None]
        jump = Jump(step, mobility, strain, back.mT @ strain @ back, shape_mobility)
        return deformed(moving, matrix, momentum_matrix), jump

    def _slopes(self, state: MDState) -> tuple[Tensor, Tensor, Tensor]:
        """λ, and the derivatives of the logarithm of the probability density with respect to λ and S."""
        volume = state.system.volume().double()
        energy = BOLTZMANN * for_systems(self.temperature, state.system, "temperature in K")
        tensor = pressure_tensor(state).double()
        excess = trace(tensor) / 3 - for_systems(self.pressure, state.system, "pressure in eV/Å³")
        root = volume.sqrt()
        return root, 1 / root + 2 * root * excess / energy, (volume / energy)[:, None, None] * _deviator(tensor)

    def _work(self, before: MDState, after: MDState, jump: Jump, dt: Tensor) -> Float[Tensor, " systems"]:
        """``P₀ ΔV`` and ``k_B T`` times the logarithm of the ratio of the probabilities of the reverse and the step."""
        energy = BOLTZMANN * for_systems(self.temperature, before.system, "temperature in K")
        root, slope, deviator = self._slopes(before)
        new_root, new_slope, new_deviator = self._slopes(after)
        work = for_systems(self.pressure, before.system, "pressure in eV/Å³") * (new_root.square() - root.square())
        along = jump.root * (slope + new_slope) + (jump.strain * deviator + jump.turned * new_deviator).sum((1, 2))
        squares = jump.mobility * (new_slope.square() - slope.square())
        squares = squares + jump.shape_mobility * (new_deviator.square() - deviator.square()).sum((1, 2))
        return work + energy * (along / 2 + dt * squares / 4 - (new_root / root).log())

    def _noise(self, state: MDState, shape: tuple[int, ...]) -> Tensor:
        size, device = (state.n_systems, *shape), state.system.device
        return torch.randn(size, generator=self.generator, dtype=torch.float64, device=device)


def _deviator(matrices: Float[Tensor, "systems 3 3"]) -> Float[Tensor, "systems 3 3"]:
    """The symmetric traceless part."""
    identity = torch.eye(3, dtype=matrices.dtype, device=matrices.device)
    return 0.5 * (matrices + matrices.mT) - (trace(matrices) / 3)[:, None, None] * identity


def cell_rescaling(
    force_field: Forces,
    thermostat: Flow,
    temperature: Setting,
    pressure: Setting,
    *,
    time_constant: Setting,
    compressibility: Setting,
    shape: bool = False,
    generator: torch.Generator | None = None,
) -> Splitting:
    """Constant temperature and pressure: Thermostat(dt/2) RescalingVerlet(dt) Thermostat(dt/2).

    It samples the isothermal-isobaric ensemble, relaxes the volume without oscillations within about τ if β_T is the
    compressibility, and costs one evaluation of forces and virial per step. The density of volumes of N atoms is
    ``V^N e^{-(F(V) + P₀ V) / k_B T}`` with F of the configurations, and ``V^{N-1}`` if the centre of mass is at rest.
    Cells of any shape h have the weight ``V^{-2} dh``.

    Args:
        force_field: with ``virial=True``.
        thermostat: of the same temperature, such as :class:`~simkit.dynamics.bussi.StochasticRescaling` or
            :class:`~simkit.dynamics.langevin.OrnsteinUhlenbeck`.
        temperature: in K, one for all systems or one for each, like all that follow.
        pressure: in eV/Å³.
        time_constant: τ in fs; 1000 is common.
        compressibility: an estimate of the isothermal compressibility β_T in Å³/eV: the inverse of the bulk modulus.
        shape: let lengths and angles of the cell change (anisotropic), not its volume alone (isotropic).
        generator: of the random numbers, on the device of the systems; PyTorch's own by default.

    Raises:
        SimkitError: a setting out of bounds.

    Reference: M. Bernetti, G. Bussi, J. Chem. Phys. 153, 114107 (2020), doi:10.1063/5.0020514; V. Del Tatto,
    P. Raiteri, M. Bernetti, G. Bussi, Appl. Sci. 12, 1139 (2022), doi:10.3390/app12031139.
    """
    step = RescalingVerlet(
        force_field,
        temperature,
        pressure,
        time_constant=time_constant,
        compressibility=compressibility,
        shape=shape,
        generator=generator,
    )
    return symmetric(thermostat, step)
