"""The trained parameters of a potential as one flat vector."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from copy import deepcopy
from fnmatch import fnmatchcase

import torch
from jaxtyping import Float, Int
from torch import Tensor

from simkit.errors import SimkitError
from simkit.potential import Potential
from simkit.training.optimiser import trainable


class ParameterVector:
    """Reads and writes the parameters that are trained (those that require gradients), in float64.

    Args:
        potential: changed in place by :meth:`write`.

    Raises:
        SimkitError: nothing to train.
    """

    def __init__(self, potential: Potential) -> None:
        self.potential = potential
        self.parameters = trainable(potential)
        self.names = [name for name, parameter in potential.named_parameters() if parameter.requires_grad]
        if not self.parameters:
            raise SimkitError(
                f"this {potential.kind} potential has no trained parameters, so there is nothing to sample: take a "
                "learned potential, and do not freeze all of it"
            )

    @property
    def size(self) -> int:
        """Number of entries."""
        return sum(parameter.numel() for parameter in self.parameters)

    @torch.no_grad()
    def read(self) -> Float[Tensor, " parameters"]:
        """A copy of the present values."""
        return torch.cat([parameter.double().flatten() for parameter in self.parameters])

    @torch.no_grad()
    def write(self, values: Float[Tensor, " parameters"]) -> None:
        """Set the parameters, rounded to their floating-point type."""
        parts = values.split([parameter.numel() for parameter in self.parameters])
        for parameter, part in zip(self.parameters, parts, strict=True):
            parameter.copy_(part.view_as(parameter))

    def gradient(self, value: Float[Tensor, ""]) -> Float[Tensor, " parameters"]:
        """Derivative of a scalar by the parameters; zero for those that it does not depend on."""
        if not value.requires_grad:
            return torch.zeros(self.size, dtype=torch.float64, device=value.device)
        parts = torch.autograd.grad(value, self.parameters, materialize_grads=True)
        return torch.cat([part.double().flatten() for part in parts])

    def matching(self, patterns: Sequence[str]) -> list[str]:
        """Names of the parameters that match a pattern (``*`` is any text).

        Raises:
            SimkitError: a pattern that matches none.
        """
        for pattern in patterns:
            if not any(fnmatchcase(name, pattern) for name in self.names):
                shown = ", ".join(self.names[:12])
                raise SimkitError(f"no trained parameter is called like '{pattern}'; the names are {shown}")
        return [name for name in self.names if any(fnmatchcase(name, pattern) for pattern in patterns)]

    def indices(self, names: Collection[str]) -> Int[Tensor, " selected"]:
        """Positions in the vector of the parameters with these names, ascending."""
        chosen = [name in names for name in self.names]
        sizes = torch.tensor([parameter.numel() for parameter in self.parameters])
        return torch.nonzero(torch.repeat_interleave(torch.tensor(chosen), sizes))[:, 0]

    def copies(self, draws: Float[Tensor, "draws parameters"]) -> list[Potential]:
        """A copy of the potential, buffers included, for each row of parameters."""
        before = self.read()
        members = []
        for draw in draws:
            self.write(draw)
            members.append(deepcopy(self.potential))
        self.write(before)
        return members
