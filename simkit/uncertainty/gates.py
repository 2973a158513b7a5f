"""Gates on the scalar channels of a potential, as factors of its parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from simkit.errors import SimkitError
from simkit.potential import Potential
from simkit.potentials.mace.linear import Linear
from simkit.uncertainty.parameters import ParameterVector

SCALAR_LAYERS: Mapping[str, tuple[str, ...]] = {
    "mace": ("products.*.linear", "readouts.*.linear_1"),
    "painn": ("messages.*.scalar.0", "updates.*.gates.0", "readout.0"),
}
"""Linear layers, by kind of potential, whose outputs are invariant hidden channels of atoms."""

NORMS = (nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, nn.BatchNorm1d)


@dataclass(frozen=True)
class Gates:
    """Which parameters each gate multiplies.

    A channel ``y_k = W_k x + b_k`` with a gate ``1 + ε_k`` is the channel with the row and the bias ``(1 + ε_k) W_k``,
    ``(1 + ε_k) b_k``; that of a normalisation, ``γ_k (x-μ)/σ + β_k``, has ``(1 + ε_k) γ_k``. So a potential with gates
    *is* the potential with other parameters, and a draw of ε is shared by all atoms, held fixed while one
    differentiates, and invariant.

    Attributes:
        entries: positions in the vector of parameters.
        gate: the gate of each entry.
        count: number of gates.
    """

    entries: Int[Tensor, " entries"]
    gate: Int[Tensor, " entries"]
    count: int

    def factors(self, noise: Float[Tensor, " gates"], size: int) -> Float[Tensor, " parameters"]:
        """``1 + ε`` for the parameters of each gate and 1 for all others."""
        factors = torch.ones(size, dtype=noise.dtype)
        factors[self.entries] = 1 + noise[self.gate]
        return factors


def find_gates(vector: ParameterVector, layers: Sequence[str] | None = None) -> Gates:
    """Gates of a potential: those of its normalisation layers or, if it has none, one for each hidden scalar channel.

    Args:
        vector: the potential's parameters.
        layers: patterns of names of linear layers with invariant outputs, where neither is known.

    Raises:
        SimkitError: a potential without known layers, or patterns that match no linear layer.
    """
    entries, gates, count = [], [], 0
    for rows in _rows(vector, layers):
        for entry, gate in rows:
            entries.append(entry)
            gates.append(gate + count)
        count += 1 + max(int(gate.max()) for _, gate in rows)
    return Gates(torch.cat(entries), torch.cat(gates), count)


def _rows(
    vector: ParameterVector, layers: Sequence[str] | None
) -> list[list[tuple[Int[Tensor, " entries"], Int[Tensor, " entries"]]]]:
    """For each layer, for each of its gated tensors, positions in the vector and gates within the layer."""
    potential = vector.potential
    places = _places(vector)
    found = [] if layers is not None else list(_norms(potential))
    if not found:
        found = list(_linear_layers(potential, layers))
    rows = []
    for name, module in found:
        own = [one for one in _gated(module) if f"{name}.{one[0]}" in places]
        if own:
            rows.append([(places[f"{name}.{key}"] + inside, gate) for key, inside, gate in own])
    if not rows:
        raise SimkitError(
            f"no trained layers with scalar channels are known of this {potential.kind} potential: name its linear "
            "layers whose outputs are invariant, by patterns"
        )
    return rows


def _places(vector: ParameterVector) -> dict[str, int]:
    """Where each parameter begins."""
    sizes = torch.tensor([0, *[parameter.numel() for parameter in vector.parameters]])
    return dict(zip(vector.names, sizes.cumsum(0).tolist(), strict=False))


def _norms(potential: Potential) -> Iterator[tuple[str, nn.Module]]:
    for name, module in potential.named_modules():
        if isinstance(module, NORMS) and isinstance(module.weight, nn.Parameter):
            yield name, module


def _linear_layers(potential: Potential, layers: Sequence[str] | None) -> Iterator[tuple[str, nn.Module]]:
    """Linear layers that match patterns, or the known ones of every potential within wrappers."""
    if layers is not None:
        wanted = [(potential, "", tuple(layers))]
    else:
        wanted = [
            (module, f"{name}." if name else "", SCALAR_LAYERS[module.kind])
            for name, module in potential.named_modules()
            if isinstance(module, Potential) and module.kind in SCALAR_LAYERS
        ]
    for root, prefix, patterns in wanted:
        for name, module in root.named_modules():
            if isinstance(module, nn.Linear | Linear) and any(fnmatchcase(name, pattern) for pattern in patterns):
                yield prefix + name, module


def _gated(module: nn.Module) -> list[tuple[str, Int[Tensor, " entries"], Int[Tensor, " entries"]]]:
    """Names of tensors, positions within them, and the gates of these; of equivariant maps the scalars alone."""
    if isinstance(module, nn.Linear):
        outputs, inputs = module.weight.shape
        rows = torch.arange(outputs * inputs)
        own = [("weight", rows, rows // inputs)]
        return own if module.bias is None else [*own, ("bias", torch.arange(outputs), torch.arange(outputs))]
    if isinstance(module, Linear):
        inputs, outputs = module.shapes[0]
        columns = torch.arange(inputs * outputs)
        return [("weight", columns, columns % outputs)]
    assert isinstance(module, NORMS)
    channels = torch.arange(module.weight.numel())
    return [("weight", channels, channels)]
