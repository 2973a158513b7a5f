"""A run in progress: blocks of steps, what is found wrong in them, and who watches."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Generic, Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Bool
from torch import Tensor

from simkit.errors import SimkitError
from simkit.flows.checkpoint import Checkpoint, Saved, generator_states, restore_generators
from simkit.flows.flow import Flow
from simkit.flows.observers import Observer
from simkit.flows.status import Guard, Outcome, Status, Stop

T = TypeVar("T")


@runtime_checkable
class State(Protocol):
    """A frozen dataclass of tensors that holds a batch of systems."""

    @property
    def n_systems(self) -> int:
        """Number of systems."""

    def finite(self) -> Bool[Tensor, " systems"]:
        """Whether all numbers of each system are finite."""

    def merged(self: T, other: T, taken: Bool[Tensor, " systems"]) -> T:
        """The systems of this state, with those that are ``taken`` from another state of them."""


S = TypeVar("S", bound=State)


_FAILURES = (SimkitError, RuntimeError, ArithmeticError)
"""What flows raise on systems that have gone wrong: simkit, torch, neighbour searches and ASE's calculators."""


def _require_failure(error: Exception) -> None:
    """Raise errors again that are not the fault of a system."""
    if isinstance(error, torch.OutOfMemoryError | NotImplementedError | RecursionError):
        raise error


