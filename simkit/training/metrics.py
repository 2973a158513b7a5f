"""Mean and root-mean-square errors, exact over batches and processes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from ase.data import chemical_symbols
from jaxtyping import Float
from torch import Tensor

from simkit.datasets.base import Batch
from simkit.evaluation import Prediction
from simkit.training.loss import TERMS, LossSums, combine, force_rows, residuals
from simkit.training.processes import total
from simkit.units import ERROR_UNITS

if TYPE_CHECKING:
    from lightning_fabric import Fabric


class Errors:
    """Running sums ``Σ|e|``, ``Σe²`` and numbers of values, of each quantity and of the forces on each element.

    The errors are ratios of these sums, so they do not depend on how the frames were batched.

    Args:
        free_atoms_only: leave fixed atoms out.
        per_element: also split the forces' errors by element.
    """

    def __init__(
        self, device: torch.device | str = "cpu", *, free_atoms_only: bool = False, per_element: bool = False
    ) -> None:
        self.free_atoms_only = free_atoms_only
        self.per_element = per_element
        rows = len(TERMS) + (119 if per_element else 0)
        self.sums: Float[Tensor, "rows 3"] = torch.zeros((rows, 3), dtype=torch.float64, device=device)

    def update(self, prediction: Prediction, batch: Batch) -> None:
        """Add a batch."""
        for index, residual in enumerate(residuals(prediction.detach(), batch, self.free_atoms_only)):
            if residual is None:
                continue
            size = residual.abs()
            self.sums[index, 0] += size.sum()
            self.sums[index, 1] += size.square().sum()
            self.sums[index, 2] += residual.numel()
            if self.per_element and TERMS[index] == "forces":
                rows = len(TERMS) + batch.system.numbers[force_rows(batch, self.free_atoms_only)]
                parts = torch.stack([size.sum(1), size.square().sum(1), torch.full_like(size[:, 0], 3)], 1)
                self.sums.index_add_(0, rows, parts)

    def result(self) -> dict[str, float]:
        """Errors such as ``forces_mae_mev_per_ang``, of the quantities that were labelled."""
        errors: dict[str, float] = {}
        for index, row in enumerate(self.sums.tolist()):
            if row[2] == 0:
                continue
            quantity = TERMS[index] if index < len(TERMS) else "forces"
            unit = ERROR_UNITS[quantity][0]
            ending = "" if index < len(TERMS) else f"_{chemical_symbols[index - len(TERMS)]}"
            errors[f"{quantity}_mae_{unit}{ending}"] = 1e3 * row[0] / row[2]
            errors[f"{quantity}_rmse_{unit}{ending}"] = 1e3 * (row[1] / row[2]) ** 0.5
        return errors


class Running:
    """Loss and errors of the frames seen so far, in one process or in all.

    Args:
        fabric: the processes.
        free_atoms_only: leave the forces on fixed atoms out.
        per_element: also split the forces' errors by element.
    """

    def __init__(self, fabric: Fabric, *, free_atoms_only: bool, per_element: bool = False) -> None:
        self.fabric = fabric
        self.sums: Float[Tensor, "2 terms"] = torch.zeros((2, len(TERMS)), dtype=torch.float64, device=fabric.device)
        self.errors = Errors(fabric.device, free_atoms_only=free_atoms_only, per_element=per_element)

    def add(self, part: LossSums, prediction: Prediction, batch: Batch) -> None:
        """Take in a batch."""
        self.sums += torch.stack([part.sums.detach(), part.counts])
        self.errors.update(prediction, batch)

    def join(self) -> None:
        """Make the sums of this process those of all processes."""
        self.sums, self.errors.sums = total(self.fabric, self.sums), total(self.fabric, self.errors.sums)

    def loss(self, weights: Float[Tensor, " terms"]) -> float:
        """The loss of all frames as if they had been one batch."""
        return float(combine(self.sums[0], self.sums[1], weights))

    def note(self, weights: Float[Tensor, " terms"]) -> str:
        """Loss and errors as a short text."""
        errors = self.errors.result()
        parts = [f"loss {self.loss(weights):.3g}"]
        for name, unit in (("energy_mae_mev_per_atom", "meV/atom"), ("forces_mae_mev_per_ang", "meV/Å")):
            if name in errors:
                parts.append(f"{errors[name]:.1f} {unit}")
        return "  ".join(parts)

    def state_dict(self) -> dict[str, Any]:
        """The sums of all processes; to be called in all of them."""
        return {"sums": total(self.fabric, self.sums), "errors": total(self.fabric, self.errors.sums)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Give the first process the sums of all, and the others nothing."""
        if self.fabric.is_global_zero:
            self.sums, self.errors.sums = state["sums"], state["errors"]
