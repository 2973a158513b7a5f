"""Frames of the cluster Cu7Au6 with EMT labels, in independent trajectories at three temperatures.

    python -P benchmarks/uncertainty/cluster_data.py FOLDER [--seed 0]

writes ``train.xyz`` (150 frames at 400 K, one trajectory), ``calibration.xyz`` and ``test_400.xyz`` (100 frames each,
400 K, frames of 20 other trajectories in turn, so that both have frames of all), ``test_900.xyz`` and ``test_1500.xyz``
(100 frames each, 20 trajectories). Langevin dynamics of 5 fs steps, a frame every 40 steps after 400 steps at rest.
"""

import argparse
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.cluster import Icosahedron
from ase.io import write
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution

STEP, WAIT, BETWEEN = 5.0, 400, 40  # fs, steps, steps


def cluster() -> Atoms:
    """An icosahedron of 13 atoms: gold in the middle and at every other vertex."""
    atoms = Icosahedron("Cu", noshells=2)
    middle = np.argsort(atoms.positions[:, 2])[::2][:6]
    atoms.numbers[middle] = 79
    atoms.positions *= 1.08
    return atoms


def trajectory(temperature: float, frames: int, seed: int) -> list[Atoms]:
    """Labelled frames of one trajectory."""
    random = np.random.default_rng(seed)
    atoms = cluster()
    atoms.calc = EMT()
    MaxwellBoltzmannDistribution(atoms, temperature_K=temperature, rng=random)
    dynamics = Langevin(atoms, STEP * units.fs, temperature_K=temperature, friction=0.02, rng=random)
    dynamics.run(WAIT)
    found = []
    for _ in range(frames):
        dynamics.run(BETWEEN)
        frame = Atoms(atoms.numbers, atoms.positions)
        frame.info["group"] = f"{temperature:g}K-{seed}"
        frame.calc = SinglePointCalculator(frame, energy=atoms.get_potential_energy(), forces=atoms.get_forces())
        found.append(frame)
    return found


def main() -> None:
    """Write the five files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    start = 1000 * options.seed
    write(options.folder / "train.xyz", trajectory(400, 150, start))
    others = [trajectory(400, 10, start + 100 + k) for k in range(20)]
    write(options.folder / "calibration.xyz", [frame for one in others for frame in one[::2]])
    write(options.folder / "test_400.xyz", [frame for one in others for frame in one[1::2]])
    for temperature in (900, 1500):
        several = [trajectory(temperature, 5, start + temperature + k) for k in range(20)]
        write(options.folder / f"test_{temperature}.xyz", [frame for one in several for frame in one])


if __name__ == "__main__":
    main()
