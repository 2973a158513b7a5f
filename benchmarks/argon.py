"""Liquid Lennard-Jones argon beside the tables of NIST.

Usage::

    python -P benchmarks/argon.py [--production 100] [--device cpu]

Molecular dynamics of three states of 500 atoms in one batch, at constant temperature by stochastic velocity rescaling,
in the convention of the tables: pairs within 3 σ, and long-range corrections for a uniform liquid beyond. Printed are,
in reduced units, potential energy and pressure at each state, and from them the heat capacity (difference between two
temperatures) and the isothermal compressibility (between two densities), and the diffusion coefficient at the first
state; each with its standard error from block averages, and the deviation in units of the joint standard error.

Tables: NIST Standard Reference Simulation Website, Lennard-Jones fluid properties, Monte Carlo in the canonical
ensemble (mmlapps.nist.gov/srs/LJ_PURE/mc.htm) and, for diffusion, molecular dynamics
(mmlapps.nist.gov/srs/LJ_PURE/md.htm).
"""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from ase.build import bulk

from simkit import System
from simkit.dynamics import ForceField, MDState, start
from simkit.dynamics.bussi import bussi
from simkit.graph import Graph
from simkit.potential import AtomicOutput, Capabilities, Potential
from simkit.units import BOLTZMANN, DALTON

SIGMA, EPSILON, MASS = 3.405, 119.8 * BOLTZMANN, 39.948 * DALTON  # Å, eV, eV fs²/Å²
TIME = SIGMA * math.sqrt(MASS / EPSILON)  # fs
CUTOFF = 3.0

STATES = ((0.776, 0.85), (0.820, 0.85), (0.776, 0.90))  # density, temperature
ENERGIES = ((-5.5121, 4.55e-4), (-5.7947, None), (-5.4689, 4.20e-4))
PRESSURES = ((6.7714e-3, 1.72e-3), (0.55355, None), (0.24056, 2.74e-3))
DIFFUSION = 0.061  # at density 0.776 and temperature 0.851, 500 atoms, as ours


class TruncatedLennardJones(Potential):
    """Lennard-Jones cut at 3 σ and shifted to zero there, so that the energy is conserved; forces are not changed."""

    kind: ClassVar[str] = "truncated-lennard-jones"

    def __init__(self) -> None:
        super().__init__(Capabilities(CUTOFF * SIGMA, CUTOFF * SIGMA))

    def forward(self, graph: Graph) -> AtomicOutput:
        power = (SIGMA**2 / graph.vectors.square().sum(1)) ** 3
        pair = torch.where(power > CUTOFF**-6, 2 * EPSILON * (power * (power - 1) - SHIFT), 0)
        return AtomicOutput(pair.new_zeros(graph.system.n_atoms).index_add(0, graph.centre, pair))

    def config(self) -> dict[str, Any]:
        return {}


SHIFT = CUTOFF**-12 - CUTOFF**-6


@dataclass(frozen=True)
class Series:
    """What was sampled, in reduced units.

    Attributes:
        energy: potential energy per atom, (samples, systems), long-range correction included.
        pressure: likewise.
        positions: of the first system, (samples, atoms, 3), without drift and not wrapped.
        interval: time between samples.
    """

    energy: np.ndarray
    pressure: np.ndarray
    positions: np.ndarray
    interval: float


def liquid(density: float, cells: int) -> System:
    """A face-centred cubic crystal of this reduced density; it melts at once."""
    crystal = bulk("Ar", "fcc", a=SIGMA * (4 / density) ** (1 / 3), cubic=True) * (cells, cells, cells)
    return System.from_ase(crystal)


