"""An ASE calculator as a potential that others can wrap."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import CalculatorError, PropertyNotImplementedError
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from simkit.calculator import Calculator
from simkit.errors import SimkitError
from simkit.graph import Graph
from simkit.neighbours import Neighbours
from simkit.potential import STANDARD_OUTPUTS, AtomicOutput, Capabilities
from simkit.system import System
from simkit.uncertainty.ase_results import full_stress
from simkit.uncertainty.base import UncertainPotential
from simkit.uncertainty.committee_calculator import CommitteeCalculator
from simkit.uncertainty.prediction import Provenance, UncertainPrediction

Score = (
    Literal["own", "constant", "force-norm"] | Callable[[Atoms, Float[ndarray, "atoms 3"]], Float[ndarray, " atoms"]]
)
"""A number that grows with the error of the force on each atom: the calculator's own deviation, one, the size of the
force, or a function of atoms and forces."""

FLOOR = 0.05
"""Force in eV/Å that is added to the size of a force in quadrature, where it stands for an uncertainty."""

OWN = ("forces_cov", "energy_std", "stress_std")


class CalculatorPotential(UncertainPotential):
    """Energies, forces and stress of an ASE calculator, and a score of its errors, without looking into it.

    It takes a potential's place where nothing differentiates it: in dynamics at constant volume, in calibration and
    conformal prediction. Forces are those of the calculator.

    Args:
        calculator: any ASE calculator with energy and forces.
        score: see :data:`Score`; by default the calculator's own deviations if it has them, else a constant.

    Raises:
        SimkitError: the calculator gives no energies or forces, or no deviations though they are asked for.
    """

    kind: ClassVar[str] = "calculator"

    def __init__(self, calculator: Any, score: Score | None = None) -> None:
        properties = tuple(calculator.implemented_properties)
        name = type(calculator).__name__
        if not {"energy", "forces"} <= set(properties):
            raise SimkitError(
                f"expected a calculator with energy and forces, found {name} with {', '.join(properties) or 'none'}"
            )
        own = "forces_cov" in properties
        if score == "own" and not own:
            raise SimkitError(
                f"{name} does not tell deviations of its forces: use the score constant or force-norm, or a "
                "CommitteeCalculator of several calculators"
            )
        outputs = {key: value for key, value in STANDARD_OUTPUTS.items() if key in properties}
        super().__init__(
            Capabilities(0.5, math.inf, conservative=False, outputs=outputs, conditions=("charge", "spin"))
        )
        self.calculator = calculator
        self.score: Score = score or ("own" if own else "constant")

    @property
    def provenance(self) -> Provenance:
        """That of a committee or an uncertain potential within; otherwise a score."""
        if self.score == "own" and isinstance(self.calculator, CommitteeCalculator):
            return self.calculator.provenance
        if self.score == "own" and isinstance(self.calculator, Calculator):
            potential = self.calculator.potential
            assert isinstance(potential, UncertainPotential)
            return potential.provenance
        words = self.score if isinstance(self.score, str) else getattr(self.score, "__name__", "function")
        return Provenance(f"{words} score of {type(self.calculator).__name__}", "model")

    def forward(self, graph: Graph) -> AtomicOutput:
        """The energy in equal shares, or the calculator's energies of atoms, and its forces."""
        found = self.predict(graph.system, None, ("energy", "energies", "forces"))
        energies = found.energies
        if energies is None:
            energies = (found.energy / graph.system.counts)[graph.system.batch]
        return AtomicOutput(energies, forces=found.forces)

    def energy_variance(self, graph: Graph) -> Float[Tensor, " systems"]:
        """Refused: a calculator cannot be differentiated.

        Raises:
            SimkitError: always.
        """
        raise SimkitError(
            f"the variance of {type(self.calculator).__name__} cannot be differentiated, as a bias or a weighted "
            "baseline needs it: a calculator is a black box. Use an ensemble of simkit's potentials"
        )

    def predict(
        self,
        system: System,
        neighbours: Neighbours | None = None,
        outputs: Sequence[str] = ("energy", "forces"),
        *,
        samples: int = 0,
    ) -> UncertainPrediction:
        """What the calculator gives, system after system, with its own covariances or a score.

        Raises:
            SimkitError: the calculator failed, or samples are asked for.
        """
        if samples:
            raise SimkitError("a calculator has no samples: those of a committee are CommitteeCalculator.samples")
        frames = system.to_ase()
        parts = [self._results(frame, outputs) for frame in frames]

        def joined(name: str, per_system: bool = False) -> Tensor | None:
            if any(name not in part for part in parts):
                return None
            arrays = [np.asarray(part[name], float) for part in parts]
            return torch.as_tensor(np.stack(arrays) if per_system else np.concatenate(arrays)).to(system.positions)

        energy = torch.tensor([float(part["energy"]) for part in parts], dtype=torch.float64)
        stress, stress_std = joined("stress", True), joined("stress_std", True)
        return UncertainPrediction(
            energy,
            self.provenance,
            energies=joined("energies"),
            forces=joined("forces"),
            stress=stress,
            energy_std=joined("energy_std", True),
            forces_cov=joined("forces_cov"),
            stress_cov=None if stress_std is None else torch.diag_embed(stress_std.square()),
            score=joined("score"),
        )

    def config(self) -> dict[str, Any]:
        """Refused: a calculator is not part of model files.

        Raises:
            SimkitError: always.
        """
        raise SimkitError(
            f"{type(self.calculator).__name__} cannot be written to a model file: keep what was fitted with "
            "BlackBox.save, and make the calculator anew"
        )

    def _results(self, frame: Atoms, outputs: Sequence[str]) -> dict[str, Any]:
        wanted = [name for name in ("energy", "energies", "forces", "stress") if name in outputs or name == "energy"]
        if "stress" in wanted and not frame.pbc.all():
            wanted.remove("stress")
        wanted += [name for name in OWN if self.score == "own" and (name == "energy_std" or _of(name) in wanted)]
        known = [name for name in wanted if name in self.calculator.implemented_properties]
        frame.calc = self.calculator
        try:
            found = {name: self.calculator.get_property(name, frame) for name in known}
        except (CalculatorError, PropertyNotImplementedError) as error:
            raise SimkitError(f"{type(self.calculator).__name__} failed: {error}") from error
        if "stress" in found:
            found["stress"] = full_stress(found["stress"])
        if self.score != "own" and "forces" in found:
            found["score"] = scores(self.score, frame, found["forces"])
        return found


def scores(score: Score, atoms: Atoms, forces: Float[ndarray, "atoms 3"]) -> Float[ndarray, " atoms"]:
    """The score of each atom.

    Raises:
        SimkitError: a function returned something else than one positive number for each atom.
    """
    if score == "constant":
        return np.ones(len(atoms))
    if score == "force-norm":
        return np.sqrt(np.square(forces).sum(1) + FLOOR**2)
    assert callable(score)
    values = np.asarray(score(atoms, forces), float)
    if values.shape != (len(atoms),) or not (np.isfinite(values).all() and (values > 0).all()):
        raise SimkitError(f"expected one positive score for each of {len(atoms)} atoms, found {values!r:.200}")
    return values


def _of(name: str) -> str:
    return name.split("_")[0]
