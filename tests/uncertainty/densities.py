"""Densities whose moments are known."""

from __future__ import annotations

import torch
from torch import Tensor

from simkit.uncertainty.target import Target


class Gaussian(Target):
    """Independent copies of ``U = xᵀ P x / 2`` in one vector: as many samples at each step."""

    def __init__(self, matrix: Tensor, copies: int = 64) -> None:
        self.matrix = matrix
        self.shape = (copies, len(matrix))

    @property
    def size(self) -> int:
        return 1

    @property
    def exact(self) -> bool:
        return True

    def evaluate(self, position: Tensor, step: int) -> tuple[Tensor, Tensor]:
        rows = position.view(self.shape)
        gradient = rows @ self.matrix
        return 0.5 * (rows * gradient).sum(), gradient.flatten()


class Regression(Target):
    """``y = X θ`` with Gaussian noise and a flat prior, by minibatches or with all data."""

    def __init__(self, batch: int | None, count: int = 200, width: int = 3) -> None:
        generator = torch.Generator().manual_seed(1)
        self.inputs = torch.randn(count, width, generator=generator)
        self.values = self.inputs @ torch.ones(width) + 0.3 * torch.randn(count, generator=generator)
        self.batch = batch

    @property
    def size(self) -> int:
        return len(self.values)

    @property
    def exact(self) -> bool:
        return self.batch is None

    @property
    def precision(self) -> Tensor:
        return self.inputs.T @ self.inputs / 0.09

    @property
    def optimum(self) -> Tensor:
        return torch.linalg.solve(self.precision, self.inputs.T @ self.values / 0.09)

    def evaluate(self, position: Tensor, step: int) -> tuple[Tensor, Tensor]:
        rows = torch.arange(self.size)
        if self.batch is not None:
            rows = torch.randperm(self.size, generator=torch.Generator().manual_seed(step))[: self.batch]
        inputs, share = self.inputs[rows], len(rows) / self.size
        errors = inputs @ position - self.values[rows]
        return 0.5 * errors.square().sum() / 0.09 / share, inputs.T @ errors / 0.09 / share
