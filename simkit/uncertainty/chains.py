"""One chain of samples: burn-in, thinning, steps that shrink, checkpoints that continue to the last bit."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from jaxtyping import Float, Int
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator
from torch import Tensor

from simkit.errors import Interrupted, SimkitError
from simkit.flows.checkpoint import Checkpoint, Saved, generator_states, restore_generators
from simkit.progress import Progress, Silent
from simkit.settings import Settings
from simkit.training.processes import stop_requests
from simkit.uncertainty.sampler import Move, Sampler, SamplerState
from simkit.uncertainty.structured import Memory, Structured, require_partition
from simkit.uncertainty.target import Target


class Steady(Settings):
    """Steps of one size."""

    kind: Literal["steady"] = "steady"


class Polynomial(Settings):
    """``(1 + t/τ)^-power`` with τ a tenth of the chain.

    Reference: M. Welling, Y. W. Teh, ICML 2011.
    """

    kind: Literal["polynomial"] = "polynomial"
    power: float = Field(default=0.33, gt=0, le=1)


class Cyclical(Settings):
    """``(cos(π t mod 1) + 1)/2`` in each of so many cycles; samples are kept in the second half of a cycle.

    Reference: R. Zhang et al., ICLR 2020, arXiv:1902.03932.
    """

    kind: Literal["cyclical"] = "cyclical"
    cycles: PositiveInt = 4
    smallest: float = Field(default=0.05, gt=0, le=1, description="smallest step as a fraction of the largest")


Decay = Annotated[Steady | Polynomial | Cyclical, Field(discriminator="kind")]


class ChainSettings(Settings):
    """How long a chain is, and what is kept of it."""

    steps: PositiveInt = 3000
    burn_in: float = Field(default=1 / 3, ge=0, lt=1, description="first part of the chain, of which nothing is kept")
    kept: PositiveInt = Field(default=10, description="samples kept of the rest")
    temperature: NonNegativeFloat = Field(default=1.0, description="T of exp(-U/T); below 1 is a cold posterior")
    decay: Decay = Steady()
    memory: PositiveInt = Field(default=200, description="past positions that a structured chain draws from")
    checkpoint_minutes: PositiveFloat = 1.0

    @model_validator(mode="after")
    def _long_enough(self) -> ChainSettings:
        candidates = self._candidates()
        if len(candidates) < self.kept:
            raise ValueError(
                f"only {len(candidates)} steps can be kept of {self.steps}, but {self.kept} samples are wanted: "
                "lengthen the chain, or keep fewer"
            )
        return self

    @property
    def burning(self) -> int:
        """Steps of the burn-in."""
        return int(self.steps * self.burn_in)

    @property
    def between(self) -> int:
        """Steps between stored positions, so that the memory spans half of the chain."""
        return max(1, self.steps // (2 * self.memory))

    def scale(self, step: int) -> float:
        """Factor of the step size at a step."""
        match self.decay:
            case Polynomial(power=power):
                return (1 + 10 * step / self.steps) ** -power
            case Cyclical(cycles=cycles, smallest=smallest):
                phase = step * cycles / self.steps
                return max(smallest, 0.5 * (math.cos(math.pi * (phase % 1)) + 1))
            case _:
                return 1.0

    def kept_steps(self) -> list[int]:
        """Numbers of steps done, ascending, after which the state is kept: evenly spread, the last one included."""
        candidates = self._candidates()
        return [candidates[(index + 1) * len(candidates) // self.kept - 1] for index in range(self.kept)]

    def _candidates(self) -> list[int]:
        after = range(self.burning + 1, self.steps + 1)
        if not isinstance(self.decay, Cyclical):
            return list(after)
        length = self.steps / self.decay.cycles
        return [step for step in after if ((step - 1) / length) % 1 >= 0.5]


@dataclass(frozen=True)
class ChainState:
    """Everything about a chain that changes.

    Attributes:
        sampler: where it stands.
        samples: the positions that were kept; NaN where there are none yet.
        energies: U at every step.
        heats: at every step, ``p²`` per degree of freedom or the acceptance, as the sampler has them; else NaN.
        memory: past positions, of a structured chain.
    """

    sampler: SamplerState
    samples: Float[Tensor, "kept parameters"]
    energies: Float[Tensor, " steps"]
    heats: Float[Tensor, " steps"]
    memory: Memory | None = None


class Chain:
    """A chain that runs to its end, from its checkpoint if there is one.

    Args:
        target: the density.
        sampler: with a step size.
        start: first position.
        settings: of the chain.
        seed: of its noise.
        path: checkpoint, written now and then and at the end.
        identity: JSON-compatible facts that must be the same for a chain to be continued.
        groups: of parameters that are sampled as if independent, by :class:`~simkit.uncertainty.structured.Structured`.
    """

    def __init__(
        self,
        target: Target,
        sampler: Sampler,
        start: Float[Tensor, " parameters"],
        settings: ChainSettings,
        *,
        seed: int = 0,
        path: Path | None = None,
        identity: Mapping[str, Any] | None = None,
        groups: Sequence[Int[Tensor, " _"]] = (),
    ) -> None:
        self.target, self.sampler, self.settings = target, sampler, settings
        self.generator = torch.Generator().manual_seed(seed)
        facts = {"seed": seed, "settings": settings.model_dump(mode="json", exclude={"checkpoint_minutes"})}
        facts |= {"sampler": sampler.model_dump(mode="json"), **(identity or {})}
        self.checkpoint = None if path is None else Checkpoint(path, identity=facts)
        self.done = 0
        nothing = torch.full((settings.steps,), torch.nan, dtype=torch.float64)
        samples = torch.full((settings.kept, len(start)), torch.nan, dtype=start.dtype)
        first = sampler.start(start.clone(), target, self._move(0))
        memory = None
        if groups:
            require_partition(groups, len(start))
            memory = Memory.starting_with(start, settings.memory)
            self.target = Structured(target, groups, memory, self.generator)
        self.state = ChainState(first, samples, nothing, nothing.clone(), memory)
        if self.checkpoint is not None and self.checkpoint.exists():
            saved = self.checkpoint.load(self.state)
            self.state, self.done = saved.state, saved.step
            restore_generators([self.generator], saved.generators)
            if groups and self.state.memory is not None:
                self.target = Structured(target, groups, self.state.memory, self.generator)

    def run(self, progress: Progress | None = None, title: str = "chain") -> ChainState:
        """All steps that are left.

        Raises:
            SimkitError: U became NaN or infinite.
            Interrupted: Ctrl-C or SIGTERM, after saving.
        """
        rows = {step: row for row, step in enumerate(self.settings.kept_steps())}
        saved = time.monotonic()
        steps = self.settings.steps
        if self.done == steps:
            return self.state
        with stop_requests() as request, (progress or Silent()).task(title, steps, self.done) as task:
            while self.done < steps:
                self._step(rows)
                task.advance(1, _note(self.state.sampler, self.done <= self.settings.burning))
                if request.made:
                    self._save()
                    raise Interrupted(
                        f"sampling stopped on request after {self.done} of {steps} steps of a chain; run the same "
                        "again to continue"
                    )
                if time.monotonic() - saved > 60 * self.settings.checkpoint_minutes:
                    self._save()
                    saved = time.monotonic()
        self._save()
        return self.state

    def _step(self, rows: Mapping[int, int]) -> None:
        """One step. Kept samples and traces are filled in place: nobody else holds them."""
        index = self.done
        inner = self.sampler.advance(self.state.sampler, self.target, self._move(index))
        _require_finite(inner, index)
        self.state.energies[index], self.state.heats[index] = inner.energy, _heat(inner)
        self.done = index + 1
        if self.done in rows:
            self.state.samples[rows[self.done]] = inner.position
        if self.state.memory is not None and self.done % self.settings.between == 0:
            self.state.memory.store(inner.position)
        self.state = replace(self.state, sampler=inner)

    def _move(self, index: int) -> Move:
        settings = self.settings
        return Move(index, settings.temperature, self.generator, settings.scale(index), index < settings.burning)

    def _save(self) -> None:
        if self.checkpoint is not None:
            self.checkpoint.save(Saved(self.state, self.done, (), generator_states([self.generator]), ()))


def _heat(state: SamplerState) -> float:
    if state.momentum is not None:
        return float(state.momentum.square().mean())
    return torch.nan if state.acceptance is None else float(state.acceptance)


def _note(state: SamplerState, adapting: bool) -> str:
    note = f"U {float(state.energy):.6g}"
    if state.momentum is not None:
        note += f"  T {_heat(state):.3g}"
    if state.acceptance is not None:
        note += f"  acceptance {_heat(state):.2f}"
    return note + ("  burn-in" if adapting else "")


def _require_finite(state: SamplerState, index: int) -> None:
    if not bool(torch.isfinite(state.energy)) or not bool(torch.isfinite(state.position).all()):
        raise SimkitError(
            f"the chain left all bounds at step {index + 1}: U or a parameter is NaN or infinite. Give a smaller step, "
            "or leave it out to have one chosen; check that the start is a trained potential"
        )
