"""Tensors of a mace-torch model under the names and in the layout of simkit's MACE."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from simkit.potentials.mace.couplings import polynomial_coefficients
from simkit.potentials.mace_torch.configuration import unsupported

RENAMED = (
    (r"(node_embedding|interactions\.\d+|readouts\.\d+|products\.\d+\.linear)\.(.*)", r"\1.\2"),
    (r"(products\.\d+\.symmetric_contractions\.contractions\.\d+\.weights.*)", r"\1"),
    (r"radial_embedding\.bessel_fn\.bessel_weights", "radial_embedding.basis.frequencies"),
    (r"radial_embedding\.bessel_fn\.gaussian_weights", "radial_embedding.basis.centres"),
    (r"radial_embedding\.bessel_fn\.prefactor", "radial_embedding.basis.prefactor"),
    (r"radial_embedding\.distance_transform\.covalent_radii", "radial_embedding.transform.radii"),
    (r"radial_embedding\.distance_transform\.alpha", "radial_embedding.transform.steepness"),
    (r"radial_embedding\.distance_transform\.([aqp])", r"radial_embedding.transform.\1"),
    (r"pair_repulsion_fn\.c", "pair_repulsion.coefficients"),
    (r"pair_repulsion_fn\.a_exp", "pair_repulsion.exponent"),
    (r"pair_repulsion_fn\.a_prefactor", "pair_repulsion.length"),
    (r"pair_repulsion_fn\.covalent_radii", "pair_repulsion.radii"),
)
"""Pattern of a name in mace-torch -> name here."""

IN_CONFIGURATION = re.compile(
    r"atomic_numbers|num_interactions|(.*\.)?r_max|radial_embedding\.cutoff_fn\.p|radial_embedding\.bessel_fn\.n"
    r"|pair_repulsion_fn\.p|atomic_energies_fn\.atomic_energies|scale_shift\.(scale|shift)"
    r"|.*\.output_mask|.*\.weights_(\d+|max)_zeroed|.*_w3j_\d_\d_\d"
)
"""Tensors whose values are constructor arguments here, or which follow from them."""

COUPLING = re.compile(r"(products\.\d+\.symmetric_contractions\.contractions\.\d+)\.U_matrix_(\d+)")


def translate(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state of simkit's MACE, in float64.

    Args:
        tensors: of the mace-torch model.
        expected: state of the MACE that was built for it, with exact constants.

    Raises:
        ModelFileError: the model has tensors that simkit's MACE does not have, or lacks some.
    """
    state: dict[str, Tensor] = {}
    couplings: dict[str, Tensor] = {}
    unknown = []
    for name, tensor in tensors.items():
        new = _renamed(name)
        coupling = COUPLING.fullmatch(name)
        if coupling is not None:
            couplings[f"{coupling[1]}.coupling_{coupling[2]}"] = _coefficients(tensor, int(coupling[2]))
        elif new is not None and new in expected:
            state[new] = tensor.double()
        elif tensor.numel() > 0 and IN_CONFIGURATION.fullmatch(name) is None:
            unknown.append(name)
    for name in ("reference_energies.values", "scale_shift.scale", "scale_shift.shift"):
        state[name] = expected[name]
    _add_couplings(state, couplings, expected)
    missing = sorted(set(expected) - set(state))
    wrong = sorted(name for name in set(expected) & set(state) if expected[name].shape != state[name].shape)
    if unknown or missing or wrong:
        parts = [f"{what} {', '.join(names[:5])}" for what, names in _named(unknown, missing, wrong) if names]
        raise unsupported("; ".join(parts))
    return state


def _named(unknown: list[str], missing: list[str], wrong: list[str]) -> list[tuple[str, list[str]]]:
    return [("the unknown tensors", unknown), ("no tensors", missing), ("another shape of the tensors", wrong)]


def _renamed(name: str) -> str | None:
    for pattern, replacement in RENAMED:
        match = re.fullmatch(pattern, name)
        if match is not None:
            return match.expand(replacement)
    return None


def _coefficients(couplings: Tensor, order: int) -> Float[Tensor, "paths components size monomials"]:
    """The stored couplings, as they are; those to scalars lack the axis of components."""
    couplings = couplings.double()
    return polynomial_coefficients(couplings if couplings.dim() == order + 2 else couplings[None])


def _add_couplings(state: dict[str, Tensor], couplings: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Models made with a reduced set of couplings get the weights that mean the same in the full set."""
    for name, stored in couplings.items():
        if name not in expected or stored.shape == expected[name].shape:
            state[name] = stored
            continue
        weights = _weights_of(name, couplings)
        if weights in state and state[weights].dim() == 3 and state[weights].shape[1] == stored.shape[0]:
            state[weights] = in_other_couplings(state[weights], stored, expected[name])
            state[name] = expected[name]


def _weights_of(name: str, couplings: Mapping[str, Tensor]) -> str:
    prefix, _, order = name.rpartition(".coupling_")
    highest = sum(key.startswith(f"{prefix}.") for key in couplings)
    return f"{prefix}.weights_max" if int(order) == highest else f"{prefix}.weights.{highest - 1 - int(order)}"


def in_other_couplings(
    weights: Float[Tensor, "elements old channels"],
    old: Float[Tensor, "old components size monomials"],
    new: Float[Tensor, "new components size monomials"],
) -> Float[Tensor, "elements new channels"]:
    """Weights W' with ``Σ_k W'_k new_k = Σ_k W_k old_k``: the same polynomials in other couplings.

    Raises:
        ModelFileError: the new couplings do not span the old ones.
    """
    # new^T M = old^T, solved by the pseudo-inverse because the couplings of the full set are linearly dependent
    mixing = torch.linalg.pinv(new.flatten(1).T, rtol=1e-10) @ old.flatten(1).T
    error = (new.flatten(1).T @ mixing - old.flatten(1).T).abs().max()
    if error > 1e-5 * old.abs().max():
        raise unsupported(f"couplings that simkit's MACE does not have (error {float(error):.1e})")
    return torch.einsum("nk,zkc->znc", mixing, weights)
