"""simkit: scientific simulation on PyTorch.

Interatomic potentials, molecular dynamics and PDE solvers that share one small set of contracts. Names are imported
when first used, so that ``import simkit`` stays fast.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from simkit.calculator import Calculator
    from simkit.evaluation import Prediction, evaluate
    from simkit.neighbours import NeighbourList, Neighbours, build_neighbours
    from simkit.potential import Potential
    from simkit.potentials.model_file import load_model, save_model
    from simkit.system import System

_HOMES = {
    "Calculator": "simkit.calculator",
    "NeighbourList": "simkit.neighbours",
    "Neighbours": "simkit.neighbours",
    "Potential": "simkit.potential",
    "Prediction": "simkit.evaluation",
    "System": "simkit.system",
    "build_neighbours": "simkit.neighbours",
    "evaluate": "simkit.evaluation",
    "load_model": "simkit.potentials.model_file",
    "save_model": "simkit.potentials.model_file",
}

__all__ = [
    "Calculator",
    "NeighbourList",
    "Neighbours",
    "Potential",
    "Prediction",
    "System",
    "build_neighbours",
    "evaluate",
    "load_model",
    "save_model",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'simkit' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
