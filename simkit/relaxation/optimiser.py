"""The contract of an optimiser: pure steps over (state, variables, forces) of many systems."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Generic, TypeVar

from jaxtyping import Bool, Float
from torch import Tensor

from simkit.relaxation.rows import Rows


class OptimiserState(ABC):
    """What an optimiser remembers of each system of a batch."""

    @abstractmethod
    def select(self, rows: Bool[Tensor, " rows"], systems: Bool[Tensor, " systems"]) -> OptimiserState:
        """The memory of some of the systems, with the rows that belong to them."""

    @abstractmethod
    def join(self, other: Any) -> OptimiserState:
        """The memory of these systems followed by that of others, of the same kind."""

    @abstractmethod
    def tensors(self) -> dict[str, Tensor]:
        """Everything by name, for a checkpoint."""


S = TypeVar("S", bound=OptimiserState)


class Optimiser(ABC, Generic[S]):
    """Steps towards a minimum. Each system is treated as if it were alone."""

    name: ClassVar[str]
    citation: ClassVar[str]

    @property
    @abstractmethod
    def bytes_per_row(self) -> float:
        """Memory that a row of the variables needs in the optimiser."""

    @abstractmethod
    def start(self, x: Float[Tensor, "rows 3"], rows: Rows) -> S:
        """The memory of systems that have made no step."""

    @abstractmethod
    def step(
        self, state: S, rows: Rows, x: Float[Tensor, "rows 3"], forces: Float[Tensor, "rows 3"]
    ) -> tuple[S, Float[Tensor, "rows 3"]]:
        """The next memory and variables.

        Args:
            state: memory.
            rows: which row belongs to which system.
            x: variables in Å.
            forces: negative derivative of the energy with respect to them, in eV/Å.
        """

    @abstractmethod
    def restore(self, tensors: dict[str, Tensor]) -> S:
        """The state that :meth:`OptimiserState.tensors` described."""
