"""Dynamics with bonds of fixed length: the constrained version of any method whose flows move atoms or momenta."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from simkit.dynamics.bonds import Bonds
from simkit.dynamics.state import MDState
from simkit.dynamics.verlet import Drift, Kick
from simkit.errors import SimkitError
from simkit.flows import Flow, Splitting


@dataclass(frozen=True)
class ConstrainedDrift:
    """Free flight of atoms that are held by bonds (SHAKE), with the momenta at its end along none of them (RATTLE).

    ``x' = x + (dt/m) (p + Σ_k λ_k s_k r_k / dt)`` with multipliers such that ``|r'_k| = d_k``; the momenta get the same
    impulse and are projected at x'. Symmetric and symplectic.

    Reference: J.-P. Ryckaert, G. Ciccotti, H. J. C. Berendsen, J. Comput. Phys. 23, 327 (1977),
    doi:10.1016/0021-9991(77)90098-5; H. C. Andersen, J. Comput. Phys. 52, 24 (1983),
    doi:10.1016/0021-9991(83)90014-1.
    """

    bonds: Bonds

    def __call__(self, state: MDState, dt: Float[Tensor, " systems"]) -> MDState:
        """Advance positions, momenta and time by ``dt`` (fs).

        Raises:
            SimkitError: a bond cannot be held, for the time step is too long.
        """
        moved = dt != 0
        reference = self.bonds.vectors(state)
        after, multipliers = self.bonds.shaken(Drift()(state, dt), reference, moved)
        steps = torch.where(moved, dt, 1)[state.system.batch[self.bonds.first]].to(multipliers.dtype)
        impulse = self.bonds.pulled(state, reference, multipliers / steps)
        return self.bonds.projected(replace(after, momenta=state.momenta + impulse), moved)


@dataclass(frozen=True)
class Tangent:
    """A flow of momenta, followed by their projection: none are left along bonds.

    Attributes:
        flow: such as a kick or a thermostat.
        bonds: of fixed length.
        bath: the energy that the projection takes was given by a thermostat, and is taken from the heat.
    """

    flow: Flow
    bonds: Bonds
    bath: bool

    def __call__(self, state: MDState, dt: Float[Tensor, " systems"]) -> MDState:
        """Advance momenta by ``dt`` (fs).

        Raises:
            SimkitError: the flow moves atoms.
        """
        free = self.flow(state, dt)
        if free.system is not state.system:
            raise SimkitError(
                f"expected a flow that leaves positions and cell alone beside fixed bonds, found {self.flow}: "
                "barostats cannot be combined with them"
            )
        after = self.bonds.projected(free, dt != 0)
        if not self.bath:
            return after
        return replace(after, heat=after.heat + after.kinetic_energy() - free.kinetic_energy())


def constrained(flow: Flow, bonds: Bonds) -> Flow:
    """A method with all drifts held by bonds and all momenta projected: RATTLE of velocity Verlet, g-BAOAB of BAOAB.

    The order of the method is kept, and so are its ensemble, on the constrained positions, and its conserved energy.
    States begin with :meth:`Bonds.held`.

    Args:
        flow: velocity Verlet, or any method with a thermostat at constant cell, also with multiple time steps.
        bonds: of fixed length.

    Reference: B. Leimkuhler, C. Matthews, Proc. R. Soc. A 472, 20160138 (2016), doi:10.1098/rspa.2016.0138.
    """
    if isinstance(flow, Splitting):
        return Splitting(tuple((fraction, constrained(part, bonds)) for fraction, part in flow.parts))
    if isinstance(flow, Drift):
        return ConstrainedDrift(bonds)
    return Tangent(flow, bonds, bath=not isinstance(flow, Kick))
