"""Readouts: from invariant features to an energy for each level of theory (head)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from e3nn.math import normalize2mom
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from simkit.errors import SimkitError
from simkit.potentials.mace.linear import SILU_NORM, Linear


class LinearReadout(nn.Module):
    """``ε = W h/√channels``."""

    def __init__(self, channels: int, n_heads: int) -> None:
        super().__init__()
        self.linear = Linear((channels,), (n_heads,))

    def forward(
        self, scalars: Float[Tensor, "atoms channels"], head: Int[Tensor, " atoms"]
    ) -> tuple[Float[Tensor, " atoms"], Float[Tensor, "atoms channels"]]:
        """Energy of each atom for its head, and its derivatives with respect to the weights W of that head."""
        energies = self.linear([scalars])[0].gather(1, head[:, None])[:, 0]
        return energies, scalars * scalars.shape[1] ** -0.5


class NonLinearReadout(nn.Module):
    """``ε = W₂ c·g(W₁ h)`` with one block of hidden units for each head; an atom uses its own head's block.

    Args:
        channels: of the features.
        width: hidden units of each head.
        n_heads: number of heads.
        gate: nonlinearity g; c normalises its second moment.
    """

    def __init__(self, channels: int, width: int, n_heads: int, gate: str) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.gate, self.norm = _gate(gate)
        self.linear_1 = Linear((channels,), (width * n_heads,))
        self.linear_2 = Linear((width * n_heads,), (n_heads,))

    def forward(
        self, scalars: Float[Tensor, "atoms channels"], head: Int[Tensor, " atoms"]
    ) -> tuple[Float[Tensor, " atoms"], Float[Tensor, "atoms width"]]:
        """Energy of each atom for its head, and its derivatives with respect to the weights W₂ of that head."""
        hidden = own = self.norm * self.gate(self.linear_1([scalars])[0])
        if self.n_heads > 1:
            blocks = hidden.unflatten(1, (self.n_heads, -1))
            masked = blocks * functional.one_hot(head, self.n_heads).to(hidden.dtype)[:, :, None]
            hidden, own = masked.flatten(1), masked.sum(1)
        energies = self.linear_2([hidden])[0].gather(1, head[:, None])[:, 0]
        return energies, own * hidden.shape[1] ** -0.5


def _gate(name: str) -> tuple[Callable[[Tensor], Tensor], float]:
    if name == "silu":
        return functional.silu, SILU_NORM
    functions = {"tanh": torch.tanh, "abs": torch.abs}
    if name not in functions:
        raise SimkitError(f"expected a gate among silu, tanh, abs; found {name!r}")
    return functions[name], normalize2mom(functions[name]).cst
