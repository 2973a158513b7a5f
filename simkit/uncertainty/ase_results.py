"""Uncertainties in ASE: as results of calculators, and in ``atoms.info`` and ``atoms.arrays``, which files keep.

ASE's writers drop results that they do not know, so everything is in the atoms too::

    energy_std       info    eV
    stress_std       info    eV/Å³, Voigt's order xx yy zz yz xz xy
    force_sigma_max  info    eV/Å, the largest of the atoms
    uncertainty      info    method, and whether it is calibrated
    energies_std     arrays  eV
    forces_std       arrays  eV/Å, of each component: depends on the axes
    force_sigma      arrays  eV/Å, √(tr cov / 3): does not
    forces_cov       arrays  (eV/Å)², row after row of the 3 x 3 matrix of each atom; a 3 x 3 array in the results
    score            arrays  grows with the error, of methods that claim no standard deviation

and, of predictions that are calibrated or conformal, intervals that hold the truth with a probability of 90 %::

    energy_within_90 info    eV: the energy lies within ± this
    force_within_90  arrays  eV/Å: the force lies in a ball of this radius

Extended XYZ keeps all of it; ASE's own trajectories keep ``info`` alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ase import Atoms
from ase.stress import full_3x3_to_voigt_6_stress, voigt_6_to_full_3x3_stress
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from simkit.ase_border import ase_stress, has_volume
from simkit.evaluation import evaluate
from simkit.neighbours import Neighbours
from simkit.system import System
from simkit.uncertainty.base import UncertainPotential
from simkit.uncertainty.prediction import Provenance, UncertainPrediction

LEVEL = 0.9
OF_SYSTEM = ("energy_std", "stress_std", "energy_within_90")
OF_ATOMS = ("energies_std", "forces_std", "force_sigma", "forces_cov", "score", "force_within_90")
UNCERTAINTIES = (*OF_SYSTEM, *OF_ATOMS)
"""Names of the results."""

NEED_FORCES = frozenset({"forces", "forces_std", "force_sigma", "forces_cov", "force_within_90"})
NEED_STRESS = frozenset({"stress", "stress_std"})


def in_words(provenance: Provenance) -> str:
    """The method, and whether it is calibrated."""
    return f"{provenance.method}, {'calibrated' if provenance.calibrated else 'not calibrated'}"


def uncertain_results(
    potential: UncertainPotential, system: System, neighbours: Neighbours, atoms: Atoms, properties: Sequence[str]
) -> dict[str, Any]:
    """Mean and uncertainty of one system, by ASE's names and those of this module.

    The uncertainty of the stress is that of systems that are periodic along all three axes.

    Args:
        potential: what predicts.
        system: the atoms.
        neighbours: of the system.
        atoms: the same, for the volume of ASE's stress.
        properties: what is asked for; forces and stress come together.
    """
    derivatives = bool((NEED_FORCES | NEED_STRESS) & set(properties))
    stressed = derivatives and potential.capabilities.conservative and has_volume(atoms)
    periodic = bool(atoms.pbc.all())
    outputs = [
        "energy",
        "energies",
        *(["forces"] if derivatives else []),
        *(["stress"] if stressed and periodic else []),
    ]
    results = as_results(potential.predict(system, neighbours, outputs))
    if stressed and not periodic:
        virial = evaluate(potential, system, neighbours, ("virial",)).virial
        assert virial is not None
        results["stress"] = ase_stress(_array(virial[0]), atoms)
    return results


def as_results(found: UncertainPrediction) -> dict[str, Any]:
    """The prediction of one system by the names of results."""
    results: dict[str, Any] = {"energy": float(found.energy[0])}
    results |= {name: _array(value) for name in ("energies", "forces") if (value := getattr(found, name)) is not None}
    if found.stress is not None:
        results["stress"] = full_3x3_to_voigt_6_stress(_array(found.stress[0]))
    return results | _uncertainties(found)


def known_uncertainties(found: UncertainPrediction) -> dict[str, Tensor]:
    """What a prediction of one or many systems says of its errors, by the names of results."""
    own = [name for name in UNCERTAINTIES if not name.endswith("_within_90")]
    values = {name: getattr(found, name) for name in own}
    if found.rule is not None:
        intervals = found.interval(LEVEL)
        values |= {"energy_within_90": intervals.energy, "force_within_90": intervals.forces_radius}
    return {name: value for name, value in values.items() if value is not None}


def _uncertainties(found: UncertainPrediction) -> dict[str, Any]:
    known = known_uncertainties(found)
    for name in ("energy_within_90", "force_within_90"):
        if name in known and not bool(known[name].isfinite().all()):  # too few frames to calibrate for any interval
            del known[name]
    single = {name: _array(known.pop(name)[0]) for name in OF_SYSTEM if name in known}
    results: dict[str, Any] = {name: float(value) if value.ndim == 0 else value for name, value in single.items()}
    return results | {name: _array(value) for name, value in known.items()}


def keep_in_atoms(atoms: Atoms, results: Mapping[str, Any], provenance: Provenance) -> None:
    """Copy uncertainties to ``atoms.info`` and ``atoms.arrays``, in place of those of an earlier geometry."""
    for name in UNCERTAINTIES:
        atoms.info.pop(name, None)
        atoms.arrays.pop(name, None)
        if name not in results:
            continue
        if name in OF_SYSTEM:
            atoms.info[name] = np.copy(results[name]) if np.ndim(results[name]) else results[name]
        else:
            values = np.asarray(results[name])
            atoms.set_array(name, values.reshape(len(atoms), -1) if values.ndim > 2 else values)
    atoms.info.pop("force_sigma_max", None)
    if "force_sigma" in results:
        atoms.info["force_sigma_max"] = float(np.max(results["force_sigma"]))
    atoms.info["uncertainty"] = in_words(provenance)


def full_stress(stress: Any) -> Float[ndarray, "3 3"]:
    """A stress as a matrix, whether a calculator gives six numbers in Voigt's order or a matrix."""
    values = np.asarray(stress, float)
    return values if values.shape == (3, 3) else voigt_6_to_full_3x3_stress(values)


def _array(values: Tensor) -> ndarray:
    return values.detach().cpu().double().numpy()
