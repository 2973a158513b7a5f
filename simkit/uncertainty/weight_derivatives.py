"""Derivatives of predictions by all weights of a small model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import functional_call, grad, jacrev

from simkit.derivatives import stress_from
from simkit.errors import SimkitError
from simkit.evaluation import total_energy
from simkit.graph import make_graph
from simkit.neighbours import Neighbours
from simkit.potential import Potential
from simkit.potentials.kernels import kernels
from simkit.system import System

MOST_WEIGHTS = 5000
"""The precision is a full matrix: at 5000 weights it has 200 MB."""


def uncertain_parameters(potential: Potential, patterns: Sequence[str]) -> dict[str, Tensor]:
    """The parameters whose names match one of the patterns, by name.

    Raises:
        SimkitError: there are none, or they have too many weights.
    """
    found = {
        name: value.detach()
        for name, value in potential.named_parameters()
        if any(fnmatchcase(name, pattern) for pattern in patterns)
    }
    count = sum(value.numel() for value in found.values())
    if not 0 < count <= MOST_WEIGHTS:
        raise SimkitError(
            f"the linearised Laplace approximation needs 1 to {MOST_WEIGHTS} weights, found {count} in this "
            f"{potential.kind} potential by the patterns {', '.join(patterns)}: choose parameters such as those of the "
            "readout, or use LLPR, which takes the last layer alone"
        )
    return found


def weight_derivatives(
    potential: Potential, patterns: Sequence[str], system: System, neighbours: Neighbours, wanted: Sequence[str]
) -> dict[str, Tensor]:
    """Derivatives of energy, energies, forces and stress by the weights, with these on the last axis, in float64."""
    differentiated = {"forces", "stress"} & set(wanted)

    def energy(weights: Any, positions: Tensor, strain: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        grown = torch.eye(3, dtype=strain.dtype, device=strain.device) + 0.5 * (strain + strain.mT)
        moved = torch.bmm(positions[:, None], grown[system.batch])[:, 0]
        graph = make_graph(replace(system, positions=moved, cell=system.cell @ grown), neighbours)
        output = functional_call(potential, weights, (graph,))
        total = total_energy(output, system)
        return total.sum(), (total, output.energies.double())

    def quantities(weights: dict[str, Tensor]) -> dict[str, Tensor]:
        given = (weights, system.positions, torch.zeros_like(system.cell))
        if not differentiated:
            _, (total, energies) = energy(*given)
            return {"energy": total, "energies": energies}
        (by_positions, by_strain), (total, energies) = grad(energy, (1, 2), has_aux=True)(*given)
        stress = stress_from(-by_strain, system)
        return {"energy": total, "energies": energies, "forces": -by_positions, "stress": stress}

    with kernels("reference"):  # third derivatives under vmap
        found = jacrev(quantities)(uncertain_parameters(potential, patterns))
    axes = {"energy": 1, "energies": 1, "forces": 2, "stress": 3}
    return {name: joined(parts, axes[name]).double().detach() for name, parts in found.items()}


def flat(values: Mapping[str, Tensor]) -> Float[Tensor, " weights"]:
    """All values one after the other."""
    return torch.cat([value.flatten() for value in values.values()])


def joined(parts: Mapping[str, Tensor], axes: int) -> Float[Tensor, "*shape weights"]:
    """Derivatives by all parameters side by side, behind the axes of what was differentiated."""
    return torch.cat([part.flatten(axes) for part in parts.values()], axes)
