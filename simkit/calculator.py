"""Any potential in ASE: ``atoms.calc = Calculator(...)``."""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.calculators import calculator as ase_calculator
from ase.outputs import Properties
from torch import Tensor

from simkit.ase_border import ase_stress, has_volume
from simkit.devices import require_device
from simkit.errors import InvalidSystemError, SimkitError
from simkit.evaluation import evaluate, hessian_vector_product
from simkit.floating import floating_type
from simkit.graph import require_separated
from simkit.neighbours import NeighbourList, Neighbours
from simkit.potential import IgnoredConditions, Potential, require_elements
from simkit.progress import Silent
from simkit.system import System
from simkit.uncertainty.ase_results import NEED_FORCES, NEED_STRESS, UNCERTAINTIES, keep_in_atoms, uncertain_results
from simkit.uncertainty.base import UncertainPotential

INFO_KEYS = ("charge", "spin")
"""Entries of ``atoms.info`` that a potential may depend on."""


class Calculator(ase_calculator.Calculator):
    """Energies, forces and stress of a potential, for everything that speaks ASE.

    Asking for the energy evaluates the potential only; asking for forces or stress differentiates once and keeps both,
    as optimisers of the cell ask for one after the other. The calculator works on its own copy of a potential:
    training it further does not change the results, and its parameters keep their gradients.

    The stress follows ASE: eV/Å³, tension positive, Voigt order xx yy zz yz xz xy, per ``atoms.get_volume()``. For
    slabs and wires, that is the volume of the cell given by the user.

    A potential with an uncertainty also gives ``energy_std``, ``force_sigma`` and so on, and copies them to the atoms;
    see :mod:`simkit.uncertainty.ase_results`.

    Args:
        model: a potential, or the path of a model file (simkit's own or mace-torch's).
        device: torch device, e.g. ``"cuda"``; default: where the potential is, the CPU for a file.
        dtype: ``"float64"`` or ``"float32"``, or torch's types; default: the potential's own. Results: float64.
        skin: distance in Å beyond the cutoff that the neighbour list covers, so that it is rebuilt only now and then.
        head: level of theory, for potentials trained on several.
        minimum_distance: in Å; atoms closer than this are an error, because learned potentials have seen none.

    Raises:
        ModelFileError: the file is missing, damaged or not supported.

    Reference: A. H. Larsen et al., J. Phys.: Condens. Matter 29, 273002 (2017), doi:10.1088/1361-648X/aa680e.
    """

    def __init__(
        self,
        model: Potential | str | os.PathLike[str],
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | str | None = None,
        skin: float = 0.5,
        head: str | None = None,
        minimum_distance: float = 0.1,
    ) -> None:
        super().__init__()
        self.potential = _own_copy(model, device, floating_type(dtype), head)
        self.minimum_distance = minimum_distance
        self.parameters.update(
            model=self.potential.kind if isinstance(model, Potential) else os.fspath(model),
            device=str(self.potential.device),
            dtype=str(self.potential.dtype).removeprefix("torch."),
            skin=skin,
            head=head,
        )
        self.implemented_properties = ["energy", "free_energy", "energies", "forces"]
        if self.potential.capabilities.conservative:
            self.implemented_properties.append("stress")
        if isinstance(self.potential, UncertainPotential):
            self.implemented_properties += UNCERTAINTIES
        self._neighbours = NeighbourList(self.potential.cutoff, skin)
        self._ignored = IgnoredConditions(self.potential, Silent())

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(ase_calculator.all_changes),
    ) -> None:
        """Fill ``results`` with what ASE asks for, and what comes free with it.

        Raises:
            InvalidSystemError: no atoms, NaN coordinates, or atoms closer than ``minimum_distance``.
            UnsupportedElementError: the potential was not made for some of the elements.
            PropertyNotImplementedError: the stress of atoms in a cell without a volume.
            SimkitError: the potential gives NaN or infinity.
        """
        atoms = self._given(atoms)
        if NEED_STRESS & set(properties) and not has_volume(atoms):
            raise ase_calculator.PropertyNotImplementedError(
                "the stress needs a cell with a volume, found lattice vectors "
                f"{atoms.cell.array.tolist()}: give all three, e.g. with atoms.center(vacuum=5)"
            )
        super().calculate(atoms, properties, system_changes)
        system, neighbours = self._prepare(atoms)
        if isinstance(self.potential, UncertainPotential):
            results = uncertain_results(self.potential, system, neighbours, atoms, properties)
            keep_in_atoms(atoms, results, self.potential.provenance)
        else:
            results = self._certain_results(system, neighbours, atoms, properties)
        results["free_energy"] = results["energy"]
        _require_finite(results, self.potential)
        self.results.update(results)

    def _certain_results(
        self, system: System, neighbours: Neighbours, atoms: Atoms, properties: Sequence[str]
    ) -> dict[str, Any]:
        outputs = ["energy", "energies"]
        if (NEED_FORCES | NEED_STRESS) & set(properties):
            outputs.append("forces")
            if has_volume(atoms) and "stress" in self.implemented_properties:
                outputs.append("virial")
        prediction = evaluate(self.potential, system, neighbours, outputs)
        results: dict[str, Any] = {"energy": float(prediction.energy[0]), "energies": _array(prediction.energies)}
        if prediction.forces is not None:
            results["forces"] = _array(prediction.forces)
        if prediction.virial is not None:
            results["stress"] = ase_stress(_array(prediction.virial[0]), atoms)
        return results

    def export_properties(self) -> Properties:
        """The results that ASE's table of properties has names for."""
        return Properties({name: value for name, value in self.results.items() if name not in UNCERTAINTIES})

    def check_state(self, atoms: Atoms, tol: float = 1e-15) -> list[str]:
        """What changed since the last calculation; charge and spin in ``atoms.info`` count too."""
        changes = super().check_state(atoms, tol)
        if self.atoms is not None and any(self.atoms.info.get(key) != atoms.info.get(key) for key in INFO_KEYS):
            changes.append("info")
        return changes

    def set(self, **settings: Any) -> dict[str, Any]:
        """Refused: make a new calculator instead.

        Raises:
            SimkitError: any setting is given.
        """
        if settings:
            raise SimkitError(f"{', '.join(settings)} cannot be changed: make a new Calculator with the other settings")
        return {}

    def get_features(self, atoms: Atoms | None = None) -> np.ndarray:
        """Rotation-invariant features of each atom's surroundings, of shape (atoms, features).

        Raises:
            PropertyNotImplementedError: the potential has none.
        """
        system, neighbours = self._prepare(self._given(atoms))
        features = evaluate(self.potential, system, neighbours, ("features",)).features
        if features is None:
            raise ase_calculator.PropertyNotImplementedError(f"a {self.potential.kind} potential has no features")
        return _array(features)

    def get_hessian(self, atoms: Atoms | None = None) -> np.ndarray:
        """Second derivatives ``∂²E/∂x∂x`` in eV/Å² of shape (atoms, 3, atoms, 3), exact, one row after another.

        Raises:
            PropertyNotImplementedError: the potential predicts forces directly.
        """
        if not self.potential.capabilities.conservative:
            raise ase_calculator.PropertyNotImplementedError("the forces are not derivatives of the energy")
        system, neighbours = self._prepare(self._given(atoms))
        count = system.n_atoms
        directions = torch.eye(3 * count, dtype=system.dtype, device=system.device).reshape(-1, count, 3)
        rows = [hessian_vector_product(self.potential, system, neighbours, direction) for direction in directions]
        return _array(torch.stack(rows)).reshape(count, 3, count, 3)

    def _given(self, atoms: Atoms | None) -> Atoms:
        atoms = self.atoms if atoms is None else atoms
        if atoms is None:
            raise SimkitError("expected atoms, or a calculation before: call atoms.get_potential_energy() first")
        return atoms

    def _prepare(self, atoms: Atoms) -> tuple[System, Neighbours]:
        if len(atoms) == 0:
            raise InvalidSystemError("expected at least one atom, found an empty Atoms object")
        system = System.from_ase(atoms, dtype=self.potential.dtype, device=self.potential.device)
        require_elements(self.potential, system)
        self._ignored.look_at(system)
        neighbours = self._neighbours.update(system)
        require_separated(system, neighbours, self.minimum_distance)
        return system, neighbours

    def _get_name(self) -> str:
        """Name under which ASE stores results in databases and trajectories."""
        return "simkit"


def _own_copy(
    model: Potential | str | os.PathLike[str],
    device: torch.device | str | None,
    dtype: torch.dtype | None,
    head: str | None,
) -> Potential:
    """The potential in evaluation mode, its parameters without gradients; the caller's own stays as it is."""
    if isinstance(model, Potential):
        require_device(device)
        potential = copy.deepcopy(model).to(device=device, dtype=dtype)
        if head is not None:
            from simkit.potentials.one_head import OneHead

            potential = OneHead(potential, head)
    else:
        from simkit.potentials.model_file import load_model

        potential = load_model(model, device=device or "cpu", dtype=dtype, head=head)
    return potential.eval().requires_grad_(False)


def _array(values: Tensor | None) -> np.ndarray:
    assert values is not None
    return values.detach().cpu().double().numpy()


def _require_finite(results: dict[str, Any], potential: Potential) -> None:
    broken = [name for name, value in results.items() if not np.isfinite(value).all()]
    if broken:
        raise SimkitError(
            f"the {potential.kind} potential gives NaN or infinity ({', '.join(broken)}): the structure is likely far "
            "from what it was made for; check distances, the cell and the time step"
        )