class Run(Generic[S]):
    """The loop of :func:`simkit.flows.integrate`, whose arguments these are."""

    def __init__(
        self,
        flow: Flow[S],
        state: S,
        dt: Tensor,
        observers: Sequence[Observer[S]],
        guards: Sequence[Guard[S]],
        checkpoint: Checkpoint | None,
        generators: Sequence[torch.Generator],
    ) -> None:
        self.flow, self.state, self.dt = flow, state, dt
        self.observers, self.guards, self.checkpoint, self.generators = observers, guards, checkpoint, generators
        self.step = 0
        self.ended: dict[int, Outcome] = {}
        self.moving = self.dt
        self.held: S | None = None
        self.stopped = torch.zeros(state.n_systems, dtype=torch.bool, device=dt.device)

    @property
    def running(self) -> list[bool]:
        """Which systems have not stopped."""
        return [index not in self.ended for index in range(self.state.n_systems)]

    @property
    def going(self) -> bool:
        """Whether any system has not stopped."""
        return len(self.ended) < self.state.n_systems

    def outcomes(self, status: Status = Status.RUNNING) -> tuple[Outcome, ...]:
        """What became of each system; ``status`` of those that have not stopped."""
        going = Outcome(status, self.step)
        return tuple(self.ended.get(index, going) for index in range(self.state.n_systems))

    def begin(self, stack: ExitStack) -> int:
        """Start, or go back to the checkpoint; the step to go on from."""
        saved = self.checkpoint.load(self.state) if self.checkpoint and self.checkpoint.exists() else None
        marks = list(saved.observers) if saved else []
        if saved is not None:
            self.state, self.step = saved.state, saved.step
            restore_generators(self.generators, saved.generators)
            self.ended = {index: one for index, one in enumerate(saved.outcomes) if one.status.stopped}
            self._hold(self.state)
        for observer in self.observers:
            stack.callback(observer.close)
            own = next((one for one in marks if one[0] == type(observer).__name__), None)
            if own is not None:
                marks.remove(own)
            observer.begin(self.state, own and own[1])
        if saved is None:
            self._check_start()
            self._look()
        return self.step

    def to(self, steps: int, check_every: int, report: Callable[[int, int, S, int], None]) -> None:
        """Run to a step, or until every system has stopped; ``report`` follows each block."""
        intervals = [check_every, *(observer.every for observer in self.observers)]
        if self.checkpoint:
            intervals.append(self.checkpoint.every)
        while self.step < steps and self.going:
            target = min(steps, *(self.step + n - self.step % n for n in intervals))
            first = self.step
            if not self._block(target - self.step):
                while self.step < target and self.going:
                    self._single()
            self._look()
            report(self.step - first, self.step, self.state, len(self.ended))

    def save(self) -> None:
        """Write the checkpoint, after the observers' files."""
        if self.checkpoint is None:
            return
        marks = tuple((type(observer).__name__, observer.save()) for observer in self.observers)
        randomness = generator_states(self.generators)
        self.checkpoint.save(Saved(self.state, self.step, self.outcomes(), randomness, marks))

    def _look(self) -> None:
        running = self.running
        for observer in self.observers:
            if self.step % observer.every == 0 and self.going:
                observer.observe(self.step, self.state, running)
                self._heed(observer.stops())
        if self.checkpoint and self.step % self.checkpoint.every == 0:
            self.save()

    def _heed(self, stops: Mapping[int, Stop[S]]) -> None:
        """Put systems back to the states that an observer wants, for good."""
        numbers = torch.arange(self.state.n_systems, device=self.dt.device)
        for index, stop in stops.items():
            self.state = self.state.merged(stop.state, numbers == index)
            self.ended[index] = Outcome(stop.status, stop.steps, f"At step {self.step} {stop.problem}")
        if stops:
            self._hold(self.state)

    def _check_start(self) -> None:
        problems = self._problems(self.state, self.state)
        if problems:
            names = ", ".join(map(str, list(problems)[:10]))
            which = f" of system {names}" if self.state.n_systems > 1 else ""
            raise SimkitError(f"the start{which} cannot be used: {next(iter(problems.values()))[1]}")

    def _block(self, count: int) -> bool:
        """Do some steps if all goes well; otherwise leave everything as it was."""
        randomness = generator_states(self.generators)
        try:
            after = self._advanced(self.state, count, self.moving)
        except _FAILURES as error:
            _require_failure(error)
            restore_generators(self.generators, randomness)
            return False
        if self._problems(self.state, after):
            restore_generators(self.generators, randomness)
            return False
        self._accept(after, count)
        return True

    def _single(self) -> None:
        """Do one step, and stop the systems that fail in it."""
        before, randomness = self.state, generator_states(self.generators)
        failed: dict[int, tuple[Status, str]] = {}
        try:
            after = self._advanced(before, 1, self.moving)
        except _FAILURES as error:
            _require_failure(error)
            failed = {index: (Status.FAILED, f"{text}.") for index, text in self._culprits(randomness).items()}
            restore_generators(self.generators, randomness)
            self._stop(failed, before, self.step)
            after = self._advanced(before, 1, self.moving)
        problems = self._problems(before, after)
        self._accept(after, 1)
        self._stop(problems, before, self.step - 1)

    def _culprits(self, randomness: Sequence[Tensor]) -> dict[int, str]:
        """The systems that cannot make the next step, with the reason, found by halving."""

        def search(systems: list[int]) -> dict[int, str]:
            chosen = torch.zeros_like(self.stopped)
            chosen[systems] = True
            restore_generators(self.generators, randomness)
            try:
                self._advanced(self.state, 1, torch.where(chosen, self.moving, 0))
            except _FAILURES as error:
                _require_failure(error)
                if not systems:
                    raise
                if len(systems) == 1:
                    return {systems[0]: str(error)}
                half = len(systems) // 2
                return search(systems[:half]) | search(systems[half:])
            return {}

        search([])  # an error that comes even when nothing moves is none of the systems'
        found = search([index for index, runs in enumerate(self.running) if runs])
        if not found:
            raise SimkitError("a step failed, but not when it was repeated; is the flow's randomness in generators?")
        return found

    def _advanced(self, state: S, count: int, dt: Tensor) -> S:
        for _ in range(count):
            state = self.flow(state, dt)
            if self.held is not None:
                state = state.merged(self.held, self.stopped)
        return state

    def _problems(self, before: S, after: S) -> dict[int, tuple[Status, str]]:
        """The running systems that must stop, with the reason."""
        masks = [~after.finite(), *(guard.failed(before, after) for guard in self.guards)]
        failed = (torch.stack(masks) & ~self.stopped).cpu()
        found: dict[int, tuple[Status, str]] = {}
        if not bool(failed.any()):
            return found
        for index in torch.nonzero(failed.any(0))[:, 0].tolist():
            kind = int(failed[:, index].nonzero()[0])
            if kind == 0:
                found[index] = (Status.NOT_FINITE, "some numbers are not finite. Use a shorter time step.")
            else:
                guard = self.guards[kind - 1]
                found[index] = (guard.status, guard.explain(before, after, index))
        return found

    def _accept(self, after: S, count: int) -> None:
        self.state = after
        self.step += count

    def _stop(self, problems: dict[int, tuple[Status, str]], good: S, steps: int) -> None:
        """Put systems back to the good state that they had after some steps, for good."""
        if not problems:
            return
        for index, (status, problem) in problems.items():
            self.ended[index] = Outcome(status, steps, f"At step {steps + 1} {problem}")
        self._hold(good)
        assert self.held is not None
        self.state = self.state.merged(self.held, self.stopped)

    def _hold(self, good: S) -> None:
        """Keep the systems that have stopped since the last call as they are in a state."""
        stopped = ~torch.tensor(self.running, device=self.dt.device)
        if self.ended:
            self.held = good if self.held is None else good.merged(self.held, self.stopped)
        self.stopped = stopped
        self.moving = torch.where(stopped, 0, self.dt)
