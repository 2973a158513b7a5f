"""Small labelled data of our own making: copper with the EMT potential of ASE, in bulk and in clusters."""

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator

from simkit.datasets.ase_frames import LabelKeys, detect_keys, frame_from_atoms
from simkit.datasets.combine import MemoryDataset


def labelled(atoms: Atoms) -> Atoms:
    """The atoms with EMT's energy, forces and (periodic) stress as results."""
    atoms = atoms.copy()
    atoms.calc = EMT()
    results = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces()}
    if atoms.pbc.all():
        results["stress"] = atoms.get_stress()
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


def crystals(count: int, seed: int = 0) -> list[Atoms]:
    """Strained and rattled crystals of four copper or three copper and one gold atom, alternating."""
    rng = np.random.default_rng(seed)
    frames = []
    for index in range(count):
        atoms = bulk("Cu", cubic=True)
        if index % 2:
            atoms.numbers[0] = 79
        strain = rng.uniform(-0.03, 0.03, (3, 3))
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + 0.5 * (strain + strain.T)), scale_atoms=True)
        atoms.positions += rng.normal(0, 0.03, (4, 3))
        atoms.info["group"] = "alloy" if index % 2 else "metal"
        frames.append(labelled(atoms))
    return frames


def clusters(count: int, seed: int = 0) -> list[Atoms]:
    """Snapshots of a vibrating copper cluster of 13 atoms: neighbouring ones are similar."""
    from ase.cluster import Icosahedron
    from ase.md.verlet import VelocityVerlet
    from ase.units import fs, kB

    atoms = Icosahedron("Cu", 2)
    atoms.calc = EMT()
    thermal = np.sqrt(atoms.get_masses()[:, None] * kB * 600)
    atoms.set_momenta(thermal * np.random.default_rng(seed).normal(size=(13, 3)))
    dynamics = VelocityVerlet(atoms, 4 * fs)
    frames = []
    for _ in range(count):
        dynamics.run(3)
        frames.append(labelled(Atoms(atoms.numbers, atoms.positions)))
    return frames


def dataset(frames: list[Atoms], **keys: object) -> MemoryDataset:
    """The atoms as a dataset in memory."""
    found = detect_keys(LabelKeys(**keys), frames, "memory")
    return MemoryDataset(frame_from_atoms(atoms, found, f"memory:{index}") for index, atoms in enumerate(frames))
