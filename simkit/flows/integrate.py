"""The loop that runs a flow: observers, guards, checkpoints and progress."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Generic

import torch
from torch import Tensor

from simkit.errors import SimkitError
from simkit.flows.checkpoint import Checkpoint, tensors_of
from simkit.flows.flow import Flow
from simkit.flows.observers import Observer
from simkit.flows.run import Run, S, State
from simkit.flows.status import Guard, Outcome, Status
from simkit.progress import Progress, Silent, Task

SECONDS_BETWEEN_NOTES = 0.5


@dataclass(frozen=True)
class Result(Generic[S]):
    """What a run ended with.

    Attributes:
        state: of every system; of one that stopped, its last good state.
        outcomes: status, number of good steps and, of systems that stopped, the reason.
        seconds: wall time of this call.
        done: number of steps of this call.
    """

    state: S
    outcomes: tuple[Outcome, ...]
    seconds: float
    done: int

    @property
    def finished(self) -> bool:
        """Whether every system reached the end."""
        return all(one.status is Status.FINISHED for one in self.outcomes)


def integrate(
    flow: Flow[S],
    state: S,
    dt: float | Tensor,
    steps: int,
    *,
    observers: Sequence[Observer[S]] = (),
    guards: Sequence[Guard[S]] = (),
    check_every: int = 10,
    checkpoint: Checkpoint | None = None,
    generators: Sequence[torch.Generator] = (),
    progress: Progress | None = None,
    title: str = "integration",
    note: Callable[[S, float, int], str] | None = None,
) -> Result[S]:
    """Advance a batch of systems by ``steps`` steps of a flow.

    A system whose numbers are no longer finite, or that fails a guard, stops: it is put back to its last good state and
    stands still, while the others run on as if it were not there. The loop ends early when none is left. Steps are
    checked in blocks; a block in which something fails is repeated step by step with the same random numbers, so the
    last good state does not depend on ``check_every``.

    With a checkpoint that exists, the run continues from it, to the last bit where the flow itself is deterministic;
    ``steps`` counts from the very start, so a larger number extends a finished run.

    Args:
        flow: the method.
        state: at the start.
        dt: time step, one for all systems or one for each; of unit of the flow's (fs in molecular dynamics).
        steps: number of steps in all.
        observers: shown the state at step 0 and at every multiple of their ``every``.
        guards: conditions under which a system stops, beside numbers that are not finite.
        check_every: number of steps between checks, which cost a few small operations and a wait for the device.
        checkpoint: where the run is saved and continued from.
        generators: every source of random numbers of the flow; they are saved too.
        progress: where progress is shown.
        title: of the progress bar.
        note: text that follows the bar, from the state, the steps per second and the number of stopped systems.

    Raises:
        SimkitError: settings that make no sense, a checkpoint of another run, or no system with a good start.
    """
    if steps < 0 or check_every < 1:
        raise SimkitError(f"expected steps >= 0 and check_every >= 1, found {steps} and {check_every}")
    run = Run(flow, state, _time_steps(state, dt), observers, guards, checkpoint, generators)
    begun = time.perf_counter()
    with ExitStack() as stack:
        first = run.begin(stack)
        task = stack.enter_context((progress or Silent()).task(title, steps, first))
        notes = _Notes(task, note, begun, first)
        run.to(steps, check_every, notes.show)
        run.save()
        outcomes, seconds = run.outcomes(Status.FINISHED), time.perf_counter() - begun
        notes.end(run.step, run.state, sum(one.status is not Status.FINISHED for one in outcomes), seconds)
    return Result(run.state, outcomes, seconds, run.step - first)


class _Notes(Generic[S]):
    """Progress, with a live text now and then."""

    def __init__(self, task: Task, note: Callable[[S, float, int], str] | None, begun: float, first: int) -> None:
        self.task, self.note, self.begun, self.first = task, note, begun, first
        self.shown = 0.0

    def show(self, done: int, step: int, state: S, stopped: int) -> None:
        now = time.perf_counter()
        text = ""
        if self.note is not None and now - self.shown > SECONDS_BETWEEN_NOTES:
            text, self.shown = self.note(state, (step - self.first) / (now - self.begun), stopped), now
        self.task.advance(done, text)

    def end(self, step: int, state: S, stopped: int, seconds: float) -> None:
        """The text of the whole call, with the speed that its result tells."""
        if self.note is not None and step > self.first:
            self.task.advance(0, self.note(state, (step - self.first) / seconds, stopped))


def _time_steps(state: State, dt: float | Tensor) -> Tensor:
    device = next(iter(tensors_of(state).values())).device
    values = torch.as_tensor(dt, dtype=torch.float64, device=device)
    if values.dim() > 1 or values.numel() not in (1, state.n_systems) or not bool(torch.isfinite(values).all()):
        raise SimkitError(
            f"expected one finite time step, or one for each of the {state.n_systems} systems; found {values.tolist()}"
        )
    return values.expand(state.n_systems).clone()
