"""Forces of an ASE calculator: dynamics with any program that ASE drives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator, CalculatorError

from simkit.dynamics.state import MDState
from simkit.errors import SimkitError


class CalculatorForces:
    """A map ``state -> state`` that fills in energy, forces and, where there is one, the virial, system after system.

    Use :class:`~simkit.dynamics.ForceField` for potentials of simkit: it evaluates whole batches.

    Args:
        calculator: of ASE.
        atoms: what the calculator needs to know of each system beside its state, such as magnetic moments.
        virial: compute the virial of systems that are periodic along all three axes; it is NaN for the others.
    """

    def __init__(self, calculator: Calculator, atoms: Sequence[Atoms], *, virial: bool = False) -> None:
        self.calculator = calculator
        self.frames = [frame.copy() for frame in atoms]
        self.virial = virial

    def __call__(self, state: MDState) -> MDState:
        """The state with what it lacked.

        Raises:
            SimkitError: the calculator failed.
        """
        if state.forces is not None:
            return state
        if state.n_systems != len(self.frames):
            raise SimkitError(f"expected a state of {len(self.frames)} systems, found {state.n_systems}")
        energies, forces, virials = [], [], []
        for frame, one in zip(self.frames, state.system.split(), strict=True):
            frame.calc = self.calculator
            frame.positions[:] = one.positions.cpu().numpy()
            frame.cell[:] = one.cell[0].cpu().numpy()
            try:
                energies.append(frame.get_potential_energy())
                forces.append(frame.get_forces(apply_constraint=False))
                virials.append(self._virial(frame))
            except CalculatorError as error:
                raise SimkitError(f"{type(self.calculator).__name__} failed: {error}") from error
        like = state.system.positions
        return replace(
            state,
            energy=torch.tensor(energies, dtype=torch.float64, device=like.device),
            forces=torch.as_tensor(np.concatenate(forces), dtype=like.dtype, device=like.device),
            virial=torch.as_tensor(np.array(virials), dtype=like.dtype, device=like.device) if self.virial else None,
        )

    def _virial(self, frame: Atoms) -> np.ndarray:
        if not self.virial or not frame.pbc.all():
            return np.full((3, 3), np.nan)
        return -frame.get_volume() * frame.get_stress(voigt=False, apply_constraint=False)
