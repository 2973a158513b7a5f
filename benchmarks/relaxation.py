"""Relax perturbed crystals in batches, and one by one with ASE's FIRE: minima, force calls and processor time.

    python -P benchmarks/relaxation.py mptrj-random-1k.xyz.gz --model mace.model
    python -P benchmarks/relaxation.py Si_train.xyz --model silicon.simkit --systems 20 --max-atoms 70

Structures come from a file; those that the model does not support or that are large are passed over. Without a model,
all atoms are of one Lennard-Jones kind, and structures are scaled to its distance of neighbours first: minima are then
far and flat, which is hard on optimisers. Both programs use the same potential of simkit, so that only the optimiser
and the batch differ.

Every structure whose energies differ by 1 meV/atom or more, or that one program alone relaxed, is explained: both last
geometries are relaxed further to a fifth of the force. If the energies still differ, and neither has changed, they are
different minima; the distance between them is that of the atom farthest from its place in the other.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass

import numpy as np
import torch
from ase import Atoms
from ase.filters import FrechetCellFilter
from ase.io import iread
from ase.optimize import FIRE

import simkit
from simkit.potential import ALL_ELEMENTS, Potential
from simkit.potentials.lennard_jones import LennardJones
from simkit.relaxation import Budget, CellFilter, Fire, InFlight, Lbfgs, Optimiser, Status, relax
from simkit.system import System

SIGMA = 2.3  # Å


@dataclass(frozen=True)
class Result:
    """What one program has done."""

    energies: np.ndarray  # eV/atom, NaN where not converged
    systems: list[System]  # last geometries
    force_calls: int
    model_calls: int
    seconds: float
    remedies: dict[int, str]  # of those that did not converge


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("structures", help="crystals, in any format that ASE reads")
    parser.add_argument("--model", help="model file; Lennard-Jones if absent")
    parser.add_argument("--systems", type=int, default=200)
    parser.add_argument("--max-atoms", type=int, default=40, help="of one structure")
    parser.add_argument("--batch-atoms", type=int, help="of a batch; by default what the memory allows")
    parser.add_argument("--fmax", type=float, default=0.01, help="eV/Å")
    parser.add_argument("--max-steps", type=int, default=1000)
    parser.add_argument("--rattle", type=float, default=0.1, help="standard deviation of displacements, Å")
    parser.add_argument("--strain", type=float, default=0.03, help="largest component")
    parser.add_argument("--fixed-cell", action="store_true", help="relax the atoms only")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--no-ase", action="store_true", help="leave out ASE")
    return parser.parse_args()


def perturbed_crystals(options: argparse.Namespace, potential: Potential) -> list[Atoms]:
    rng = np.random.default_rng(0)
    frames: list[Atoms] = []
    for atoms in iread(options.structures, index=":", format="extxyz"):
        supported = set(atoms.numbers.tolist()) <= set(potential.capabilities.elements)
        if not supported or not 1 < len(atoms) <= options.max_atoms or not atoms.pbc.all():
            continue
        crystal = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=True)
        if options.model is None:
            distances = crystal.repeat((2, 2, 2)).get_all_distances(mic=True)
            nearest = np.median(np.where(distances > 0, distances, np.inf).min(1))
            crystal.set_cell(crystal.cell * (2 ** (1 / 6) * SIGMA / nearest), scale_atoms=True)
        change = np.eye(3) + rng.uniform(-options.strain, options.strain, (3, 3))
        crystal.set_cell(crystal.cell.array @ change, scale_atoms=True)
        crystal.positions += rng.normal(scale=options.rattle, size=crystal.positions.shape)
        frames.append(crystal)
        if len(frames) == options.systems:
            break
    return frames


def batched(options: argparse.Namespace, potential: Potential, frames: list[Atoms], optimiser: Optimiser) -> Result:
    budget = None if options.batch_atoms is None else Budget(max_atoms=options.batch_atoms)
    start = time.process_time()
    run = InFlight(
        potential,
        [System.from_ase(atoms) for atoms in frames],
        optimiser,
        fmax=options.fmax,
        max_steps=options.max_steps,
        cell=None if options.fixed_cell else CellFilter(),
        budget=budget,
    )
    energies, systems, remedies = np.full(len(frames), np.nan), [System.from_ase(atoms) for atoms in frames], {}
    calls = 0
    while run.working:
        for outcome in run.advance().outcomes:
            calls += outcome.force_calls
            systems[outcome.index] = outcome.system
            if outcome.status == Status.CONVERGED:
                energies[outcome.index] = outcome.energy / outcome.system.n_atoms
            else:
                remedies[outcome.index] = f"{outcome.status.label}, {outcome.steps} steps, fmax {outcome.fmax:.3g} eV/Å"
    return Result(energies, systems, calls, run.evaluations, time.process_time() - start, remedies)


def one_by_one(options: argparse.Namespace, potential: Potential, frames: list[Atoms]) -> Result:
    energies, systems, remedies = np.full(len(frames), np.nan), [], {}
    calculator = simkit.Calculator(potential)
    calls = 0
    start = time.process_time()
    for index, frame in enumerate(frames):
        atoms = frame.copy()
        atoms.calc = calculator
        optimiser = FIRE(atoms if options.fixed_cell else FrechetCellFilter(atoms), logfile=None)
        if optimiser.run(fmax=options.fmax, steps=options.max_steps):
            energies[index] = atoms.get_potential_energy() / len(atoms)
        else:
            largest = np.linalg.norm(atoms.get_forces(), axis=1).max()
            remedies[index] = f"not converged, {optimiser.nsteps} steps, fmax {largest:.3g} eV/Å on atoms"
        calls += optimiser.nsteps + 1
        systems.append(System.from_ase(atoms))
    return Result(energies, systems, calls, calls, time.process_time() - start, remedies)


def line(name: str, result: Result, reference: Result | None) -> str:
    text = (
        f"{name:22} {np.isfinite(result.energies).sum():9} {result.force_calls:12} {result.model_calls:12} "
        f"{result.seconds:9.1f}"
    )
    if reference is None:
        return text
    difference = 1e3 * (result.energies - reference.energies)
    both = np.isfinite(difference)
    same, lower = (np.abs(difference[both]) < 1).sum(), (difference[both] <= -1).sum()
    return f"{text} {same:8} {lower:6} {both.sum() - same - lower:6}"


def explain(options: argparse.Namespace, potential: Potential, frames: list[Atoms], mine: Result, ase: Result) -> None:
    """Print a line for each structure that the programs relaxed to other energies."""
    apart = ~(np.abs(mine.energies - ase.energies) < 1e-3)
    for index in np.flatnonzero(apart).tolist():
        pair = [result.systems[index] for result in (mine, ase)]
        ends = relax(
            potential, pair, optimiser=Fire(), fmax=options.fmax / 5, max_steps=5000,
            cell=None if options.fixed_cell else CellFilter(),
        )  # fmt: skip
        sizes = len(frames[index])
        after = [end.energy / sizes for end in ends]
        words = "same minimum" if abs(after[0] - after[1]) < 1e-3 else "different minima"
        if any(end.status != Status.CONVERGED for end in ends):
            words = "not a minimum: " + ", ".join(end.status.label for end in ends)
        print(
            f"  {index} {frames[index].symbols.get_chemical_formula()}: batch {mine.energies[index]:.5f}, ASE "
            f"{ase.energies[index]:.5f} eV/atom; relaxed further {after[0]:.5f}, {after[1]:.5f}, "
            f"{distance(ends[0].system, ends[1].system):.2f} Å apart: {words}",
            *(f"({name}: {r.remedies[index]})" for name, r in (("batch", mine), ("ASE", ase)) if index in r.remedies),
            flush=True,
        )


def distance(one: System, other: System) -> float:
    """Largest displacement of an atom beyond the common translation, in Å, in the cell of the first."""
    fractional = [system.positions @ torch.linalg.inv(system.cell[0]) for system in (one, other)]
    change = fractional[1] - fractional[0]
    change = change - change[:1]
    change = (change - change.round()) @ one.cell[0]
    return float((change - change.mean(0)).norm(dim=1).max())


def main() -> None:
    options = arguments()
    torch.set_default_dtype(torch.float64)
    if options.model is None:
        potential: Potential = LennardJones(epsilon=0.4, sigma=SIGMA, cutoff=6.0, elements=ALL_ELEMENTS)
        potential = potential.to(options.device)
    else:
        potential = simkit.load_model(options.model, device=options.device, dtype="float64").requires_grad_(False)
    frames = perturbed_crystals(options, potential)
    print(f"{len(frames)} structures, {sum(map(len, frames))} atoms, fmax {options.fmax} eV/Å, {potential.kind}")
    print("optimiser              converged  force calls  model calls  CPU time   within  lower higher (1 meV/atom)")
    reference = None if options.no_ase else one_by_one(options, potential, frames)
    if reference is not None:
        print(line("ASE FIRE, one by one", reference, None), flush=True)
    for optimiser in (Fire(), Lbfgs()):
        result = batched(options, potential, frames, optimiser)
        print(line(f"{optimiser.name}, in a batch", result, reference), flush=True)
        if reference is not None:
            explain(options, potential, frames, result, reference)


if __name__ == "__main__":
    main()
