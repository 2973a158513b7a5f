"""Committees of ASE calculators, whatever program is behind them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.outputs import Properties

from simkit.errors import SimkitError
from simkit.evaluation import Prediction
from simkit.uncertainty.ase_results import (
    NEED_FORCES,
    NEED_STRESS,
    UNCERTAINTIES,
    as_results,
    full_stress,
    keep_in_atoms,
)
from simkit.uncertainty.committee import committee_prediction
from simkit.uncertainty.prediction import Provenance, Samples, UncertainPrediction


class CommitteeCalculator(Calculator):
    """The mean of several ASE calculators, with the unbiased covariance of what they predict.

    With members m of M, ``E = Σ_m E_m / M``, ``σ_E² = Σ_m (E_m - E)² / (M - 1)``, and so on for forces and stress. The
    uncertainties are results and are copied to the atoms; see :mod:`simkit.uncertainty.ase_results`.

    Args:
        calculators: at least two, such as one program with several functionals, or several pretrained models.

    Raises:
        SimkitError: fewer than two calculators, or one that gives no energy.
    """

    def __init__(self, calculators: Sequence[Any]) -> None:
        super().__init__()
        if len(calculators) < 2:
            raise SimkitError(
                f"expected at least two calculators, whose spread is the uncertainty, found {len(calculators)}: give "
                "more, or calibrate a single one with BlackBox.fit"
            )
        common = [name for name in STANDARD if all(name in one.implemented_properties for one in calculators)]
        if "energy" not in common:
            raise SimkitError("expected calculators that all give an energy: leave out those that do not")
        self.calculators = list(calculators)
        self.implemented_properties = [*common, "free_energy", *_uncertainties(common)]
        self.prediction: UncertainPrediction | None = None

    @property
    def provenance(self) -> Provenance:
        """A committee of so many members."""
        count = len(self.calculators)
        return Provenance("committee of calculators", "members", dof=count - 1, cost=count)

    @property
    def samples(self) -> Samples | None:
        """What each member predicted in the last calculation."""
        return None if self.prediction is None else self.prediction.samples

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Ask every member; forces and stress come together."""
        super().calculate(atoms, properties, system_changes)
        given = self.atoms if atoms is None else atoms
        if given is None:
            raise SimkitError("expected atoms, or a calculation before: call atoms.get_potential_energy() first")
        derivatives = bool((NEED_FORCES | NEED_STRESS) & set(properties))
        wanted = [name for name in STANDARD if name in self.implemented_properties]
        wanted = [name for name in wanted if name in ("energy", "energies") or derivatives]
        if "stress" in wanted and not (given.pbc.all() or NEED_STRESS & set(properties)):
            wanted.remove("stress")
        members = [_prediction(member, given, wanted) for member in self.calculators]
        self.prediction = committee_prediction(members, self.provenance, samples=len(members))
        results = as_results(self.prediction)
        keep_in_atoms(given, results, self.provenance)
        self.results.update(results | {"free_energy": results["energy"]})

    def export_properties(self) -> Properties:
        """The results that ASE's table of properties has names for."""
        return Properties({name: value for name, value in self.results.items() if name not in UNCERTAINTIES})


STANDARD = ("energy", "energies", "forces", "stress")


def _uncertainties(common: Sequence[str]) -> list[str]:
    found = ["energy_std"]
    found += ["energies_std"] if "energies" in common else []
    found += ["forces_std", "force_sigma", "forces_cov"] if "forces" in common else []
    return found + (["stress_std"] if "stress" in common else [])


def _prediction(calculator: Any, atoms: Atoms, wanted: Sequence[str]) -> Prediction:
    """Of one member, which works on its own copy of the atoms."""
    frame = atoms.copy()
    frame.calc = calculator
    values = {name: torch.as_tensor(np.asarray(calculator.get_property(name, frame), float)) for name in wanted}
    return Prediction(
        energy=values["energy"].reshape(1),
        energies=values.get("energies"),
        forces=values.get("forces"),
        stress=torch.as_tensor(full_stress(values["stress"].numpy()))[None] if "stress" in values else None,
    )