def corrections(density: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Energy per atom and pressure from pairs beyond the cutoff."""
    ninth, third = CUTOFF**-9, CUTOFF**-3
    return (
        8 / 3 * math.pi * density * (ninth / 3 - third),
        16 / 3 * math.pi * density**2 * (2 / 3 * ninth - third),
    )


def measured(state: MDState, forces: ForceField) -> tuple[torch.Tensor, torch.Tensor]:
    """Potential energy per atom and pressure of each system, in reduced units, with corrections."""
    state = forces(state.moved(state.system.positions))
    assert state.energy is not None
    assert state.virial is not None
    counts, volume = state.system.counts, state.system.volume()
    density = counts * SIGMA**3 / volume
    within = torch.zeros_like(state.energy)
    neighbours = forces.neighbours.update(state.system)  # the shift is taken back, pair by pair
    ends = state.system.positions
    offsets = torch.einsum("ei,eij->ej", neighbours.shift, state.system.cell[state.system.batch[neighbours.centre]])
    vectors = ends[neighbours.neighbour] - ends[neighbours.centre] + offsets
    close = (vectors.square().sum(1) < (CUTOFF * SIGMA) ** 2).double()
    within = within.index_add(0, state.system.batch[neighbours.centre], close)
    energy = state.energy / EPSILON + 2 * SHIFT * within
    trace = state.virial.diagonal(dim1=1, dim2=2).sum(1)
    ideal = counts * BOLTZMANN * state.temperature()
    pressure = (ideal + trace / 3) / volume * SIGMA**3 / EPSILON
    tail = corrections(density)
    return energy / counts + tail[0], pressure + tail[1]


def run(arguments: argparse.Namespace) -> Series:
    """Melt, equilibrate, sample."""
    from simkit.system import concatenate

    states = STATES[: arguments.states]
    generator = torch.Generator(arguments.device).manual_seed(arguments.seed)
    system = concatenate([liquid(density, arguments.cells) for density, _ in states]).to(arguments.device)
    targets = torch.tensor([temperature for _, temperature in states]) * EPSILON / BOLTZMANN
    potential = TruncatedLennardJones()
    forces, sampler = (ForceField(potential, virial=virial, skin=1.2) for virial in (False, True))
    state = start(system, 2 * targets, generator=generator)
    flow = bussi(forces, targets, 0.2 * TIME, generator)
    dt = torch.full((len(states),), arguments.timestep * TIME, dtype=torch.float64, device=arguments.device)
    atoms = int(system.counts[0])
    energies, pressures, positions = [], [], []
    begun = time.time()
    equilibration, production = (round(t / arguments.timestep) for t in (arguments.equilibration, arguments.production))
    for step in range(equilibration + production):
        state = flow(state, dt)
        if step >= equilibration and step % arguments.every == 0:
            energy, pressure = measured(state, sampler)
            energies.append(energy.cpu().numpy())
            pressures.append(pressure.cpu().numpy())
            positions.append(state.system.positions[:atoms].cpu().numpy() / SIGMA)
        if step % 500 == 499:
            print(f"step {step + 1}, {1e3 * (time.time() - begun) / (step + 1):.1f} ms a step, "
                  f"T* = {(state.temperature() * BOLTZMANN / EPSILON).tolist()}", flush=True)  # fmt: skip
            if step % 1500 == 1499 and len(energies) * arguments.every * arguments.timestep > 20:
                report(Series(np.array(energies), np.array(pressures), np.array(positions),
                              arguments.every * arguments.timestep))  # fmt: skip
    return Series(np.array(energies), np.array(pressures), np.array(positions), arguments.every * arguments.timestep)


def mean_and_error(values: np.ndarray, blocks: int = 10) -> tuple[np.ndarray, np.ndarray]:
    """Mean over the first axis and its standard error from block averages."""
    length = len(values) // blocks
    averages = values[: blocks * length].reshape(blocks, length, *values.shape[1:]).mean(1)
    return values.mean(0), averages.std(0, ddof=1) / math.sqrt(blocks)


def diffusion(series: Series, blocks: int = 5) -> tuple[float, float]:
    """Einstein's ``D = d⟨|x(t) - x(0)|²⟩/dt / 6`` between 1 and 3 units of time, and its error from blocks."""
    first, last = (round(t / series.interval) for t in (1.0, 3.0))
    found = []
    for part in np.array_split(series.positions, blocks):
        lags = np.arange(first, last + 1)
        squares = [np.square(part[lag:] - part[:-lag]).sum(2).mean() for lag in lags]
        found.append(np.polyfit(lags * series.interval, squares, 1)[0] / 6)
    return float(np.mean(found)), float(np.std(found, ddof=1) / math.sqrt(blocks))


def line(name: str, value: float, error: float, expected: float, uncertainty: float | None) -> str:
    """A row of the table."""
    table = f"{expected:10.4f} " + (f"± {uncertainty:.4f}" if uncertainty else " " * 8)
    deviation = (value - expected) / math.hypot(error, uncertainty or 0.0)
    return f"{name:38s} {value:10.4f} ± {error:.4f}  {table}  {deviation:+6.1f}"


def report(series: Series) -> None:
    """Print the table."""
    (energy, energy_error), (pressure, pressure_error) = map(mean_and_error, (series.energy, series.pressure))
    print(f"\n{'':38s} {'simkit':>10s} {'':8s}  {'NIST':>10s} {'':8s}  {'sigmas':>6s}")
    for k, (density, temperature) in enumerate(STATES[: len(energy)]):
        state = f"ρ* = {density:.3f}, T* = {temperature:.2f}"
        print(line(f"energy per atom, {state}", energy[k], energy_error[k], *ENERGIES[k]))
        print(line(f"pressure, {state}", pressure[k], pressure_error[k], *PRESSURES[k]))
    print(line("diffusion coefficient, first state", *diffusion(series), DIFFUSION, 0.001))
    if len(energy) < len(STATES):
        return
    warmer = STATES[2][1] - STATES[0][1]
    heat = 1.5 + (energy[2] - energy[0]) / warmer
    heat_error = math.hypot(energy_error[2], energy_error[0]) / warmer
    expected = 1.5 + (ENERGIES[2][0] - ENERGIES[0][0]) / warmer
    print(line("heat capacity per atom, T* = 0.875", heat, heat_error, expected, math.hypot(4.55e-4, 4.2e-4) / warmer))
    mean = (STATES[0][0] + STATES[1][0]) / 2
    denser = mean / (STATES[1][0] - STATES[0][0])
    modulus = denser * (pressure[1] - pressure[0])
    modulus_error = denser * math.hypot(*pressure_error[:2])
    tabled = denser * (PRESSURES[1][0] - PRESSURES[0][0])
    spread = denser * math.hypot(1.72e-3, 1.72e-3)  # taken to be as uncertain at the second density
    print(line("compressibility, ρ* = 0.798", 1 / modulus, modulus_error / modulus**2, 1 / tabled, spread / tabled**2))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=5, help="unit cells of four atoms along each edge")
    parser.add_argument("--timestep", type=float, default=0.005)
    parser.add_argument("--equilibration", type=float, default=30.0, help="reduced time")
    parser.add_argument("--production", type=float, default=100.0, help="reduced time")
    parser.add_argument("--states", type=int, default=len(STATES), help="the first so many states only")
    parser.add_argument("--every", type=int, default=20, help="steps between samples")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    report(run(arguments))


if __name__ == "__main__":
    main()
