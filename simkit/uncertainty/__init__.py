"""Uncertainty that wraps any potential, and is calibrated.

Names are imported when first used, so that settings can be checked without torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from simkit.uncertainty.base import Committee, UncertainPotential
    from simkit.uncertainty.calibrated import Calibrated
    from simkit.uncertainty.conformal_potential import Conformal
    from simkit.uncertainty.ensemble import Ensemble
    from simkit.uncertainty.llpr import LLPR
    from simkit.uncertainty.prediction import Provenance, Samples, UncertainPrediction

_HOMES = {
    "Calibrated": "simkit.uncertainty.calibrated",
    "Committee": "simkit.uncertainty.base",
    "Conformal": "simkit.uncertainty.conformal_potential",
    "Ensemble": "simkit.uncertainty.ensemble",
    "LLPR": "simkit.uncertainty.llpr",
    "Provenance": "simkit.uncertainty.prediction",
    "Samples": "simkit.uncertainty.prediction",
    "UncertainPotential": "simkit.uncertainty.base",
    "UncertainPrediction": "simkit.uncertainty.prediction",
}

__all__ = [
    "LLPR",
    "Calibrated",
    "Committee",
    "Conformal",
    "Ensemble",
    "Provenance",
    "Samples",
    "UncertainPotential",
    "UncertainPrediction",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'simkit.uncertainty' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
