"""The loop: order, blocks, systems that stop, observers and checkpoints, with equations simpler than dynamics."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from simkit.errors import SimkitError
from simkit.flows import Checkpoint, Every, Guard, Observer, Status, integrate
from simkit.progress import Progress


@dataclass(frozen=True)
class Values:
    """One number for each system."""

    u: Tensor
    extra: Tensor | None = None

    @property
    def n_systems(self) -> int:
        return len(self.u)

    def finite(self) -> Tensor:
        return torch.isfinite(self.u)

    def merged(self, other: Values, taken: Tensor) -> Values:
        return replace(self, u=torch.where(taken, other.u, self.u))


def midpoint(state: Values, dt: Tensor) -> Values:
    """One step of ``u' = u²``, which reaches infinity at ``t = 1/u(0)``."""
    half = state.u + 0.5 * dt * state.u**2
    return replace(state, u=state.u + dt * half**2, extra=state.u)


class Noise:
    """A random walk that cannot reach negative numbers, as a neighbour search cannot be made with NaN."""

    def __init__(self) -> None:
        self.generator = torch.Generator().manual_seed(3)

    def __call__(self, state: Values, dt: Tensor) -> Values:
        u = state.u + dt * torch.randn(state.n_systems, generator=self.generator)
        if bool((u < 0).any()):
            raise SimkitError("a number is negative")
        return replace(state, u=u)


@dataclass(frozen=True)
class Above(Guard[Values]):
    limit: float
    status = Status.EXPLODED

    def failed(self, before: Values, after: Values) -> Tensor:
        return after.u > self.limit

    def explain(self, before: Values, after: Values, system: int) -> str:
        return f"the number reached {after.u[system]:.1f}"


class Rows(Observer[Values]):
    """Keeps what it sees in a file; rows after the checkpoint are dropped."""

    def __init__(self, every: int, path: Path) -> None:
        self.every, self.path, self.rows = every, path, [""]

    def begin(self, state: Values, saved: Any) -> None:
        self.rows = self.path.read_text().splitlines()[:saved] if saved is not None else []

    def observe(self, step: int, state: Values, running: Sequence[bool]) -> None:
        self.rows.append(f"{step} {state.u.tolist()} {running}")
        self.path.write_text("\n".join(self.rows))

    def save(self) -> int:
        return len(self.rows)


class StopAfter(Progress):
    """Ends the work after some reports, as a kill would."""

    def __init__(self, reports: int) -> None:
        self.left = reports

    def task(self, title: str, total: int, done: int = 0) -> Any:
        return self

    def __enter__(self) -> StopAfter:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def advance(self, parts: int = 1, note: str = "") -> None:
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt

    def say(self, text: str) -> None:
        pass


def test_steps_and_own_time_steps() -> None:
    start = Values(torch.tensor([1.0, 1.0, 1.0]))
    result = integrate(midpoint, start, torch.tensor([0.5, 0.25, 0.0]) / 64, 64)
    exact = 1 / (1 - torch.tensor([0.5, 0.25, 0.0]))
    torch.testing.assert_close(result.state.u, exact, rtol=1e-4, atol=0)
    assert result.finished
    assert [one.steps for one in result.outcomes] == [64] * 3
    assert result.done == 64
    assert start.u.tolist() == [1, 1, 1]


