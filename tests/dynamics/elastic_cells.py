"""Atoms without interactions in an elastic cell: the distribution of volumes and shapes is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from ase import Atoms
from jaxtyping import Float
from scipy.integrate import cumulative_trapezoid
from torch import Tensor

from simkit.dynamics import MDState, start
from simkit.system import System
from simkit.units import BOLTZMANN


@dataclass(frozen=True)
class ElasticCell:
    """``E = V₀ [B/2 ln²(V/V₀) + μ |ε|²]``, ε the logarithmic strain at constant volume; no energy if B and μ are zero.

    Attributes:
        reference: cell of zero energy in Å.
        bulk_modulus: B in eV/Å³.
        shear_modulus: μ in eV/Å³.
    """

    reference: Float[Tensor, "3 3"]
    bulk_modulus: float = 0.0
    shear_modulus: float = 0.0

    @property
    def volume(self) -> float:
        return float(torch.linalg.det(self.reference).abs())

    def strain(self, cell: Float[Tensor, "systems 3 3"]) -> tuple[Tensor, Tensor]:
        """``ln(V/V₀)``, and ε in the laboratory frame."""
        deformation = torch.linalg.inv(self.reference) @ cell
        squares, axes = torch.linalg.eigh(deformation.mT @ deformation)
        logarithms = 0.5 * squares.log()
        growth = logarithms.sum(1)
        shape = logarithms - growth[:, None] / 3
        return growth, axes @ torch.diag_embed(shape) @ axes.mT

    def __call__(self, state: MDState) -> MDState:
        growth, shape = self.strain(state.system.cell)
        energy = 0.5 * self.bulk_modulus * growth.square() + self.shear_modulus * shape.square().sum((1, 2))
        stress = self.bulk_modulus * growth[:, None, None] * torch.eye(3).double() + 2 * self.shear_modulus * shape
        forces = torch.zeros_like(state.momenta)
        return replace(state, energy=self.volume * energy, forces=forces, virial=-self.volume * stress)

    def volumes(self, atoms: int, temperature: float, pressure: float, drift: bool) -> tuple[np.ndarray, np.ndarray]:
        """Volumes, and the probability that a volume is smaller: its density is ``V^N e^{-(E + P V)/k_B T}``.

        With the centre of mass at rest the exponent is N - 1.
        """
        energy = BOLTZMANN * temperature
        grid = np.linspace(1e-3, 3 * max(self.volume, (atoms + 10) * energy / max(pressure, 1e-9)), 20_001)
        logarithm = (atoms if drift else atoms - 1) * np.log(grid) - pressure * grid / energy
        logarithm -= self.volume * 0.5 * self.bulk_modulus * np.log(grid / self.volume) ** 2 / energy
        density = np.exp(logarithm - logarithm.max())
        cumulative = cumulative_trapezoid(density, grid, initial=0)
        return grid, cumulative / cumulative[-1]


def gas(cell: Float[Tensor, "3 3"], systems: int, atoms: int, seed: int = 0) -> System:
    """Argon atoms at random places, the same cell for each system."""
    rng = np.random.default_rng(seed)
    frames = [
        Atoms(numbers=[18] * atoms, scaled_positions=rng.random((atoms, 3)), cell=cell.numpy(), pbc=True)
        for _ in range(systems)
    ]
    return System.from_ase(frames)


def sample(
    box: ElasticCell,
    systems: int,
    atoms: int,
    temperature: float,
    pressure: float,
    *,
    drift: bool = False,
    shape: bool = False,
    seed: int = 1,
) -> tuple[MDState, np.ndarray, Callable[[np.ndarray], np.ndarray]]:
    """Exact samples of the isothermal-isobaric ensemble, their volumes and the cumulative distribution of these.

    Strains ε are Gaussian (5 of them), which is exact for small ones.
    """
    rng = np.random.default_rng(seed)
    grid, cumulative = box.volumes(atoms, temperature, pressure, drift)
    volumes = np.interp(rng.random(systems), cumulative, grid)
    matrices = (torch.as_tensor(volumes) / box.volume)[:, None, None] ** (1 / 3) * torch.eye(3).double()
    if shape:
        noise = torch.as_tensor(rng.normal(size=(systems, 3, 3)))
        noise = 0.5 * (noise + noise.mT)
        noise = noise - noise.diagonal(dim1=1, dim2=2).mean(1)[:, None, None] * torch.eye(3)
        width = (BOLTZMANN * temperature / (2 * box.shear_modulus * box.volume)) ** 0.5
        matrices = torch.linalg.matrix_exp(width * noise) @ matrices
    system = gas(box.reference, systems, atoms, seed)
    positions = (system.positions[:, None, :] @ matrices[system.batch])[:, 0]
    system = replace(system, positions=positions, cell=system.cell @ matrices)
    generator = torch.Generator().manual_seed(seed)
    state = box(start(system, temperature, generator=generator, drift=drift))
    return state, volumes, lambda values: np.interp(values, grid, cumulative)
