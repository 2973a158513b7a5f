"""What watches a run: functions that are called every so many steps, and files that grow."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar

from simkit.errors import SimkitError
from simkit.flows.status import Stop

S = TypeVar("S")


class Observer(ABC, Generic[S]):
    """Something that is shown the state at step 0 and every ``every`` steps.

    States that an observer sees have passed all guards.
    """

    every: int

    def begin(self, state: S, saved: Any | None) -> None:
        """Called before the first step.

        ``saved`` is what :meth:`save` of the observer of this class gave where the run continues, in order if there are
        several; None if the run is new, or had none.
        """

    @abstractmethod
    def observe(self, step: int, state: S, running: Sequence[bool]) -> None:
        """Look at the state after ``step`` steps; systems that are not ``running`` stand still since they stopped."""

    def stops(self) -> Mapping[int, Stop[S]]:
        """Systems that must stop because of what was seen last; asked after each look. By default none."""
        return {}

    def save(self) -> Any:
        """Bring everything to the disk; what :meth:`begin` needs to continue from here, JSON-compatible."""

    def close(self) -> None:
        """Called at the end, also after an error."""


class Every(Observer[S]):
    """Calls ``function(step, state)`` every ``every`` steps."""

    def __init__(self, every: int, function: Callable[[int, S], object]) -> None:
        if every < 1:
            raise SimkitError(f"expected a number of steps of at least 1 between two calls, found {every}")
        self.every = every
        self.function = function

    def observe(self, step: int, state: S, running: Sequence[bool]) -> None:
        """Call the function."""
        self.function(step, state)
