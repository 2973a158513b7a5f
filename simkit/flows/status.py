"""What became of each system of a batch, and the conditions that stop one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Generic, TypeVar

from jaxtyping import Bool
from torch import Tensor

S = TypeVar("S")


class Status(StrEnum):
    """State of one system of a run."""

    RUNNING = "running"
    FINISHED = "finished"
    NOT_FINITE = "not finite"
    EXPLODED = "exploded"
    LOST_ATOMS = "lost atoms"
    UNCERTAIN = "uncertain"
    FAILED = "failed"

    @property
    def stopped(self) -> bool:
        """Whether the system had to stop before the end."""
        return self not in (Status.RUNNING, Status.FINISHED)


@dataclass(frozen=True)
class Outcome:
    """What became of one system.

    Attributes:
        status: how it ended.
        steps: number of good steps; its state is the one after them.
        problem: why it stopped and what to do, empty if it did not.
    """

    status: Status = Status.RUNNING
    steps: int = 0
    problem: str = ""


@dataclass(frozen=True)
class Stop(Generic[S]):
    """The wish of an observer that a system goes back to an earlier state, and stays there.

    Attributes:
        status: of the system from now on.
        steps: number of steps after which it was in that state.
        state: of all systems; that of the one that stops is taken from it.
        problem: why, and what to do.
    """

    status: Status
    steps: int
    state: S
    problem: str


class Guard(ABC, Generic[S]):
    """A condition under which a system must stop."""

    status: ClassVar[Status]
    """Of the systems that it stops."""

    @abstractmethod
    def failed(self, before: S, after: S) -> Bool[Tensor, " systems"]:
        """Which systems must stop, judged by a state and an earlier one (the same, at the start)."""

    @abstractmethod
    def explain(self, before: S, after: S, system: int) -> str:
        """What is wrong with a system, and what to do, as sentences that follow "At step 7 "."""
