"""Read facts from the inert objects of an unpickled mace-torch model."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from simkit.errors import ModelFileError
from simkit.potentials.restricted_pickle import Inert

MAX_MODULES = 100_000


@dataclass(frozen=True)
class Module:
    """A ``torch.nn.Module`` of which only the description is there.

    Attributes:
        path: where it is in the model, e.g. ``interactions.0.linear_up``.
        source: dotted name of its class.
        state: its attributes, as the file gives them.
    """

    path: str
    source: str
    state: dict[str, Any]

    @classmethod
    def of(cls, value: Any, path: str = "") -> Module:
        """The module that an inert object describes.

        Raises:
            ModelFileError: it describes something else.
        """
        if not _is_module(value):
            found = value.source if isinstance(value, Inert) else type(value).__name__
            raise ModelFileError(f"expected a PyTorch module at '{path}' of the model, found {found:.100}")
        return cls(path, value.source, value.state)

    @property
    def class_name(self) -> str:
        """Last part of the class's name."""
        return self.source.rpartition(".")[2]

    def has(self, name: str) -> bool:
        """Whether there is a submodule of this name."""
        return self.state["_modules"].get(name) is not None

    def child(self, *names: str) -> Module:
        """A submodule, or one of a submodule.

        Raises:
            ModelFileError: there is none of this name.
        """
        if not names:
            return self
        path = f"{self.path}.{names[0]}".lstrip(".")
        if not self.has(names[0]):
            raise ModelFileError(f"the model has no '{path}'")
        return Module.of(self.state["_modules"][names[0]], path).child(*names[1:])

    def children(self) -> list[Module]:
        """All submodules, in the order of the file; generated code (of torch.fx) is none."""
        described = [name for name, value in self.state["_modules"].items() if _is_module(value)]
        return [self.child(name) for name in described]

    def attribute(self, name: str, default: Any = None) -> Any:
        """A plain attribute."""
        return self.state.get(name, default)

    def tensor(self, name: str) -> Tensor:
        """A parameter or buffer of this module.

        Raises:
            ModelFileError: there is none of this name.
        """
        value = self.state["_parameters"].get(name, self.state["_buffers"].get(name))
        if not isinstance(value, Tensor):
            raise ModelFileError(f"the model has no tensor '{self.path}.{name}'")
        return value

    def number(self, name: str) -> float:
        """A number that is stored as an attribute or as a tensor with one element.

        Raises:
            ModelFileError: there is none of this name.
        """
        value = self.attribute(name)
        if value is None:
            value = self.tensor(name)
        if isinstance(value, Tensor) and value.numel() == 1:
            return float(value)
        if isinstance(value, int | float):
            return float(value)
        raise ModelFileError(f"expected a number as '{self.path}.{name}', found {value!r:.80}")

    def tensors(self) -> dict[str, Tensor]:
        """All parameters and buffers, also of submodules, by their full names.

        Raises:
            ModelFileError: the modules contain one another too often to be a model.
        """
        found: dict[str, Tensor] = {}
        for count, module in enumerate(self._walk()):
            if count > MAX_MODULES:
                raise ModelFileError(f"expected at most {MAX_MODULES} modules, found more")
            listed = module.state.get("_non_persistent_buffers_set")
            skipped = listed if isinstance(listed, set) else set()
            for table in ("_parameters", "_buffers"):
                for name, value in module.state[table].items():
                    if isinstance(value, Tensor) and name not in skipped:
                        found[f"{module.path}.{name}".lstrip(".")] = value
        return found

    def _walk(self) -> Iterator[Module]:
        waiting = [self]
        while waiting:
            module = waiting.pop()
            if module.path.count(".") > 50:
                raise ModelFileError("the modules of this file contain one another without end")
            yield module
            waiting += reversed(module.children())


def irreps(value: Any) -> str:
    """e3nn's irreps, stored as text or as an inert tuple, in the form ``128x0e+128x1o``.

    Raises:
        ModelFileError: something else.
    """
    if isinstance(value, str) and re.fullmatch(r"[\dxeo+ ]+", value):
        return value.replace(" ", "")
    try:
        terms = [(_fields(term)[0], *_fields(_fields(term)[1])) for term in _fields(value)]
        return "+".join(f"{int(mul)}x{int(degree)}{ {1: 'e', -1: 'o'}[parity] }" for mul, degree, parity in terms)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise ModelFileError(f"expected irreps of e3nn, found {value!r:.80}") from error


def _fields(value: Inert) -> tuple[Any, ...]:
    """Elements of an instance of a subclass of tuple."""
    return value.arguments[0] if isinstance(value.arguments[0], tuple) else value.arguments


def source_of(value: Any) -> str:
    """Dotted name of a function or class that an attribute refers to; the type of a plain value."""
    if isinstance(value, Inert) and value.source.endswith(".getattr") and len(value.arguments) == 2:
        return f"{source_of(value.arguments[0])}.{value.arguments[1]}"  # how functions of torch itself are stored
    if isinstance(value, Inert) or (isinstance(value, type) and issubclass(value, Inert)):
        return value.source
    return type(value).__name__


def _is_module(value: Any) -> bool:
    if not isinstance(value, Inert) or not isinstance(value.state, dict):
        return False
    return all(isinstance(value.state.get(name), dict) for name in ("_parameters", "_buffers", "_modules"))
