"""Checkpoints: every tensor of a state, the random generators and what is needed to go on to the last bit."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save, save_file
from torch import Tensor

from simkit.continuation import require_same_run
from simkit.errors import SimkitError
from simkit.files import atomic_path
from simkit.flows.status import Outcome, Status

S = TypeVar("S")
FORMAT = "simkit-checkpoint-1"


@dataclass(frozen=True)
class Saved(Generic[S]):
    """What a checkpoint holds.

    Attributes:
        state: of all systems.
        step: number of steps that were done.
        outcomes: of each system.
        generators: states of the random generators.
        observers: the class of each observer and what its ``save`` gave.
    """

    state: S
    step: int
    outcomes: tuple[Outcome, ...]
    generators: tuple[Tensor, ...]
    observers: tuple[Sequence[Any], ...]


@dataclass(frozen=True)
class Checkpoint:
    """A file from which a run continues to the last bit, written anew every so many steps, whole or not at all.

    Attributes:
        path: a safetensors file.
        every: number of steps between two checkpoints.
        identity: JSON-compatible facts that must be the same for a run to be continued.
    """

    path: str | os.PathLike[str]
    every: int = 100
    identity: Mapping[str, Any] | None = None

    def exists(self) -> bool:
        """Whether there is a run to continue."""
        return Path(self.path).exists()

    def save(self, saved: Saved) -> None:
        """Replace what was saved before."""
        tensors = {f"state.{name}": value for name, value in tensors_of(saved.state).items()}
        tensors |= {f"generator.{index}": value for index, value in enumerate(saved.generators)}
        header = {
            "format": FORMAT,
            "identity": self.identity or {},
            "step": saved.step,
            "outcomes": [[one.status, one.steps, one.problem] for one in saved.outcomes],
            "observers": saved.observers,
        }
        contiguous = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
        with atomic_path(self.path) as temporary:
            save_file(contiguous, os.fspath(temporary), metadata={"checkpoint": json.dumps(header)})

    def load(self, like: S) -> Saved[S]:
        """What was saved, in the structure of a state of the same run and on its device.

        Raises:
            SimkitError: the file is damaged, or the identity is another.
        """
        try:
            with safe_open(os.fspath(self.path), framework="pt") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
                header = json.loads((file.metadata() or {})["checkpoint"])
        except (SafetensorError, OSError, KeyError, ValueError) as error:
            raise SimkitError(
                f"{self.path}: expected a checkpoint, found a file that cannot be read ({error}): remove it, with the "
                "files beside it, to start anew"
            ) from error
        if header["format"] != FORMAT:
            raise SimkitError(
                f"{self.path}: expected {FORMAT}, found {header['format']}: use the version that wrote it"
            )
        require_same_run(Path(self.path).parent, header["identity"], json.loads(json.dumps(dict(self.identity or {}))))
        state = {name.removeprefix("state."): value for name, value in tensors.items() if name.startswith("state.")}
        return Saved(
            state=with_tensors(like, state),
            step=header["step"],
            outcomes=tuple(Outcome(Status(one), steps, problem) for one, steps, problem in header["outcomes"]),
            generators=tuple(tensors[f"generator.{i}"] for i in range(len(tensors) - len(state))),
            observers=tuple(header["observers"]),
        )


def tensors_of(state: Any, prefix: str = "") -> dict[str, Tensor]:
    """Every tensor of nested dataclasses by its name with dots; other values are part of the settings, not saved."""
    found: dict[str, Tensor] = {}
    for field in fields(state):
        value = getattr(state, field.name)
        if isinstance(value, Tensor):
            found[prefix + field.name] = value
        elif is_dataclass(value):
            found |= tensors_of(value, f"{prefix}{field.name}.")
    return found


def with_tensors(like: S, tensors: Mapping[str, Tensor], prefix: str = "") -> S:
    """A state with the tensors of :func:`tensors_of`; optional ones that are not there become None."""
    device = next(iter(tensors_of(like).values())).device
    values: dict[str, Any] = {}
    for field in fields(like):  # type: ignore[arg-type]
        value, name = getattr(like, field.name), prefix + field.name
        if is_dataclass(value):
            values[field.name] = with_tensors(value, tensors, f"{name}.")
        elif name in tensors:
            values[field.name] = tensors[name].to(device)
        elif isinstance(value, Tensor):
            values[field.name] = None
    return replace(like, **values)  # type: ignore[type-var]


def packed(state: Any) -> str:
    """The tensors of a state as text, for what observers keep in checkpoints."""
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in tensors_of(state).items()}
    return base64.b64encode(save(tensors)).decode("ascii")


def unpacked(like: S, text: str) -> S:
    """The state of :func:`packed`, in the structure of another one of the same run."""
    return with_tensors(like, load(base64.b64decode(text)))


def generator_states(generators: Sequence[torch.Generator]) -> tuple[Tensor, ...]:
    """Copies of the states of random generators."""
    return tuple(generator.get_state() for generator in generators)


def restore_generators(generators: Sequence[torch.Generator], states: Sequence[Tensor]) -> None:
    """Set random generators back to earlier states.

    Raises:
        SimkitError: another number of states.
    """
    if len(generators) != len(states):
        raise SimkitError(
            f"expected the states of {len(generators)} random generators, found {len(states)}: give integrate the same "
            "generators as in the run that it continues"
        )
    for generator, state in zip(generators, states, strict=True):
        generator.set_state(state)
