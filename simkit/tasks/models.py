"""Model files as ASE calculators."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from ase.calculators.calculator import Calculator as AseCalculator

from simkit.errors import ModelFileError, SimkitError
from simkit.potential import Potential

DTYPES = {"float64": torch.float64, "float32": torch.float32}


def floating_type(name: str | None) -> torch.dtype | None:
    """The torch type of a name; None (a model's own) stays None.

    Raises:
        SimkitError: neither float64 nor float32.
    """
    if name is None:
        return None
    if name not in DTYPES:
        raise SimkitError(f"expected dtype float64 or float32, found {name}")
    return DTYPES[name]


def open_model(
    path: str | os.PathLike[str], *, device: str = "cpu", dtype: str | None = None, head: str | None = None
) -> Potential:
    """Load a model file, own or mace-torch's, for inference.

    Raises:
        ModelFileError: no such file, or one that holds no model that is supported.
    """
    from simkit.potentials.model_file import load_model

    if not Path(path).is_file():
        raise ModelFileError(f"expected a model file, found none at {path}: check the path")
    potential = load_model(path, device=device, dtype=floating_type(dtype), head=head)
    return potential.eval().requires_grad_(False)


def model_calculator(
    path: str | os.PathLike[str], *, device: str = "cpu", dtype: str | None = None, head: str | None = None
) -> AseCalculator:
    """A model file as an ASE calculator."""
    from simkit.calculator import Calculator

    return Calculator(open_model(path, device=device, dtype=dtype, head=head))