class Notes(Progress):
    """Keeps the texts beside the bar."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def task(self, title: str, total: int, done: int = 0) -> Any:
        return nullcontext(self)

    def advance(self, parts: int = 1, note: str = "") -> None:
        self.seen.append(note)

    def say(self, text: str) -> None:
        pass


def test_the_last_speed_that_is_shown_is_that_of_the_result() -> None:
    progress = Notes()
    result = integrate(
        midpoint, Values(torch.ones(1)), 0.001, 64, progress=progress, note=lambda state, rate, stopped: f"{rate:.9g}"
    )
    assert float(progress.seen[-1]) == pytest.approx(result.done / result.seconds, rel=1e-6)


@pytest.mark.parametrize("check_every", [1, 7, 100])
def test_a_system_that_fails_keeps_its_last_good_state_and_the_others_run_on(check_every: int) -> None:
    start = torch.tensor([0.1, 2.0, 0.2, 1.0])
    result = integrate(midpoint, Values(start), 0.1, 40, guards=[Above(50.0)], check_every=check_every)
    alone = [integrate(midpoint, Values(start[i : i + 1]), 0.1, 40, guards=[Above(50.0)]) for i in range(4)]
    assert [one.status for one in result.outcomes] == [
        Status.FINISHED,
        Status.EXPLODED,
        Status.FINISHED,
        Status.EXPLODED,
    ]
    for index, one in enumerate(alone):
        assert result.state.u[index] == one.state.u[0]
        assert result.outcomes[index] == one.outcomes[0]
    assert "At step 6 the number reached" in result.outcomes[1].problem
    last = integrate(midpoint, Values(start[1:2]), 0.1, 5)
    assert result.state.u[1] == last.state.u[0] <= 50


def test_numbers_that_are_not_finite_stop_a_system() -> None:
    result = integrate(midpoint, Values(torch.tensor([3.0, 0.0])), 1.0, 30)
    assert result.outcomes[0].status is Status.NOT_FINITE
    assert "not finite" in result.outcomes[0].problem
    assert result.outcomes[1].status is Status.FINISHED
    assert torch.isfinite(result.state.u).all()


def test_the_loop_ends_when_no_system_is_left() -> None:
    seen: list[int] = []
    result = integrate(
        midpoint, Values(torch.tensor([3.0])), 1.0, 10**9, observers=[Every(1, lambda step, _: seen.append(step))]
    )
    assert result.outcomes[0].steps == seen[-1] < 20
    assert result.done < 20


def test_errors_of_a_flow_stop_only_the_systems_that_cause_them() -> None:
    start = torch.tensor([100.0, 0.5, 100.0, 0.1, 100.0])
    flow = Noise()
    result = integrate(flow, Values(start), 1.0, 30, generators=[flow.generator])
    statuses = [one.status for one in result.outcomes]
    assert statuses == [Status.FINISHED, Status.FAILED, Status.FINISHED, Status.FAILED, Status.FINISHED]
    assert "a number is negative" in result.outcomes[1].problem
    good = Noise()
    same = integrate(good, Values(torch.full((5,), 100.0)), 1.0, 30, generators=[good.generator])
    torch.testing.assert_close(result.state.u[[0, 2, 4]], same.state.u[[0, 2, 4]], rtol=0, atol=0)


def test_errors_that_are_not_a_system_s_are_raised() -> None:
    def broken(state: Values, dt: Tensor) -> Values:
        raise RuntimeError("a shape is wrong")

    with pytest.raises(RuntimeError, match="a shape is wrong"):
        integrate(broken, Values(torch.ones(3)), 1.0, 3)


def test_a_bad_start_is_refused() -> None:
    with pytest.raises(SimkitError, match="the start of system 1 cannot be used: some numbers are not finite"):
        integrate(midpoint, Values(torch.tensor([1.0, torch.nan])), 0.1, 3)
    with pytest.raises(SimkitError, match="the start cannot be used: the number reached"):
        integrate(midpoint, Values(torch.tensor([1.0])), 0.1, 3, guards=[Above(0.5)])
    with pytest.raises(SimkitError, match="one for each of the 2 systems"):
        integrate(midpoint, Values(torch.ones(2)), torch.ones(3), 3)


def test_observers_see_checked_states_at_their_steps() -> None:
    steps: list[int] = []
    values: list[float] = []

    def look(step: int, state: Values) -> None:
        steps.append(step)
        values.append(float(state.u))

    integrate(midpoint, Values(torch.tensor([1.0])), 0.01, 14, observers=[Every(4, look), Every(5, look)])
    assert steps == [0, 0, 4, 5, 8, 10, 12]
    assert values == sorted(values)


def test_an_interrupted_run_continues_to_the_last_bit(tmp_path: Path) -> None:
    def run(name: str, reports: int = -1) -> Any:
        flow = Noise()
        return integrate(
            flow,
            Values(torch.tensor([5.0, 50.0, 1.0])),
            torch.tensor([0.5, 1.0, 0.5]),
            40,
            observers=[Rows(3, tmp_path / f"{name}.txt")],
            guards=[Above(55.0)],
            checkpoint=Checkpoint(tmp_path / f"{name}.ckpt", every=7, identity={"a": 1}),
            generators=[flow.generator],
            progress=StopAfter(reports),
        )

    whole = run("whole")
    for reports in (4, 9, 2):
        with pytest.raises(KeyboardInterrupt):
            run("parts", reports)
    parts = run("parts")
    torch.testing.assert_close(parts.state.u, whole.state.u, rtol=0, atol=0)
    assert parts.outcomes == whole.outcomes
    assert {one.status for one in whole.outcomes} != {Status.FINISHED}
    assert (tmp_path / "parts.txt").read_text() == (tmp_path / "whole.txt").read_text()


def test_optional_tensors_of_a_checkpoint(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "a.ckpt")
    integrate(midpoint, Values(torch.tensor([1.0])), 0.1, 3, checkpoint=checkpoint)
    again = integrate(midpoint, Values(torch.tensor([1.0])), 0.1, 3, checkpoint=checkpoint)
    assert again.done == 0
    assert again.state.extra is not None
    more = integrate(midpoint, Values(torch.tensor([1.0])), 0.1, 5, checkpoint=checkpoint)
    whole = integrate(midpoint, Values(torch.tensor([1.0])), 0.1, 5)
    torch.testing.assert_close(more.state.u, whole.state.u, rtol=0, atol=0)
    assert more.outcomes[0].steps == 5


def test_a_checkpoint_of_another_run_or_a_damaged_one_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.ckpt"
    start = Values(torch.tensor([1.0]))
    integrate(midpoint, start, 0.1, 3, checkpoint=Checkpoint(path, identity={"temperature": 300}))
    with pytest.raises(SimkitError, match="temperature: 300 there, 400 now"):
        integrate(midpoint, start, 0.1, 3, checkpoint=Checkpoint(path, identity={"temperature": 400}))
    flow = Noise()
    with pytest.raises(SimkitError, match="expected the states of 1 random generators, found 0"):
        integrate(
            flow, start, 0.1, 3, checkpoint=Checkpoint(path, identity={"temperature": 300}), generators=[flow.generator]
        )
    path.write_bytes(b"nonsense")
    with pytest.raises(SimkitError, match="expected a checkpoint"):
        integrate(midpoint, start, 0.1, 3, checkpoint=Checkpoint(path))
