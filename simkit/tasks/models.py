"""Model files, opened for inference."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from ase import Atoms

from simkit.calculator import Calculator
from simkit.errors import InvalidSystemError, SimkitError
from simkit.evaluation import Prediction, evaluate
from simkit.neighbours import Neighbours
from simkit.potential import IgnoredConditions, Potential, require_elements
from simkit.potentials.model_file import load_model
from simkit.system import System
from simkit.tasks.frames import naming
from simkit.uncertainty.base import UncertainPotential
from simkit.uncertainty.prediction import UncertainPrediction

T = TypeVar("T")


def open_model(
    path: str | os.PathLike[str], *, device: str = "cpu", dtype: str | None = None, head: str | None = None
) -> Potential:
    """Load a model file, own or mace-torch's, for inference.

    Raises:
        ModelFileError: no such file, or one that holds no model that is supported.
    """
    potential = load_model(path, device=device, dtype=dtype, head=head)
    return potential.requires_grad_(False)


def foresee(
    potential: Potential, system: System, neighbours: Neighbours | None, outputs: Sequence[str]
) -> Prediction | UncertainPrediction:
    """What a potential predicts, with its uncertainty if it tells one."""
    if isinstance(potential, UncertainPotential):
        return potential.predict(system, neighbours, outputs)
    return evaluate(potential, system, neighbours, outputs)


def model_calculator(
    path: str | os.PathLike[str], *, device: str = "cpu", dtype: str | None = None, head: str | None = None
) -> Calculator:
    """A model file as an ASE calculator."""
    return Calculator(path, device=device, dtype=dtype, head=head)


def require_usable(potential: Potential, atoms: Atoms, name: str, ignored: IgnoredConditions | None = None) -> None:
    """Check a structure without evaluating it: atoms, elements, positions and cell, and what would be ignored of it.

    Raises:
        UnsupportedElementError, InvalidSystemError: naming the structure.
    """
    with naming(name):
        if len(atoms) == 0:
            raise InvalidSystemError("expected at least one atom, found none")
        system = System.from_ase(atoms)
        require_elements(potential, system)
    if ignored is not None:
        ignored.look_at(system, name)


def grouped_by_atoms(items: Iterable[T], count: Callable[[T], int], budget: int) -> Iterator[list[T]]:
    """Consecutive items in lists of at most ``budget`` atoms, or of one item that has more.

    Raises:
        SimkitError: the budget is not positive.
    """
    if budget <= 0:
        raise SimkitError(f"expected a positive number of atoms in a batch, found {budget}")
    group: list[T] = []
    atoms = 0
    for item in items:
        if group and atoms + count(item) > budget:
            yield group
            group, atoms = [], 0
        group.append(item)
        atoms += count(item)
    if group:
        yield group
