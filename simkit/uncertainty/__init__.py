"""Uncertainty that wraps any potential, and is calibrated.

Names are imported when first used, so that settings can be checked without torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from simkit.uncertainty.base import Committee, UncertainPotential
    from simkit.uncertainty.black_box import BlackBox
    from simkit.uncertainty.calibrated import Calibrated
    from simkit.uncertainty.committee_calculator import CommitteeCalculator
    from simkit.uncertainty.conformal_potential import Conformal
    from simkit.uncertainty.domain_gate import DomainGate
    from simkit.uncertainty.ensemble import Ensemble
    from simkit.uncertainty.fit import fit_method
    from simkit.uncertainty.laplace import Laplace
    from simkit.uncertainty.latent_distance import LatentDistance
    from simkit.uncertainty.llpr import LLPR
    from simkit.uncertainty.mean_variance import MeanVariance
    from simkit.uncertainty.prediction import Provenance, Samples, UncertainPrediction
    from simkit.uncertainty.shallow_ensemble import ShallowEnsemble
    from simkit.uncertainty.stacked import StackedEnsemble

_HOMES = {
    "BlackBox": "simkit.uncertainty.black_box",
    "Calibrated": "simkit.uncertainty.calibrated",
    "Committee": "simkit.uncertainty.base",
    "CommitteeCalculator": "simkit.uncertainty.committee_calculator",
    "Conformal": "simkit.uncertainty.conformal_potential",
    "DomainGate": "simkit.uncertainty.domain_gate",
    "Ensemble": "simkit.uncertainty.ensemble",
    "LLPR": "simkit.uncertainty.llpr",
    "Laplace": "simkit.uncertainty.laplace",
    "LatentDistance": "simkit.uncertainty.latent_distance",
    "MeanVariance": "simkit.uncertainty.mean_variance",
    "Provenance": "simkit.uncertainty.prediction",
    "Samples": "simkit.uncertainty.prediction",
    "ShallowEnsemble": "simkit.uncertainty.shallow_ensemble",
    "StackedEnsemble": "simkit.uncertainty.stacked",
    "UncertainPotential": "simkit.uncertainty.base",
    "UncertainPrediction": "simkit.uncertainty.prediction",
    "fit_method": "simkit.uncertainty.fit",
}

__all__ = [
    "LLPR",
    "BlackBox",
    "Calibrated",
    "Committee",
    "CommitteeCalculator",
    "Conformal",
    "DomainGate",
    "Ensemble",
    "Laplace",
    "LatentDistance",
    "MeanVariance",
    "Provenance",
    "Samples",
    "ShallowEnsemble",
    "StackedEnsemble",
    "UncertainPotential",
    "UncertainPrediction",
    "fit_method",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'simkit.uncertainty' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
