"""Uncertain potentials whose deviations were scaled to errors on held-out data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from simkit.errors import SimkitError
from simkit.graph import Graph
from simkit.neighbours import Neighbours
from simkit.potential import AtomicOutput, Potential
from simkit.system import System
from simkit.uncertainty.base import UncertainPotential, require_uncertain
from simkit.uncertainty.calibration_maps import CalibrationMap, GlobalMap, map_from_config
from simkit.uncertainty.prediction import Provenance, Samples, UncertainPrediction


class Calibrated(UncertainPotential):
    """An uncertain potential with a calibration map.

    A global map multiplies all deviations by one factor α: ``E + α (E_s - E)`` for the energy, forces and stress of
    each sample s, so that its forces stay derivatives of its energy; covariances grow by α².

    A local map turns the deviation σ of the force on an atom into the calibrated one. It says nothing about energies
    and stresses, and has no samples: these are then None. Any map turns a score into the σ of an isotropic covariance.

    Args:
        potential: a method with deviations or scores, not yet calibrated.
        calibration: a map, fitted to errors of this potential on data that it has not seen.

    Raises:
        SimkitError: a potential that is calibrated already.

    References: F. Musil et al., J. Chem. Theory Comput. 15, 906 (2019), doi:10.1021/acs.jctc.8b00959; G. Imbalzano et
    al., J. Chem. Phys. 154, 074102 (2021), doi:10.1063/5.0036522.
    """

    kind: ClassVar[str] = "calibrated"

    def __init__(self, potential: UncertainPotential, calibration: CalibrationMap) -> None:
        if require_uncertain(potential).provenance.calibrated:
            raise SimkitError(
                f"expected a potential that is not calibrated, found {potential.provenance.calibration}: calibrate the "
                "potential within it"
            )
        facts = potential.capabilities
        citations = tuple(dict.fromkeys((*facts.citations, *calibration.citations)))
        super().__init__(replace(facts, citations=citations))
        self.potential = potential
        self.calibration = calibration

    @property
    def provenance(self) -> Provenance:
        """That of the method, with the name of the calibration."""
        return replace(self.potential.provenance, calibrated=True, calibration=self.calibration.identifier)

    def forward(self, graph: Graph) -> AtomicOutput:
        """What the potential returns."""
        return self.potential(graph)

    def energy_variance(self, graph: Graph) -> Float[Tensor, " systems"]:
        """``α² σ_E²`` in eV².

        Raises:
            SimkitError: a local map, which calibrates forces alone; or the method gives scores only.
        """
        return self._factor() ** 2 * self.potential.energy_variance(graph)

    def predict(
        self,
        system: System,
        neighbours: Neighbours | None = None,
        outputs: Sequence[str] = ("energy", "forces"),
        *,
        samples: int = 0,
    ) -> UncertainPrediction:
        """The potential's prediction with calibrated deviations, and intervals of any level.

        Raises:
            SimkitError: samples are asked of a local map.
        """
        local = not isinstance(self.calibration, GlobalMap)
        if local and samples:
            self._factor()
        raw = self.potential.predict(system, neighbours, outputs, samples=samples)
        only_score = raw.forces_cov is None and raw.score is not None
        found = self._of_forces(raw) if local or only_score else scaled(raw, self._factor())
        return replace(found, provenance=self.provenance, rule=self.calibration.rule(raw.provenance.dof))

    def config(self) -> dict[str, Any]:
        """Specification of the potential, and the map."""
        return {"potential": self.potential.specification(), "calibration": self.calibration.config()}

    @classmethod
    def from_config(cls, config: dict[str, Any], build: Callable[[dict[str, Any]], Potential]) -> Calibrated:
        """Rebuild the potential, then its map."""
        return cls(require_uncertain(build(config["potential"])), map_from_config(config["calibration"]))

    def _factor(self) -> float:
        if isinstance(self.calibration, GlobalMap):
            return self.calibration.alpha
        raise SimkitError(
            f"the calibration {self.calibration.identifier} is local: it knows the deviations of forces, not those of "
            "energies or samples. Calibrate with a global map, such as 'nll'"
        )

    def _of_forces(self, raw: UncertainPrediction) -> UncertainPrediction:
        """Covariances of the forces with ``√(tr cov / 3)`` mapped, isotropic where there are scores alone."""
        sigma = raw.score if raw.force_sigma is None else raw.force_sigma
        covariance = None
        if sigma is not None and raw.forces is not None:
            mapped = torch.from_numpy(self.calibration(sigma.double().cpu().numpy())).to(sigma)
            shape = torch.eye(3, dtype=sigma.dtype, device=sigma.device).expand(len(sigma), 3, 3)
            if raw.forces_cov is not None:
                known = (sigma > 0)[:, None, None]
                shape = torch.where(known, raw.forces_cov / sigma.square()[:, None, None], shape)
            covariance = mapped.square()[:, None, None] * shape
        return replace(
            raw,
            forces_cov=covariance,
            energy_std=None,
            energies_std=None,
            stress_cov=None,
            aleatoric_energy_std=None,
            epistemic_energy_std=None,
        )


def scaled(raw: UncertainPrediction, factor: float) -> UncertainPrediction:
    """The prediction with all deviations, also those of samples, multiplied by a factor."""

    def times(value: Tensor | None, by: float) -> Tensor | None:
        return None if value is None else by * value

    return replace(
        raw,
        energy_std=times(raw.energy_std, factor),
        energies_std=times(raw.energies_std, factor),
        forces_cov=times(raw.forces_cov, factor**2),
        stress_cov=times(raw.stress_cov, factor**2),
        aleatoric_energy_std=times(raw.aleatoric_energy_std, factor),
        epistemic_energy_std=times(raw.epistemic_energy_std, factor),
        samples=None if raw.samples is None else _stretched(raw.samples, raw, factor),
    )


def _stretched(samples: Samples, raw: UncertainPrediction, factor: float) -> Samples:
    """``y + α (y_s - y)`` for the energy, forces and stress."""

    def stretched(values: Tensor | None, mean: Tensor | None) -> Tensor | None:
        return None if values is None or mean is None else mean + factor * (values - mean)

    return Samples(
        energy=raw.energy + factor * (samples.energy - raw.energy),
        forces=stretched(samples.forces, raw.forces),
        stress=stretched(samples.stress, raw.stress),
    )
