"""Pressure of systems in motion. Positive pressure pushes outwards, the opposite sign of ASE's stress."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from simkit.dynamics.bonds import Bonds
from simkit.dynamics.state import MDState
from simkit.errors import SimkitError


def kinetic_tensor(state: MDState, *, drift: bool = True) -> Float[Tensor, "systems 3 3"]:
    """``Σ p ⊗ p / m`` of each system in eV; its trace is twice the kinetic energy.

    Args:
        state: of the systems.
        drift: count the motion of the centres of mass too.
    """
    moving = state if drift else state.without_drift(torch.ones_like(state.removed, dtype=torch.bool))
    momenta = moving.momenta
    return state.sum_over_atoms(momenta[:, :, None] * momenta[:, None, :] / state.masses[:, None, None])


def pressure_tensor(state: MDState, *, drift: bool = True, bonds: Bonds | None = None) -> Float[Tensor, "systems 3 3"]:
    """``P = (Σ p ⊗ p / m + virial) / V`` in eV/Å³, with the virial ``-∂E/∂ε``; divide by ``units.GPA`` for GPa.

    ``V P`` is what the energy loses per unit of strain while positions and cell are stretched and momenta shrink. Its
    time average is the pressure that holds the cell in place.

    Args:
        state: with a virial.
        drift: count the motion of the centres of mass too.
        bonds: of fixed length, if there are any: the forces that hold them belong to the virial.

    Returns:
        The tensor, NaN for systems that are not periodic along all three axes.

    Raises:
        SimkitError: a state without a virial.
    """
    total = kinetic_tensor(state, drift=drift) + known_virial(state)
    if bonds is not None:
        total = total + bonds.virial(state)
    return total / state.system.volume()[:, None, None]


def pressure(state: MDState, *, drift: bool = True, bonds: Bonds | None = None) -> Float[Tensor, " systems"]:
    """A third of the trace of the :func:`pressure_tensor`, in eV/Å³."""
    return trace(pressure_tensor(state, drift=drift, bonds=bonds)) / 3


def trace(matrices: Float[Tensor, "systems 3 3"]) -> Float[Tensor, " systems"]:
    """Trace of each matrix."""
    return matrices.diagonal(dim1=1, dim2=2).sum(1)


def known_virial(state: MDState) -> Float[Tensor, "systems 3 3"]:
    """The virial of a state.

    Raises:
        SimkitError: it is not known.
    """
    if state.virial is None:
        raise SimkitError("expected a state with a virial, found none: use ForceField(potential, virial=True)")
    return state.virial
