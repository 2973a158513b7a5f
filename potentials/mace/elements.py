"""Changing the set of elements that a MACE was made for."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from simkit.errors import SimkitError
from simkit.potential import symbols
from simkit.potentials.mace.contraction import Contraction
from simkit.potentials.mace.linear import ElementLinear, Linear
from simkit.potentials.mace.model import MACE

EMBEDDINGS = ("node_embedding.linear", "source_embedding", "target_embedding")
"""Linear maps of the one-hot vector of an element."""


def with_elements(
    model: MACE, elements: Sequence[int], reference_energies: Sequence[Sequence[float]] | None = None
) -> MACE:
    """A MACE for other elements: shared ones behave as before, new ones start from random weights.

    Weights that are divided by the square root of the number of elements are rescaled, so that energies of systems of
    shared elements do not change if their reference energies do not.

    Args:
        model: the model to start from; it is not changed.
        elements: atomic numbers of the new model.
        reference_energies: energies of isolated atoms in eV, for each head and element; may be absent if there are no
            new elements.

    Raises:
        SimkitError: new elements without reference energies, or no shared elements.
    """
    known = model.capabilities.elements
    new = [number for number in elements if number not in known]
    if len(new) == len(elements):
        raise SimkitError(
            f"expected at least one of the elements of the model ({symbols(known)}): found {symbols(new)}"
        )
    if reference_energies is None:
        if new:
            raise SimkitError(f"expected reference energies, in eV, for the new elements {symbols(new)}; found none")
        kept = [known.index(number) for number in elements]
        reference_energies = model.reference_energies.values[:, kept].tolist()
    config = {**model.config(), "elements": list(elements), "reference_energies": reference_energies}
    result = MACE(**config).to(device=model.device, dtype=model.dtype)
    rows = [(place, known.index(number)) for place, number in enumerate(elements) if number in known]
    _copy(model, result, rows)
    return result.train(model.training)


@torch.no_grad()
def _copy(old: MACE, new: MACE, rows: list[tuple[int, int]]) -> None:
    sources, targets = _element_tensors(old), _element_tensors(new)
    kept = {*sources, "reference_energies.values"}
    shared = {name: value for name, value in old.state_dict().items() if name not in kept}
    new.load_state_dict({**new.state_dict(), **shared})
    here, there = (list(places) for places in zip(*rows, strict=True))
    growth = len(new.capabilities.elements) / len(old.capabilities.elements)
    for name, arrays in sources.items():
        factor = 1.0 if ".contractions." in name else growth**0.5
        for source, target in zip(arrays, targets[name], strict=True):
            target[here] = source[there] * factor


def _element_tensors(model: MACE) -> dict[str, list[Tensor]]:
    """Views, with the elements as first axis, of the parameters that belong to elements."""
    found: dict[str, list[Tensor]] = {}
    count = len(model.capabilities.elements)
    for name, module in model.named_modules():
        if isinstance(module, ElementLinear):
            found[f"{name}.weight"] = module.by_element()
        elif isinstance(module, Contraction) and model.architecture["element_weights"]:
            found |= {f"{name}.{key}": [weight] for key, weight in module.named_parameters()}
        elif isinstance(module, Linear) and name.endswith(EMBEDDINGS):
            found[f"{name}.weight"] = [module.weight.view(count, -1)]
    return found
