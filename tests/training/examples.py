"""Small labelled systems for the tests of training."""

from __future__ import annotations

from dataclasses import replace

import torch
from ase import Atoms

from simkit.datasets.base import Frame, Labels
from simkit.datasets.combine import MemoryDataset
from simkit.evaluation import evaluate
from simkit.potentials.lennard_jones import LennardJones
from simkit.system import System

EPSILON, SIGMA, CUTOFF = 0.25, 2.3, 5.0


def truth() -> LennardJones:
    return LennardJones(EPSILON, SIGMA, CUTOFF)


def guess() -> LennardJones:
    return LennardJones(0.2, 2.4, CUTOFF)


def labelled(system: System, name: str, stress: bool = False) -> Frame:
    outputs = ("energy", "forces", "stress") if stress else ("energy", "forces")
    prediction = evaluate(truth(), system, outputs=outputs)
    return Frame(system, Labels(prediction.energy, prediction.forces, prediction.stress), name)


def clusters(count: int, seed: int = 0) -> MemoryDataset:
    """Distorted cubes of 3 to 8 argon atoms."""
    generator = torch.Generator().manual_seed(seed)
    corners = torch.cartesian_prod(*[torch.tensor([0.0, 2.6], dtype=torch.float64)] * 3)
    frames = []
    for index in range(count):
        atoms = 3 + index % 6
        positions = corners[:atoms] + 0.2 * torch.randn((atoms, 3), generator=generator, dtype=torch.float64)
        system = System.from_ase(Atoms("Ar" * atoms, positions.numpy()))
        frames.append(labelled(system, f"clusters:{index}"))
    return MemoryDataset(frames)


def triangles(count: int) -> MemoryDataset:
    """Distorted right-angled triangles of argon."""
    generator = torch.Generator().manual_seed(0)
    corners = torch.tensor([[0.0, 0.0, 0.0], [2.7, 0.0, 0.0], [0.0, 2.7, 0.0]], dtype=torch.float64)
    frames = []
    for index in range(count):
        positions = corners + 0.12 * torch.randn((3, 3), generator=generator, dtype=torch.float64)
        frames.append(labelled(System.from_ase(Atoms("Ar3", positions.numpy())), f"triangles:{index}"))
    return MemoryDataset(frames)


def crystals(count: int) -> MemoryDataset:
    """Strained face-centred cubic cells with stress labels."""
    frames = []
    for index in range(count):
        edge = 3.6 + 0.1 * index
        atoms = Atoms(
            "Ar4", scaled_positions=[(0, 0, 0), (0, 0.5, 0.52), (0.5, 0, 0.5), (0.5, 0.5, 0)], cell=[edge] * 3
        )
        atoms.pbc = True
        frames.append(labelled(System.from_ase(atoms), f"crystals:{index}", stress=True))
    return MemoryDataset(frames)


def without(frame: Frame, *labels: str) -> Frame:
    return replace(frame, labels=replace(frame.labels, **dict.fromkeys(labels)))
