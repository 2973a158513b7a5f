"""Potentials for other elements than they were made for."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from simkit.errors import SimkitError
from simkit.potential import Potential, symbols
from simkit.potentials.mace import MACE, with_elements
from simkit.potentials.one_head import OneHead
from simkit.potentials.painn import PaiNN


def can_change_elements(potential: Potential) -> bool:
    """Whether :func:`with_other_elements` knows how: MACE, PaiNN, and one level of theory of these."""
    return isinstance(potential.potential if isinstance(potential, OneHead) else potential, MACE | PaiNN)


def with_other_elements(potential: Potential, elements: Sequence[int]) -> Potential:
    """The potential for other elements: shared ones behave as before, new ones have random weights and an E0 of zero.

    Args:
        potential: MACE, PaiNN, or one level of theory of these; it is not changed.
        elements: atomic numbers.

    Raises:
        SimkitError: another kind of potential, or no element in common.
    """
    if isinstance(potential, OneHead):
        return OneHead(with_other_elements(potential.potential, elements), potential.head)
    if isinstance(potential, MACE):
        return with_elements(potential, elements, _energies(potential, potential.reference_energies.values, elements))
    if isinstance(potential, PaiNN):
        return _painn(potential, elements)
    raise SimkitError(
        f"expected a mace or painn model to change the elements of, found {potential.kind}: say elements: keep"
    )


def _energies(potential: Potential, values: torch.Tensor, elements: Sequence[int]) -> list[list[float]]:
    known = potential.capabilities.elements
    return [[row[known.index(z)] if z in known else 0.0 for z in elements] for row in values.tolist()]


def _painn(model: PaiNN, elements: Sequence[int]) -> PaiNN:
    known = model.capabilities.elements
    shared = [number for number in elements if number in known]
    if not shared:
        raise SimkitError(
            f"expected at least one of the elements of the model ({symbols(known)}): found {symbols(elements)}"
        )
    energies = _energies(model, model.reference.values, elements)
    result = PaiNN(**{**model.config(), "elements": list(elements), "reference_energies": energies})
    result = result.to(device=model.device, dtype=model.dtype)
    own = ("embedding.weight", "reference.values")
    common = {name: value for name, value in model.state_dict().items() if name not in own}
    result.load_state_dict({**result.state_dict(), **common})
    with torch.no_grad():
        for number in shared:
            result.embedding.weight[elements.index(number)] = model.embedding.weight[known.index(number)]
    return result.train(model.training)
