"""Running a plan: each step as soon as those that it needs are finished."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass

from simkit.errors import SimkitError
from simkit.files import shown
from simkit.progress import Progress, duration
from simkit.workflow.executors import open_executor
from simkit.workflow.machine import Profile, SerialProfile
from simkit.workflow.plan import Plan, PlannedStep
from simkit.workflow.relay import Relay, relayed
from simkit.workflow.store import EVENTS, LOG, point_to_latest
from simkit.workflow.worker import Job, StepOutcome, run_job


@dataclass(frozen=True)
class RunSummary:
    """How the steps of a plan ended, by name.

    Attributes:
        reused: were finished before.
        finished: ran now, with the seconds that it took.
        failed: the error of each that failed.
        blocked: did not run, with the steps that they waited for.
    """

    reused: tuple[str, ...]
    finished: Mapping[str, float]
    failed: Mapping[str, str]
    blocked: Mapping[str, tuple[str, ...]]

    @property
    def succeeded(self) -> bool:
        """Whether every step is finished."""
        return not self.failed and not self.blocked


def run_plan(plan: Plan, profile: Profile, progress: Progress) -> RunSummary:
    """Run what is not finished; after an error, steps that do not need the failed one go on.

    Args:
        plan: steps, references and files checked.
        profile: what runs the steps.
        progress: where all of them report.
    """
    plan.folder.mkdir(parents=True, exist_ok=True)
    reused = tuple(name for name, step in plan.steps.items() if step.finished)
    for name in reused:
        progress.say(f"{name}: finished earlier")
    waiting = {name: step for name, step in plan.steps.items() if name not in reused}
    point_to_latest(plan.folder, {name: step.folder for name, step in plan.steps.items()})
    schedule = _Schedule(plan, profile, progress, set(reused), waiting)
    if isinstance(profile, SerialProfile):
        schedule.run_here()
    else:
        files = {name: step.folder / EVENTS for name, step in waiting.items()}
        with relayed(files, progress) as relay, open_executor(profile, plan.folder) as executor:
            schedule.run_on(executor, relay)
    return RunSummary(reused, schedule.finished, schedule.failed, schedule.blocked())


class _Schedule:
    def __init__(
        self, plan: Plan, profile: Profile, progress: Progress, done: set[str], waiting: dict[str, PlannedStep]
    ) -> None:
        self.plan = plan
        self.profile = profile
        self.progress = progress
        self.done = done
        self.waiting = waiting
        self.finished: dict[str, float] = {}
        self.failed: dict[str, str] = {}

    def run_here(self) -> None:
        """One step after the other, in this process."""
        while ready := self.ready():
            step = ready[0]
            self.announce(step)
            self.record(run_job(self.job(step), self.progress))

    def run_on(self, executor: Executor, relay: Relay) -> None:
        """All that can run at once."""
        running: dict[Future[StepOutcome], str] = {}
        while True:
            for step in self.ready():
                self.announce(step)
                running[executor.submit(run_job, self.job(step))] = step.name
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                relay.look()
                self.record(_outcome(future, running.pop(future)))

    def ready(self) -> list[PlannedStep]:
        """Steps whose inputs are all there, taken from those that wait."""
        return [step for step in list(self.waiting.values()) if step.needs <= self.done]

    def announce(self, step: PlannedStep) -> None:
        """Take a step from those that wait."""
        del self.waiting[step.name]
        verb = "continues" if step.begun else "runs"
        self.progress.say(f"{step.name}: {verb} in {shown(step.folder)}")

    def record(self, outcome: StepOutcome) -> None:
        """Note how a step ended."""
        if outcome.error:
            self.failed[outcome.name] = outcome.error
            log = self.plan.steps[outcome.name].folder / LOG
            self.progress.say(f"{outcome.name}: failed: {outcome.error}\n  log with the traceback: {shown(log)}")
            return
        self.done.add(outcome.name)
        self.finished[outcome.name] = outcome.seconds
        self.progress.say(f"{outcome.name}: finished in {duration(outcome.seconds)}")

    def blocked(self) -> dict[str, tuple[str, ...]]:
        """Steps that never became ready, and what they waited for."""
        return {name: tuple(sorted(step.needs - self.done)) for name, step in self.waiting.items()}

    def job(self, step: PlannedStep) -> Job:
        """The step as it is sent to a worker."""
        return step.job(self.plan.seed, self.profile.device, self.profile.threads)


def _outcome(future: Future[StepOutcome], name: str) -> StepOutcome:
    """What a worker returned; a worker that died is an error of its step."""
    try:
        return future.result()
    except BrokenProcessPool:
        return StepOutcome(name, 0.0, "a worker process was killed, perhaps for lack of memory; run again to continue")
    except SimkitError as error:
        return StepOutcome(name, 0.0, str(error))
    except Exception as error:
        return StepOutcome(name, 0.0, f"the executor failed: {type(error).__name__}: {error}")
